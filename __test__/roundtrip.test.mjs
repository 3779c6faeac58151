// What is written comes back exactly: random keys and values, as string, Buffer and JSON, held against what ioredis
// writes and reads.
import test from 'ava'
import fc from 'fast-check'
import Redis from 'ioredis'
import { startServer } from './support/server.js'
import { openClient, randomFrom, unique } from './support/work.js'

const seed = Number(process.env.RB_SEED)
const COUNT = 10_000

let server
let ioredis
test.before(async () => {
  server = await startServer()
  ioredis = new Redis(server.port, '127.0.0.1')
})
test.after.always(async () => {
  ioredis?.disconnect()
  await server?.stop()
})

/** Random texts of every kind that has broken a client somewhere. */
function makeText(random) {
  const pick = (list) => list[Math.floor(random() * list.length)]
  const length = Math.floor(random() ** 3 * 60)
  const alphabets = [
    () => String.fromCharCode(97 + Math.floor(random() * 26)),
    () => String.fromCharCode(Math.floor(random() * 256)),
    () => String.fromCharCode(Math.floor(random() * 32)),
    () => pick(['\n', '\r\n', '\0', '"', "'", '\\', '`', ' ', ',', '[', ']', '{', '}', ':', '$', '*', '+', '-', '\t', '%', '\u2028', '\ufeff', '\ufffd']),
    () => pick(['😀', '👩‍👩‍👧', '☃', 'é', 'e\u0301', 'ß', '漢字', 'ا', '\u{10ffff}', '\uffff', '\x7f', '\x80']),
    () => {
      const code = Math.floor(random() * 0xffff)
      return String.fromCodePoint(code >= 0xd800 && code < 0xe000 ? 0x41 : code)
    },
  ]
  const one = pick(alphabets)
  const letter = random() < 0.5 ? one : () => pick(alphabets)()
  return Array.from({ length }, letter).join('')
}

function makeBytes(random) {
  const bytes = Buffer.alloc(Math.floor(random() ** 2 * 80))
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(random() * 256)
  return bytes
}

/** Keys that differ, and for each a value: text, bytes that are mostly not UTF-8, and a few of a megabyte. */
function makeEntries(random) {
  const keys = new Set(['', '\0', '\n', '\r\n', '"', ' ', '😀', '\xe9'])
  while (keys.size < COUNT) keys.add(makeText(random) + (random() < 0.7 ? keys.size : ''))
  return [...keys].map((key, index) => {
    if (index % 2000 === 7) return { key, data: 'aé☃'[(index / 2000) % 3 | 0].repeat(1_000_000) }
    if (index % 2000 === 11) return { key, data: Buffer.alloc(1_000_000, Buffer.concat([makeBytes(random), Buffer.from([0xf0, 0x9f])])) }
    if (index % 50 === 0) return { key, data: '' }
    return { key, data: random() < 0.4 ? makeBytes(random) : makeText(random) }
  })
}

const bytesOf = (data) => (typeof data === 'string' ? Buffer.from(data) : data)
/** Positions where two lists of Buffers or strings differ, each shown in short. */
function differences(actual, expected, keys) {
  const list = []
  if (actual.length !== expected.length) list.push(`${actual.length} instead of ${expected.length}`)
  for (let i = 0; i < expected.length && list.length < 5; i++) {
    const same = Buffer.isBuffer(expected[i]) ? Buffer.isBuffer(actual[i]) && actual[i].equals(expected[i]) : actual[i] === expected[i]
    if (!same) list.push(`${i} ${JSON.stringify(keys[i]).slice(0, 80)}: ${JSON.stringify(actual[i])?.slice(0, 200)} instead of ${JSON.stringify(expected[i])?.slice(0, 200)}`)
  }
  return list
}

const both = (title, body) => {
  test.serial(title, (t) => body(t, openClient(t, { url: server.url, keyPrefix: `${unique()}:` })))
  test.serial(`${title} (memory:)`, (t) => body(t, openClient(t, { url: 'memory:', clientName: unique() })))
}

