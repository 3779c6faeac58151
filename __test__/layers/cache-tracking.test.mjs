// Local copies that the server tells of changes. Their time to live is far beyond the test: what is seen was told.
import test from 'ava'
import localCopy from '../../lib/cache/local.js'
import proxySupport from '../support/proxy.js'
import tlsSupport from '../support/tls.js'
import work from '../support/work.js'
import { clientOf, startServer, until } from './support.mjs'

const { LocalCopy } = localCopy
const { startProxy } = proxySupport
const { startTlsServer } = tlsSupport
const { runProgram } = work
const local = { ttl: 86_400 }

/** Connections that the server tells of changes. */
const trackers = async (server) => (await server.cli('CLIENT', 'LIST')).split('\n').filter((line) => / sub=1 /.test(line)).length

/** A cache on a proxy, told of changes, with `1` in its local copy: reading it sends nothing. */
async function told(t, server, options) {
  const proxy = await startProxy(t, server)
  const client = clientOf(t, { url: proxy.url, keyPrefix: 'app*:', retry: { attempts: 3, baseDelayMs: 5, maxDelayMs: 20 }, ...options })
  const cache = client.createCache('a', { local })
  const lookups = () => proxy.count('MGET')
  const isLocal = async (id) => {
    await cache.get(id)
    const before = lookups()
    await cache.get(id)
    return lookups() === before
  }
  const other = clientOf(t, { url: server.url, keyPrefix: 'app*:' }).createCache('a')
  const isTold = () => untilTold(cache, isLocal, other)
  await isTold()
  await cache.set('1', 'old')
  // Own writes are told of, too: what is told later comes after that.
  await isTold()
  await until(() => isLocal('1'))
  return { proxy, client, cache, lookups, isLocal, isTold }
}

/** Until what `other` writes over a local copy is seen: that copy outlives the test, so somebody told of it. */
async function untilTold(cache, isLocal, other) {
  let value = 0
  await other.set('told', value)
  await until(async () => {
    if (!(await isLocal('told'))) return false
    await other.set('told', ++value)
    for (let turn = 0; turn < 100; turn++) {
      if ((await cache.get('told')) === value) return true
      await new Promise((resolve) => setImmediate(resolve))
    }
    return false
  })
}

test('what another process writes, deletes or lets expire is seen', async (t) => {
  const server = await startServer(t)
  const { cache, lookups, isLocal, client } = await told(t, server)
  const before = lookups()
  for (let read = 0; read < 50; read++) t.is(await cache.get('1'), 'old')
  t.is(lookups(), before)
  const other = clientOf(t, { url: server.url, keyPrefix: 'app*:' }).createCache('a')
  await other.set('1', 'new')
  await until(async () => (await cache.get('1')) === 'new')
  await until(() => isLocal('1'))
  await other.delete('1')
  await until(async () => (await cache.get('1')) === undefined)
  await until(async () => {
    await other.set('2', 'short', 1)
    return (await cache.get('2')) === 'short'
  })
  await until(async () => (await cache.get('2')) === undefined)
  await other.setMany(Array.from({ length: 500 }, (_, index) => ({ id: `m${index}`, value: 1 })))
  const ids = Array.from({ length: 500 }, (_, index) => `m${index}`)
  await until(async () => (await cache.getMany(ids)).every((value) => value === 1))
  await other.setMany(ids.map((id) => ({ id, value: 2 })))
  await until(async () => (await cache.getMany(ids)).every((value) => value === 2))
  await server.cli('FLUSHALL')
  await until(async () => (await cache.get('m7')) === undefined)
  t.is(client.metrics().reconnects, 0)
  t.is(cache.stats().errors, 0)
})

