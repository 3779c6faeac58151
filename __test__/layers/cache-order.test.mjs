// Calls for one id take effect in their order, though the earlier takes longer: to compress, to encode, to send in parts.
import test from 'ava'
import orderModule from '../../lib/cache/order.js'
import { onAll } from './support.mjs'

const { CallOrder, orderOf } = orderModule
/** Compressing it takes milliseconds, and of what is small none. */
const large = 'x'.repeat(3_000_000)
const many = (count, value) => Array.from({ length: count }, (_, index) => ({ id: `${index}`, value }))
const idsOf = (entries) => entries.map(({ id }) => id)

for (const algorithm of ['lz4', 'zstd']) {
  onAll(test, `of calls for one id the later stands, however long the earlier is compressed: ${algorithm}`, async (t, client) => {
    const options = { compress: { algorithm, minBytes: 1000 }, ttl: 600 }
    const cache = client.createCache('a', options)
    const second = client.createCache('a', options)
    const pairs = {
      'set, set': [() => cache.set('1', large), () => cache.set('1', 'later')],
      'set, set through another object': [() => cache.set('1', large), () => second.set('1', 'later')],
      'set, setMany': [() => cache.set('1', large), () => cache.setMany([{ id: '0', value: 'x' }, { id: '1', value: 'later' }])],
      'setMany, set': [() => cache.setMany([{ id: '0', value: 'x' }, { id: '1', value: large }]), () => cache.set('1', 'later')],
      'setMany that fails, set': [() => cache.setMany([{ id: '1', value: large, ttl: -1 }]), () => cache.set('1', 'later')],
      'set, getOrSet of the others, set': [() => cache.set('1', large), () => Promise.all([cache.getOrSet('2', async () => 'x'), cache.set('1', 'later')])],
    }
    for (const [title, [earlier, later]] of Object.entries(pairs)) {
      await Promise.all([earlier(), later()])
      t.is(await cache.get('1'), 'later', title)
    }
    const ends = {
      'set, delete': [() => cache.set('1', large), () => cache.delete('1')],
      'set, deleteMany': [() => cache.set('1', large), () => cache.deleteMany(['0', '1'])],
      'setMany, delete': [() => cache.setMany([{ id: '0', value: large }, { id: '1', value: large }]), () => cache.delete('1')],
      'set, clear': [() => cache.set('1', large), () => cache.clear()],
    }
    for (const [title, [earlier, later]] of Object.entries(ends)) {
      await Promise.all([earlier(), later()])
      t.is(await cache.get('1'), undefined, title)
    }
    await Promise.all([cache.set('1', large), cache.delete('1'), cache.set('1', large), cache.set('1', 'last')])
    t.is(await cache.get('1'), 'last')
    t.is(orderOf(client, 'cache:a:v1:').size, 0)
  })
}

onAll(test, 'of calls for one id the later stands, also where the earlier goes out in parts', async (t, client) => {
  const cache = client.createCache('a', { ttl: 600 })
  const entries = many(25_000, 'earlier')
  await Promise.all([cache.setMany(entries), ...['0', '12000', '24999'].map((id) => cache.set(id, 'later'))])
  t.deepEqual(await cache.getMany(['0', '1', '12000', '24998', '24999']), ['later', 'earlier', 'later', 'earlier', 'later'])
  await Promise.all([cache.deleteMany(idsOf(entries)), cache.set('24999', 'latest')])
  t.deepEqual(await cache.getMany(['0', '24999']), [undefined, 'latest'])
  t.is(await cache.size(), 1)
  t.is(orderOf(client, 'cache:a:v1:').size, 0)
})

test('places: each call waits for the earlier ones for its ids, whether they fail or not', async (t) => {
  const order = new CallOrder()
  const heard = []
  const first = order.enter(['1', '2'], false)
  t.is(first.before, undefined)
  t.is(order.enter(['3'], true).before, undefined)
  const second = order.enter(['2', '3'], true)
  const third = order.enter(['1', '3'], false)
  second.before.then(() => heard.push('second'))
  third.before.then(() => heard.push('third'))
  t.is(order.size, 3)
  first.leave()
  await second.before
  t.deepEqual(heard, ['second'])
  second.leave()
  second.leave()
  await third.before
  t.deepEqual(heard, ['second', 'third'])
  const all = order.all()
  third.leave()
  await all
  t.is(order.size, 0)
  t.is(order.all(), undefined)
  t.is(order.enter(['1'], true).before, undefined)
  t.is(order.size, 0)
})