both(`10,000 random keys and values come back exactly (RB_SEED=${seed})`, async (t, client) => {
  const random = randomFrom(seed)
  const entries = makeEntries(random)
  const keys = entries.map(({ key }) => key)
  const buffers = entries.map(({ data }) => bytesOf(data))
  const texts = buffers.map((bytes) => bytes.toString())
  const written = await client.pipelineSet(entries.map((entry, index) => (index % 3 ? entry : { ...entry, ttl: 1000 })))
  t.deepEqual([written.written, written.errors], [COUNT, []])
  for (const options of [{}, { strategy: 'script' }, { batchSize: 33 }]) {
    const asBuffer = await client.bulkLookup('', keys, { ...options, as: 'buffer' })
    t.deepEqual(differences(asBuffer.results, buffers, keys), [], JSON.stringify(options))
    t.deepEqual([asBuffer.cacheHits, asBuffer.cacheMisses, asBuffer.errors], [COUNT, 0, []])
    const asString = await client.bulkLookup('', keys, { ...options, as: 'string' })
    t.deepEqual(differences(asString.results, texts, keys), [], JSON.stringify(options))
  }
  // In other company: other sizes, other order, some twice, some missing.
  for (let round = 0; round < 300; round++) {
    const some = Array.from({ length: 1 + Math.floor(random() ** 2 * 250) }, () => Math.floor(random() * COUNT * 1.05))
    const { results } = await client.bulkLookup('', some.map((index) => keys[index] ?? `missing${index}`))
    const wrong = differences(results, some.map((index) => texts[index] ?? null), some)
    if (wrong.length > 0) t.deepEqual(wrong, [], `round ${round}`)
  }
  const found = await client.scanAll('*', 1000)
  t.deepEqual(differences(found.sort(), [...keys].sort(), keys), [])
  const report = await client.batchDelete([...keys, 'missing'], { report: true })
  t.is(report.deleted, COUNT)
  t.is(report.existed.indexOf(false), COUNT)
})

test.serial(`what redis-bulk writes ioredis reads, and the other way round (RB_SEED=${seed})`, async (t) => {
  const prefix = `${unique()}:`
  const client = openClient(t, { url: server.url, keyPrefix: prefix })
  const entries = makeEntries(randomFrom(seed + 1))
  const keys = entries.map(({ key }) => key)
  const full = keys.map((key) => prefix + key)
  const buffers = entries.map(({ data }) => bytesOf(data))
  const texts = buffers.map((bytes) => bytes.toString())

  await client.pipelineSet(entries)
  t.deepEqual(differences(await ioredis.mgetBuffer(full), buffers, keys), [])
  t.deepEqual(differences(await ioredis.mget(full), texts, keys), [])
  t.deepEqual(differences((await client.bulkLookup('', keys)).results, await ioredis.mget(full), keys), [])
  t.is(await ioredis.unlink(full), COUNT)
  t.is((await client.bulkLookup('', keys)).cacheMisses, COUNT)

  const pipeline = ioredis.pipeline()
  entries.forEach(({ data }, index) => pipeline.set(full[index], data, 'EX', 1000))
  await pipeline.exec()
  t.deepEqual(differences((await client.bulkLookup('', keys, { as: 'buffer' })).results, buffers, keys), [])
  t.deepEqual(differences((await client.bulkLookup('', keys)).results, texts, keys), [])
  t.is(await client.batchDelete(keys), COUNT)
  t.is(await ioredis.exists(full), 0)
})

both('calls of mixed types', async (t, client) => {
  const shared = { nested: { list: [1, 'two, "three"', null, [[]]] } }
  const values = ['text', Buffer.from([0xff, 0, 0x0a]), shared, 5, -0, 1e21, 0.1, true, null, [], {}, '', 'null', '5', new Date(86_400_000), [undefined, () => {}], { undefined, gone: undefined }, new Uint8Array([1, 2]), new Map([[1, 2]]), 'a,b', '["a","b"]', shared]
  const stored = values.map((value) => (typeof value === 'string' ? Buffer.from(value) : value instanceof Uint8Array ? Buffer.from(value) : Buffer.from(JSON.stringify(value))))
  // Every order that puts other neighbours together.
  for (let shift = 0; shift < values.length; shift++) {
    for (const ttl of [undefined, 100]) {
      const entries = values.map((data, index) => ({ key: `k${index}`, data, ttl: index % 2 ? ttl : undefined }))
      const turned = [...entries.slice(shift), ...entries.slice(0, shift)]
      t.is((await client.pipelineSet(turned)).written, values.length)
      const { results } = await client.bulkLookup('', entries.map(({ key }) => key), { as: 'buffer' })
      t.deepEqual(differences(results, stored, entries.map(({ key }) => key)), [])
    }
  }
  for (const [index, data] of values.entries()) {
    await client.pipelineSet([{ key: 'alone', data }])
    t.deepEqual(differences((await client.bulkLookup('', ['alone'], { as: 'buffer' })).results, [stored[index]], ['alone']), [])
  }
})

