// Whatever is done to a cache, it answers like a Map: through the server, with and without a local copy, compressed and not.
import test from 'ava'
import fc from 'fast-check'
import { collect, onAll } from './support.mjs'

const id = fc.constantFrom('', 'a', 'b', 'c:d', '*', 'ä[1]', '#lock:a', '\n')
const value = fc.oneof(fc.string(), fc.integer(), fc.bigInt(), fc.date({ noInvalidDate: true }), fc.constant(undefined), fc.constant('long'.repeat(50)))
const step = fc.oneof(
  fc.record({ do: fc.constant('set'), id, value }),
  fc.record({ do: fc.constant('setMany'), entries: fc.uniqueArray(fc.record({ id, value }), { maxLength: 5, selector: (entry) => entry.id }) }),
  fc.record({ do: fc.constant('get'), id }),
  fc.record({ do: fc.constant('getMany'), ids: fc.array(id, { maxLength: 6 }) }),
  fc.record({ do: fc.constant('delete'), id }),
  fc.record({ do: fc.constant('deleteMany'), ids: fc.uniqueArray(id, { maxLength: 4 }) }),
  fc.record({ do: fc.constant('getOrSet'), id, value }),
  fc.record({ do: fc.constant('getOrSetMany'), ids: fc.array(id, { maxLength: 4 }), value: fc.integer() }),
  fc.record({ do: fc.constant('clear') }),
  fc.record({ do: fc.constant('count') }),
)

async function take(t, cache, model, op) {
  switch (op.do) {
    case 'set':
      await cache.set(op.id, op.value)
      return model.set(op.id, op.value)
    case 'setMany':
      t.like(await cache.setMany(op.entries), { written: op.entries.length, failed: 0 })
      return op.entries.forEach((entry) => model.set(entry.id, entry.value))
    case 'get':
      t.deepEqual(await cache.get(op.id), model.get(op.id))
      return t.is(await cache.has(op.id), model.has(op.id))
    case 'getMany':
      return t.deepEqual(await cache.getMany(op.ids), op.ids.map((each) => model.get(each)))
    case 'delete':
      return t.is(await cache.delete(op.id), model.delete(op.id))
    case 'deleteMany':
      return t.is(await cache.deleteMany(op.ids), op.ids.filter((each) => model.delete(each)).length)
    case 'getOrSet':
      if (!model.has(op.id)) model.set(op.id, op.value)
      return t.deepEqual(await cache.getOrSet(op.id, async () => op.value), model.get(op.id))
    case 'getOrSetMany':
      for (const each of op.ids) if (!model.has(each)) model.set(each, op.value)
      return t.deepEqual(await cache.getOrSetMany(op.ids, async (missing) => new Map(missing.map((each) => [each, op.value]))), new Map(op.ids.map((each) => [each, model.get(each)])))
    case 'clear':
      t.is(await cache.clear(), model.size)
      return model.clear()
    default:
      t.is(await cache.size(), model.size)
      return t.deepEqual((await collect(cache.keys())).sort(), [...model.keys()].sort())
  }
}

for (const [title, options] of [
  ['alone', {}],
  ['with a local copy', { local: {} }],
  ['with a small local copy, compression, an account and staleness', { local: { maxEntries: 2 }, compress: { minBytes: 20 }, maxEntries: 100, ttl: 600, staleWhileRevalidate: 60 }],
]) {
  onAll(test, `a cache ${title} answers like a Map`, async (t, client) => {
    const cache = client.createCache('a', options)
    const other = client.createCache('a', { version: 2 })
    await other.set('a', 'stays')
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const model = new Map()
        for (const op of steps) await take(t, cache, model, op)
        t.is(await cache.clear(), model.size)
        t.is(await cache.size(), 0)
      }),
      { numRuns: 25 },
    )
    t.is(await other.get('a'), 'stays')
    t.is(cache.stats().errors, 0)
  })
}