test('what others wrote after an own write stands, also when they were told of before its answer', async (t) => {
  const server = await startServer(t)
  const { proxy, cache, lookups, isLocal, isTold } = await told(t, server, { commandTimeoutMs: 60_000 })
  await cache.set('2', 'old')
  await isTold()
  await until(() => isLocal('2'))
  const other = clientOf(t, { url: server.url, keyPrefix: 'app*:' }).createCache('a')
  // A miss, so that it is sent.
  await cache.get('3')
  proxy.hold(proxy.commands.findLast(([name]) => name === 'MGET').connection)
  const writing = cache.set('1', 'mine')
  await until(async () => /mine/.test(await server.cli('GET', 'app*:cache:a:v1:1')))
  await other.set('1', 'theirs')
  // Told after '1': when the copy of '2' is gone, so is what stood of '1'.
  await other.set('2', 'new')
  const before = lookups()
  const reads = []
  await until(() => {
    reads.push(cache.get('2'))
    return lookups() > before
  })
  proxy.release()
  await Promise.all([writing, ...reads])
  await until(async () => (await cache.get('1')) === 'theirs' && (await cache.get('2')) === 'new')
  t.is(cache.stats().errors, 0)
})

test('one connection for all caches of a client; other keys are not told', async (t) => {
  const server = await startServer(t)
  const { client, isLocal, isTold } = await told(t, server)
  const second = client.createCache('b', { local })
  await second.set('1', 'x')
  await second.get('1')
  const other = clientOf(t, { url: server.url, keyPrefix: 'app*:' })
  await isTold()
  await until(async () => {
    await other.createCache('b').set('1', 'y')
    return (await second.get('1')) === 'y'
  })
  await until(async () => (await trackers(server)) === 1)
  await until(() => isLocal('1'))
  await other.createCache('c').set('1', 'x')
  await other.cacheSet('cache:a:v10:1', 'x')
  t.true(await isLocal('1'))
  await second.close()
  t.is(await trackers(server), 1)
  t.true(await isLocal('1'))
})

test('when the connection is lost nothing old is served, and changes are told again afterwards', async (t) => {
  const server = await startServer(t)
  const { proxy, cache, isTold } = await told(t, server)
  const other = clientOf(t, { url: server.url, keyPrefix: 'app*:' }).createCache('a')
  proxy.refuse()
  proxy.cut()
  await other.set('1', 'meanwhile')
  await until(async () => (await cache.get('1')) === undefined)
  proxy.accept()
  await until(async () => (await cache.get('1')) === 'meanwhile')
  await isTold()
  await other.set('1', 'later')
  await until(async () => (await cache.get('1')) === 'later')
  await until(async () => (await trackers(server)) === 1)
  t.is(await cache.get('1'), 'later')
})

test('the connection ends with the client, and begins again with it', async (t) => {
  const server = await startServer(t)
  const { client, cache, isLocal } = await told(t, server)
  await client.close()
  await until(async () => (await trackers(server)) === 0)
  t.is(await cache.get('1'), undefined)
  await client.connect()
  await until(async () => (await isLocal('1')) && (await trackers(server)) === 1)
  await cache.close()
  await until(async () => (await trackers(server)) === 0)
})

test('changes are told over TLS', async (t) => {
  const server = await startTlsServer(t)
  const options = { ...server.options, keyPrefix: '' }
  const cache = clientOf(t, options).createCache('a', { local })
  const other = clientOf(t, { ...options, clientName: 'other' })
  await cache.set('1', 'old')
  await until(async () => (await cache.get('1')) === 'old' && / sub=1 /.test(await other.sendCommand(['CLIENT', 'LIST'])))
  for (const value of ['new', 'newer']) {
    await other.createCache('a').set('1', value)
    await until(async () => (await cache.get('1')) === value)
  }
  t.is(cache.stats().errors, 0)
})

test('a server that does not tell: the copies live by their time', async (t) => {
  const server = await startServer(t)
  await server.cli('ACL', 'SETUSER', 'narrow', 'on', '>pw', '~*', '+@all', '-client|tracking')
  const cache = clientOf(t, { url: `redis://narrow:pw@127.0.0.1:${server.port}`, keyPrefix: '' }).createCache('a', { local: { ttl: 0.05 } })
  await cache.set('1', 'old')
  const other = clientOf(t, { url: `redis://narrow:pw@127.0.0.1:${server.port}`, keyPrefix: '', clientName: 'other' }).createCache('a')
  await other.set('1', 'new')
  await until(async () => (await cache.get('1')) === 'new')
  t.is(await trackers(server), 0)
  t.is(cache.stats().errors, 0)
})