const json = fc.letrec((tie) => ({
  value: fc.oneof({ maxDepth: 6 }, fc.constantFrom(null, true, false, 0, -0, 1e21, 5e-324, '', ',', '",', '\\', '\\"', '],[', '}{', '\0', '\u2028', '😀', 'é'), fc.string({ unit: 'binary', maxLength: 8 }), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.array(tie('value'), { maxLength: 5 }), fc.dictionary(fc.string({ unit: 'binary', maxLength: 5 }), tie('value'), { maxKeys: 5 })),
})).value

both(`JSON values come back as JSON.parse gives them (RB_SEED=${seed})`, async (t, client) => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(fc.array(json, { maxLength: 3 }), fc.dictionary(fc.string({ maxLength: 4 }), json, { maxKeys: 4 }), json), { minLength: 1, maxLength: 30 }), async (values) => {
      // Texts are stored as they are; what comes back of them as JSON is another matter.
      const list = values.map((value) => (typeof value === 'string' ? [value] : value))
      const keys = list.map((_, index) => `j${index}`)
      const { written, errors } = await client.pipelineSet(list.map((data, index) => ({ key: keys[index], data })))
      const expected = list.map((value) => JSON.stringify(value))
      const asText = (await client.bulkLookup('', keys)).results
      const asJson = await client.bulkLookup('j', keys.map((key) => key.slice(1)), { as: 'json' })
      return written === list.length && errors.length === 0 && asJson.errors.length === 0 && asJson.cacheHits === list.length && expected.every((text, index) => asText[index] === text && JSON.stringify(asJson.results[index]) === text)
    }),
    { seed, numRuns: 300, endOnFailure: true },
  )
  t.pass()
})

both('JSON: toJSON at the top, Dates, deep nesting, separators in texts, large objects', async (t, client) => {
  let deep = { end: true }
  for (let i = 0; i < 1500; i++) deep = i % 2 ? [deep] : { deep }
  class Money {
    constructor(amount) {
      this.amount = amount
    }
    toJSON(key) {
      return { money: this.amount, key }
    }
  }
  const values = {
    deep, date: new Date(1e12), money: new Money(5), text: { toJSON: () => 'a text' }, number: { toJSON: () => 7 }, nothing: { toJSON: () => null }, inner: [new Money(1), { m: new Money(2) }], proto: JSON.parse('{"__proto__":{"a":1},"constructor":2}'),
    separators: [',', '],[', '","', '\\","\\', '\0', '[{', '}]', '"'], keys: { ',': 1, '"': 2, '\\': 3, '\0': 4, '': 5 }, large: Array.from({ length: 20_000 }, (_, i) => ({ i, text: `"${i}",\\` })), sparse: [1, , 3], null: null, string: new String('boxed'), nan: [Number.NaN, Infinity, -0],
  }
  const names = Object.keys(values)
  for (let round = 0; round < names.length; round++) {
    const order = [...names.slice(round), ...names.slice(0, round)]
    t.is((await client.pipelineSet(order.map((key) => ({ key, data: values[key] })))).written, names.length)
    const { results, errors } = await client.bulkLookup('', order, { as: 'json' })
    t.deepEqual(errors, [])
    for (const [index, key] of order.entries()) {
      // Like in an array or alone: the key that toJSON gets is no part of the promise.
      const got = JSON.stringify(results[index]).replaceAll(/,"key":"\d*"/g, ',"key":""')
      const wanted = JSON.stringify(values[key]).replaceAll(/,"key":"\d*"/g, ',"key":""')
      if (got !== wanted) t.fail(`${key}: ${got.slice(0, 200)} instead of ${wanted.slice(0, 200)}`)
    }
  }
})

both('objects larger than one part of a call', async (t, client) => {
  const text = 'x'.repeat(20_000)
  const entries = Array.from({ length: 2000 }, (_, index) => ({ key: `o${index}`, data: index % 2 ? { index, text } : `${index}${text}` }))
  t.is((await client.pipelineSet(entries)).written, 2000)
  const { results, errors } = await client.bulkLookup('o', entries.map((_, index) => String(index)))
  t.is(errors.length, 0)
  t.is(results.findIndex((value, index) => value !== (index % 2 ? JSON.stringify(entries[index].data) : entries[index].data)), -1)
  t.is(await client.batchDelete(entries.map(({ key }) => key)), 2000)
})
