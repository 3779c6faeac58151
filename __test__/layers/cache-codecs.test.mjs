// Every codec against every type that it promises: through the server, through the local copy, compressed and not.
import test from 'ava'
import fc from 'fast-check'
import zlib from 'node:zlib'
import compression from '../../lib/cache/compression.js'
import typedJson from '../../lib/cache/typed-json.js'
import native from '../../lib/native.js'
import { clientOf, onBoth } from './support.mjs'

const { compressed, decompressed } = compression
const { Session } = native
const { parse, stringify } = typedJson
const refuse = (why) => Object.assign(new Error(why), { code: 'REFUSED' })

/** Text that UTF-8 can say, every plane of it. */
const text = fc.string({ unit: 'binary' })
const leaf = fc.oneof(
  text,
  fc.double(),
  fc.integer(),
  fc.bigInt(),
  fc.boolean(),
  fc.constant(null),
  fc.constant(undefined),
  fc.date({ noInvalidDate: false }),
  fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  fc.uint8Array(),
)
const keyText = fc.oneof(text, fc.constantFrom('$type', 'value', '__proto__', 'constructor', 'toString', '0'))
const { value } = fc.letrec((tie) => ({
  value: fc.oneof({ depthSize: 'small' }, leaf, tie('list'), tie('object'), tie('map'), tie('set')),
  list: fc.array(tie('value')),
  // Made by defineProperty, as JSON.parse does: a key `__proto__` is a key.
  object: fc.array(fc.tuple(keyText, tie('value'))).map((pairs) => {
    const made = {}
    for (const [key, item] of pairs) Object.defineProperty(made, key, { value: item, enumerable: true, configurable: true, writable: true })
    return made
  }),
  map: fc.array(fc.tuple(tie('value'), tie('value'))).map((pairs) => new Map(pairs)),
  set: fc.array(tie('value')).map((items) => new Set(items)),
}))
/** As JSON itself keeps it, which has no -0. */
const plainJson = fc.jsonValue().map((each) => JSON.parse(JSON.stringify(each)))
const bytesOrText = fc.oneof(text, fc.uint8Array().map((bytes) => Buffer.from(bytes)), fc.string({ unit: 'grapheme' }).map((each) => Buffer.from(each)))

/** One of each, so that no run leaves any out. */
const oneOfEach = [
  new Date(0), new Date(NaN), new Date(8.64e15), new Map([[{ a: 1 }, new Set([1n, -0])]]), new Set(), 10n ** 40n, -1n, undefined, NaN, Infinity, -Infinity, -0, 0,
  Buffer.alloc(0), Buffer.from('täxt'), Buffer.from([0xff, 0xf8, 0]), new Uint8Array([1, 2]), '', '\ufffd', '\x1f5\x1f', 'null', null, true, [], {}, [undefined], { a: undefined },
  { $type: 'Date', value: 'no date' }, { $type: undefined }, { $type: { $type: 1 } }, { __proto__: null, ['__proto__']: new Date(5) }, JSON.parse('{"__proto__":{"a":1}}'),
]

for (const each of oneOfEach) {
  test(`json keeps ${stringify(each, refuse)}`, (t) => t.deepEqual(parse(stringify(each, refuse)), same(each)))
}

/** Without a null prototype, which no codec promises. */
function same(each) {
  return typeof each === 'object' && each !== null && Object.getPrototypeOf(each) === null ? Object.defineProperties({}, Object.getOwnPropertyDescriptors(each)) : each
}

test('json keeps whatever is made of what it promises', (t) => {
  fc.assert(fc.property(value, (each) => void t.deepEqual(parse(stringify(each, refuse)), each)), { numRuns: 500 })
})