test('a program with a told copy falls off its end', async (t) => {
  const server = await startServer(t)
  const { code, json } = await runProgram(`main(async () => {
    const cache = rb.createClient({ url: '${server.url}' }).createCache('a', { local: {} })
    await cache.set('1', 'x')
    print(await cache.get('1'))
  })`)
  t.deepEqual([code, json], [0, 'x'])
})

test('a read that began before a change is not kept after it', (t) => {
  const copy = new LocalCopy({})
  const [first, second] = [copy.begin(), copy.begin()]
  copy.drop('1')
  copy.keep(first, '1', 'old', undefined)
  copy.keep(first, '2', 'fine', undefined)
  t.deepEqual([copy.get('1'), copy.get('2')?.body], [undefined, 'fine'])
  copy.clear()
  copy.keep(second, '3', 'old', undefined)
  t.is(copy.get('3'), undefined)
  copy.end()
  copy.end()
  const third = copy.begin()
  copy.keep(third, '1', 'new', undefined)
  t.is(copy.get('1').body, 'new')
})

test('what was written is kept unless the id changed meanwhile', (t) => {
  const copy = new LocalCopy({})
  const begun = copy.begin()
  copy.drop('1')
  copy.write(begun, '1', 'mine', undefined, Infinity)
  copy.write(begun, '2', 'mine', undefined, Infinity)
  t.deepEqual([copy.get('1'), copy.get('2')?.body], [undefined, 'mine'])
  copy.clear()
  copy.write(begun, '3', 'mine', undefined, Infinity)
  t.is(copy.get('3'), undefined)
  const read = copy.begin()
  copy.write(copy.begin(), '4', 'mine', undefined, Infinity)
  copy.keep(read, '4', 'older', undefined)
  t.is(copy.get('4').body, 'mine')
})

test('more changes than are remembered: nothing that was under way is kept', (t) => {
  const copy = new LocalCopy({})
  const begun = copy.begin()
  for (let id = 0; id < 100_000; id++) copy.drop(`${id}`)
  copy.keep(begun, 'other', 'fine', undefined)
  t.is(copy.get('other').body, 'fine')
  copy.drop('other')
  for (const id of ['0', '99999', 'other', 'another']) {
    copy.keep(begun, id, 'old', undefined)
    t.is(copy.get(id), undefined)
  }
  copy.keep(copy.begin(), '0', 'new', undefined)
  t.is(copy.get('0').body, 'new')
})

test('the local copy is bounded by entries and by bytes, and forgets what is over', async (t) => {
  const copy = new LocalCopy({ maxEntries: 3, maxBytes: 2000, ttl: 600 })
  const write = (...entry) => copy.write(copy.begin(), ...entry)
  for (let id = 0; id < 10; id++) write(`${id}`, 'x', undefined, Infinity)
  t.is(copy.size, 3)
  copy.get('7')
  write('10', 'x', undefined, Infinity)
  t.deepEqual(['7', '8', '9', '10'].map((id) => copy.get(id) !== undefined), [true, false, true, true])
  write('large', 'x'.repeat(1500), undefined, Infinity)
  t.true(copy.bytes <= 2000)
  write('larger', 'x'.repeat(2500), undefined, Infinity)
  t.is(copy.get('larger'), undefined)
  write('short', 'x', undefined, 1)
  await until(() => copy.get('short') === undefined)
  copy.clear()
  t.deepEqual([copy.size, copy.bytes], [0, 0])
})

test('logins that are refused for a while do not end it where a function gives the password', async (t) => {
  const server = await startServer(t, { password: 'right' })
  let given = 'right'
  let refused = 0
  const password = () => {
    if (given !== 'right') refused++
    return given
  }
  const { isTold } = await told(t, server, { password })
  given = 'wrong'
  const [tracker] = (await server.cli('CLIENT', 'LIST')).split('\n').filter((line) => / sub=1 /.test(line))
  await server.cli('CLIENT', 'KILL', 'ID', /\bid=(\d+)/.exec(tracker)[1])
  await until(() => refused >= 3)
  given = 'right'
  await isTold()
  await until(async () => (await trackers(server)) === 1)
  t.true(refused >= 3)
})