test('json is plain JSON where JSON says all', (t) => {
  fc.assert(fc.property(fc.jsonValue(), (each) => {
    fc.pre(!JSON.stringify(each).includes('$type') && !stringify(each, refuse).includes('"-0"'))
    t.is(stringify(each, refuse), JSON.stringify(each))
  }))
  t.is(stringify({ a: { toJSON: () => ({ b: 1 }) } }, refuse), '{"a":{"b":1}}')
  class User { name = 'Ada'; #secret = 1; greet() { return this.#secret } }
  t.is(stringify(new User(), refuse), '{"name":"Ada"}')
})

test('json leaves the value as it was', (t) => {
  const list = [1, new Date(0), { a: 1n }]
  stringify({ list, map: new Map([[1, list]]) }, refuse)
  t.deepEqual(list, [1, new Date(0), { a: 1n }])
})

test('json refuses what it cannot keep', (t) => {
  const cycle = {}
  cycle.self = [cycle]
  const deep = []
  for (let at = deep, depth = 0; depth < 100_000; depth++) at.push((at = []))
  for (const each of [() => {}, Symbol('a'), { a: [() => {}] }, cycle, deep, /a/, new Error('a'), new WeakMap(), Promise.resolve(), new Float64Array(1), new ArrayBuffer(1), new Map([[1, Symbol('a')]])]) {
    t.throws(() => stringify(each, refuse), { code: 'REFUSED' })
  }
})

test('json: text that somebody else wrote is read as JSON or refused, and reaches no prototype', (t) => {
  fc.assert(fc.property(fc.jsonValue(), fc.constantFrom('Map', 'Set', 'Date', 'BigInt', 'Buffer', 'Object', 'Number', 'x'), (inner, type) => {
    try {
      parse(JSON.stringify({ a: { $type: type, value: inner } }))
    } catch (error) {
      t.true(error instanceof SyntaxError || error instanceof RangeError, String(error))
    }
    t.is({}.polluted, undefined)
  }))
  for (const value of ['{"toString":0,"valueOf":0}', '[1]', '1', 'null']) t.throws(() => parse(`{"$type":"Number","value":${value}}`), { instanceOf: SyntaxError })
  t.is(parse('{"__proto__":{"polluted":{"$type":"BigInt","value":"1"}}}').polluted, undefined)
  t.is({}.polluted, undefined)
})

const compressions = [false, { algorithm: 'lz4', minBytes: 1 }, { algorithm: 'zstd', minBytes: 1 }]
const own = {
  encode: (each) => Buffer.concat([Buffer.from([each.length & 0xff]), Buffer.from(each)]),
  decode: (stored) => (stored[0] === (stored.length - 1 & 0xff) ? Buffer.from(stored.subarray(1)) : undefined),
}
const cases = [
  ['json', 'json', value, oneOfEach.map(same)],
  ['plain-json', 'plain-json', plainJson, [{ a: [1, null, 'x', true] }, '', 0]],
  ['raw', 'raw', bytesOrText, ['', 'täxt', '\x1f1\x1f', '\ufffd', Buffer.alloc(0), Buffer.from('text'), Buffer.from([0xf8]), Buffer.from([0xfa, 0xfb]), Buffer.from([0xff, 0xd8]), Buffer.from([0x1f, 0x31])]],
  ['of one’s own', own, fc.uint8Array().map((bytes) => Buffer.from(bytes)), [0xf8, 0xfb, 0x1f, 0xff].map((byte) => Buffer.alloc(byte))],
]
for (const [title, codec, arbitrary, examples] of cases) {
  onBoth(test, `codec ${title}: through the server and the local copy, compressed or not, stale or not`, async (t, client) => {
    for (const compress of compressions) {
      for (const staleWhileRevalidate of [undefined, 60]) {
        const options = { codec, compress, staleWhileRevalidate, ttl: 60 }
        const [writer, reader, local] = [client.createCache('a', options), client.createCache('a', options), client.createCache('a', { ...options, local: {} })]
        const goesRound = async (values) => {
          const ids = values.map((_, index) => `${index}`)
          const { errors } = await writer.setMany(ids.map((id, index) => ({ id, value: values[index] })))
          t.deepEqual(errors, [])
          const plain = client.createCache('a', { codec })
          for (const cache of [reader, plain]) {
            t.deepEqual(await cache.getMany(ids), values)
            for (const id of ids.slice(0, 3)) t.deepEqual(await cache.get(id), values[id])
          }
          for (const id of ids.slice(0, 3)) {
            await local.set(id, values[id])
            t.deepEqual([await local.get(id), await local.get(id)], [values[id], values[id]])
            await local.delete(id)
            await writer.set(id, values[id])
            t.deepEqual([await local.get(id), await local.get(id)], [values[id], values[id]], 'read from the server, then from the copy')
          }
          await local.clear()
        }
        await goesRound(examples)
        await fc.assert(fc.asyncProperty(fc.array(arbitrary, { minLength: 1, maxLength: 8 }), goesRound), { numRuns: 10 })
      }
    }
  })
}

test('what a codec cannot say is INVALID_DATA', async (t) => {
  const client = clientOf(t, { url: 'memory:' })
  const wrong = [['json', Symbol('a')], ['plain-json', undefined], ['plain-json', 1n], ['raw', 5], ['raw', '\ud800'], [{ encode: () => 5, decode: () => 1 }, 1]]
  for (const [codec, each] of wrong) await t.throwsAsync(client.createCache('a', { codec }).set('1', each), { code: 'INVALID_DATA' }, String(codec))
})

test('Zstandard of Node and of the package read each other', async (t) => {
  const bytes = Buffer.from(JSON.stringify(Array.from({ length: 500 }, (_, id) => ({ id, name: `thing ${id}` }))))
  const [own] = await Session.compress([bytes], true)
  t.true(own.length < bytes.length / 2)
  t.deepEqual(await decompressed([own]), [bytes])
  t.deepEqual(await Session.decompress([own, Buffer.from([0xf9, 1]), Buffer.from('x')]), [bytes, null, null])
  const [ours] = await compressed([bytes], { algorithm: 'zstd', minBytes: 1 })
  t.deepEqual(await Session.decompress([ours]), [bytes])
  if (zlib.zstdDecompressSync !== undefined) t.deepEqual(zlib.zstdDecompressSync(own.subarray(1)), bytes)
})
