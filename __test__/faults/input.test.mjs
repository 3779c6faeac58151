// FAULTS, input: what callers pass.
import test from 'ava'
import rb from '../../index.js'
import { startServer } from '../support/server.js'
import { startPeer } from '../support/peer.js'
import { codes, openClient, timed, unique } from '../support/work.js'

let server
test.before(async () => {
  server = await startServer()
})
test.after.always(() => server?.stop())

/** A client on the file's server, its keys apart from those of other tests. */
const open = (t, options) => openClient(t, { url: server.url, keyPrefix: `${unique()}:`, ...options })
/** The same on a server and on the embedded store. */
const both = (title, body) => {
  test(title, (t) => body(t, open(t)))
  test(`${title} (memory:)`, (t) => body(t, openClient(t, { url: 'memory:', clientName: unique() })))
}

test('FAULTS 28: empty arrays give empty results, and nothing is sent', async (t) => {
  const peer = await startPeer(t, () => {})
  const client = openClient(t, { url: peer.url })
  for (const options of [undefined, {}, { as: 'json', strategy: 'script', partial: true, timeoutMs: 5 }]) {
    t.deepEqual(await client.bulkLookup('p', [], options), { results: [], cacheHits: 0, cacheMisses: 0, errors: [] })
  }
  const set = await client.pipelineSet([], { condition: 'nx', ttl: 5 })
  t.like(set, { success: true, written: 0, failed: 0 })
  t.deepEqual(set.errors, [])
  t.is(typeof set.durationMs, 'number')
  t.is(await client.batchDelete([]), 0)
  t.is(await client.batchDelete([], 10), 0)
  t.like(await client.batchDelete([], { report: true }), { deleted: 0, failed: 0, errors: [], existed: [] })
  t.is(peer.connections, 0)
})

const badTtls = [0, -1, -0.001, Number.NaN, Infinity, -Infinity, 1e300, 2 ** 63, 9.3e15, 0.0001]
both('FAULTS 30: a ttl that is none is INVALID_ARGUMENT for that item, and nothing is sent for it', async (t, client) => {
  const entries = badTtls.flatMap((ttl, index) => [{ key: `bad${index}`, data: '1', ttl }, { key: `good${index}`, data: { index }, ttl: 100 + index }])
  const result = await client.pipelineSet(entries)
  t.like(result, { success: false, written: badTtls.length, failed: badTtls.length })
  t.deepEqual(result.errors.map(({ index, key, code, retryable, applied }) => ({ index, key, code, retryable, applied })), badTtls.map((_, index) => ({ index: index * 2, key: `bad${index}`, code: 'INVALID_ARGUMENT', retryable: false, applied: false })))
  for (const [index, { message }] of result.errors.entries()) t.regex(message, /ttl/, String(badTtls[index]))
  const lookup = await client.bulkLookup('', entries.map(({ key }) => key), { as: 'json' })
  t.deepEqual(lookup.results, badTtls.flatMap((_, index) => [null, { index }]))
  for (const ttl of badTtls) {
    const { error } = await timed(client.pipelineSet([{ key: 'a', data: '1' }], { ttl }))
    t.true(error instanceof RangeError, `${ttl}: ${error}`)
    t.is(error.code, 'INVALID_ARGUMENT')
    t.regex(error.message, /options\.ttl/)
  }
  t.deepEqual((await client.bulkLookup('', ['a'])).results, [null])
})

test('FAULTS 30: the longest time to live that Redis takes is taken, and nothing is sent for more', async (t) => {
  const client = open(t)
  const longest = (2 ** 63 - Date.now()) / 1000
  const { written, errors } = await client.pipelineSet([{ key: 'long', data: '1', ttl: longest * 0.999999 }, { key: 'year', data: '1', ttl: 31_536_000_000 }])
  t.deepEqual([written, errors], [2, []])
  t.true((await server.cli('PTTL', (await server.cli('KEYS', '*long'))[0])) > 9e18)
})

/** Keys that break what is not exact about bytes. */
const oddKeys = [
  '', ' ', '\n', '\r\n', '$5\r\nhello\r\n', '\0', '\0\0', 'a\0b', '\0a', 'a\0', '"', "'", '`', '\\', '\\x00', '*', '?', '[a]', '{slot}', '😀', '👨‍👩‍👧‍👦', 'é', 'e\u0301', '\u{10ffff}', '\ufeff', '\uffff', '\ufffd', '\u2028', '\x7f', '\x80', '-1', '0', 'null', 'undefined', '__proto__', 'constructor', 'a,b', '[', ']', '{"a":1}', 'x'.repeat(10_000), 'ß'.repeat(5000), '☃'.repeat(5000),
  ...Array.from({ length: 256 }, (_, code) => String.fromCharCode(code)),
  ...Array.from({ length: 256 }, (_, code) => `letter ${String.fromCharCode(code)}.`),
]
const distinct = [...new Set(oddKeys)]

both('FAULTS 31: keys with newlines, NUL, quotes, emoji and every Latin-1 letter round-trip exactly', async (t, client) => {
  const entries = distinct.map((key, index) => ({ key, data: `${index}:${key}` }))
  t.like(await client.pipelineSet(entries), { success: true, written: distinct.length })
  for (const strategy of ['mget', 'script']) {
    const { results, errors } = await client.bulkLookup('', distinct, { strategy })
    t.deepEqual(results, entries.map(({ data }) => data), strategy)
    t.deepEqual(errors, [])
  }
  // One by one too: alone, a code has no neighbour to be confused with.
  const single = await Promise.all(distinct.map((key) => client.bulkLookup('', [key])))
  t.deepEqual(single.map(({ results }) => results[0]), entries.map(({ data }) => data))
  // Cut anywhere into prefix and code, at least between characters.
  const cut = distinct.filter((key) => [...key].length > 1)
  for (const key of cut) {
    const [first, ...rest] = [...key]
    const { results } = await client.bulkLookup(first, [rest.join('')], { batchSize: 1 })
    if (results[0] !== `${distinct.indexOf(key)}:${key}`) t.fail(`${JSON.stringify(key)} gave ${JSON.stringify(results)}`)
  }
  t.deepEqual((await client.scanAll('*')).sort(), [...distinct].sort())
  const report = await client.batchDelete(distinct, { report: true })
  t.deepEqual(report.existed, distinct.map(() => true))
  t.deepEqual(await client.scanAll('*'), [])
})

test('FAULTS 31: the server holds the same bytes as the strings say', async (t) => {
  const { keyPrefix, client } = (() => {
    const keyPrefix = `${unique()}:`
    return { keyPrefix, client: open(t, { keyPrefix }) }
  })()
  await client.pipelineSet(distinct.map((key) => ({ key, data: key })))
  for (const key of distinct) {
    const stored = await server.cliBuffer('GET', Buffer.from(keyPrefix + key))
    if (!stored?.equals(Buffer.from(key))) t.fail(JSON.stringify(key))
  }
  t.pass()
})

const surrogates = ['\ud800', '\udc00', 'a\ud83d', '\ude00b', '\ude00\ud83d', 'x\ud800y', '\ud83d\ud83d\ude00']
for (const count of [5, 300, 50_000]) {
  both(`FAULTS 32: a lone surrogate among ${count} rejects the call and names the item`, async (t, client) => {
    const index = count === 5 ? 3 : count - 2
    const keep = { key: 'keep', data: 'kept' }
    await client.pipelineSet([keep])
    const problems = []
    for (const broken of surrogates.slice(0, count > 1000 ? 2 : undefined)) {
      const list = codes(count)
      list[0] = 'keep'
      list[index] = broken
      const calls = [
        [`codes[${index}]`, () => client.bulkLookup('', list)],
        [`codes[${index}]`, () => client.bulkLookup('', list, { strategy: 'script' })],
        [`codes[${index}]`, () => client.bulkLookup('', list, { partial: true })],
        [`entries[${index}].key`, () => client.pipelineSet(list.map((key) => ({ key, data: 'new' })))],
        [`entries[${index}].key`, () => client.pipelineSet(list.map((key) => ({ key, data: { new: 1 }, ttl: 5 })))],
        [`keys[${index}]`, () => client.batchDelete(list)],
        [`keys[${index}]`, () => client.batchDelete(list, { report: true })],
      ]
      for (const [at, [name, call]] of calls.entries()) {
        const { error } = await timed(call())
        const right = error instanceof TypeError && error.code === 'INVALID_ARGUMENT' && error.message.includes(name)
        if (!right) problems.push(`${at}: ${JSON.stringify(broken)} should be named as ${name}: ${error}`)
        const [kept, none] = (await client.bulkLookup('', ['keep', 'c1'])).results
        if (kept !== 'kept' || none !== null) problems.push(`${at}: ${name} ${JSON.stringify(broken)}: something was sent`)
        await client.pipelineSet([keep])
        await client.batchDelete(['c1'])
      }
    }
    t.deepEqual(problems, [])
  })
}

both('FAULTS 32: a lone surrogate in a prefix or a pattern, also one that a code would complete', async (t, client) => {
  for (const broken of surrogates) {
    for (const [name, call] of [['prefix', () => client.bulkLookup(broken, ['a'])], ['prefix', () => client.bulkLookup(broken, [])], ['pattern', () => client.scanAll(broken)]]) {
      const { error } = await timed(call())
      t.true(error instanceof TypeError, `${name}: ${error}`)
      t.is(error.code, 'INVALID_ARGUMENT')
      t.true(error.message.includes(name))
    }
  }
  const { error } = await timed(client.bulkLookup('\ud83d', ['\ude00']))
  t.true(error instanceof TypeError)
  await t.throws(() => rb.createClient({ url: 'memory:', keyPrefix: 'a\ud800' }), { instanceOf: rb.ConfigError, message: /keyPrefix/ })
})

test('FAULTS 32: a lone surrogate in an argument of sendCommand, which may be a key', async (t) => {
  const client = open(t)
  const error = await t.throwsAsync(client.sendCommand(['SET', 'a\ud800', '1']), { instanceOf: TypeError, code: 'INVALID_ARGUMENT' })
  t.regex(error.message, /args\[1\]/)
})

both('FAULTS 32: a call with a lone surrogate does not spoil the calls beside it', async (t, client) => {
  await client.pipelineSet(codes(10).map((key) => ({ key, data: key })))
  const calls = codes(10).map((code, index) => timed(client.bulkLookup('', index === 4 ? ['x', '\ud800'] : [code])))
  const outcomes = await Promise.all(calls)
  for (const [index, { value, error }] of outcomes.entries()) {
    if (index === 4) t.regex(error.message, /codes\[1\]/)
    else t.deepEqual(value?.results, [`c${index}`])
  }
})

/** Bytes that are not UTF-8, cut where decoders differ. */
const oddValues = [
  [0xff], [0xfe, 0xff], [0x80], [0xbf, 0xbf], [0xc0, 0x80], [0xc1], [0xc3], [0xa9], [0xc3, 0x28], [0xe2, 0x82], [0xac], [0xe2, 0x28, 0xa1], [0xed, 0xa0, 0x80], [0xed, 0xbf, 0xbf], [0xf0, 0x9f, 0x98], [0x80, 0x41],
  [0xf0, 0x28, 0x8c, 0xbc], [0xf4, 0x90, 0x80, 0x80], [0xf8, 0x88, 0x80, 0x80, 0x80], [0x61, 0xe9], [0xe9, 0x61], [0xef, 0xbb, 0xbf, 0x61], [0xef, 0xbf, 0xbd], [0x00], [], [0x61, 0x00, 0x62], [0xc3, 0xa9], [0xc2], [0x80], [0xc3], [0xbf],
].map((bytes) => Buffer.from(bytes))

both('FAULTS 33: values that are not UTF-8 are exact as Buffer, and as string like Buffer.toString()', async (t, client) => {
  const check = async (values, title) => {
    const keys = codes(values.length)
    t.like(await client.pipelineSet(values.map((data, index) => ({ key: keys[index], data }))), { success: true })
    for (const strategy of ['mget', 'script']) {
      const buffers = (await client.bulkLookup('', keys, { as: 'buffer', strategy })).results
      t.true(buffers.every(Buffer.isBuffer), title)
      t.deepEqual(buffers, values, title)
      t.deepEqual((await client.bulkLookup('', keys, { strategy })).results, values.map((value) => value.toString()), title)
    }
  }
  await check(oddValues, 'together')
  for (const value of oddValues) await check([value], value.toString('hex'))
  // Nothing but what together looks like text of another cut.
  await check([Buffer.from([0xc3]), Buffer.from([0xa9])], 'é in two')
  await check([Buffer.from([0x61, 0xc3]), Buffer.from([0xa9, 0x62]), Buffer.from([0xc2]), Buffer.from([0xbf])], 'Latin-1 in two')
  await check([Buffer.from([0xe2, 0x82]), Buffer.from([0xac]), Buffer.from([0xe2]), Buffer.from([0x82, 0xac])], '€ in two')
  await check([Buffer.from([0xf0, 0x9f]), Buffer.from([0x98, 0x80])], '😀 in two')
  // Each next to each: what ends in the middle of a character must not take from its neighbour.
  for (const one of oddValues) await check(oddValues.flatMap((other) => [one, other]), `beside ${one.toString('hex')}`)
  await check(oddValues.map((value) => Buffer.concat([Buffer.from('☃'), value, Buffer.from('é')])), 'inside')
  await check(oddValues.map((value) => Buffer.concat([Buffer.alloc(70_000, 'é'), value])), 'long')
})

test('FAULTS 33: sendCommand decodes in the same way', async (t) => {
  const client = open(t)
  for (const value of oddValues) {
    await client.sendCommand(['SET', 'odd', value])
    t.is(await client.sendCommand(['GET', 'odd']), value.toString(), value.toString('hex'))
  }
})

both('FAULTS 35: data with a cycle, a BigInt or a function is INVALID_DATA for that item, the others are written', async (t, client) => {
  const cycle = { name: 'c' }
  cycle.self = [cycle]
  const thrower = { toJSON() { throw new Error('no JSON today') } }
  const bad = { cycle, bigint: 10n, nested: { deep: [1, { big: 2n }] }, function: () => {}, class: class {}, symbol: Symbol('s'), undefined: undefined, thrower, inside: [thrower], nothing: { toJSON: () => undefined }, getter: { get x() { throw new TypeError('x') } } }
  const good = { object: { a: [1, 'zwei', null] }, null: null, number: -0, nan: Number.NaN, bool: false, date: new Date(0), empty: [], string: 'text', json: { toJSON: () => ({ is: 'json' }) } }
  const entries = []
  for (const [name, data] of Object.entries(bad)) entries.push({ key: `bad:${name}`, data, ttl: 100 })
  for (const [name, data] of Object.entries(good)) entries.splice(entries.length / 2, 0, { key: `good:${name}`, data })
  const result = await client.pipelineSet(entries)
  t.is(result.written, Object.keys(good).length)
  t.is(result.failed, Object.keys(bad).length)
  t.deepEqual(result.errors.map(({ key }) => key).sort(), Object.keys(bad).map((name) => `bad:${name}`).sort())
  for (const { index, key, code, retryable, applied, message } of result.errors) {
    t.deepEqual([entries[index].key, code, retryable, applied], [key, 'INVALID_DATA', false, false])
    t.is(typeof message, 'string')
  }
  t.regex(result.errors.find(({ key }) => key === 'bad:thrower').message, /no JSON today/)
  const stored = await client.bulkLookup('', entries.map(({ key }) => key))
  t.deepEqual(stored.results, entries.map(({ key, data }) => (key.startsWith('bad') ? null : typeof data === 'string' ? data : JSON.stringify(data))))
  // Only objects, which are serialised together; and a single bad one.
  const objects = await client.pipelineSet([{ key: 'o1', data: { a: 1 } }, { key: 'o2', data: cycle }, { key: 'o3', data: [2] }])
  t.deepEqual([objects.written, objects.errors.map(({ index, code }) => [index, code])], [2, [[1, 'INVALID_DATA']]])
  t.deepEqual((await client.bulkLookup('o', ['1', '2', '3'], { as: 'json' })).results, [{ a: 1 }, null, [2]])
  t.like(await client.pipelineSet([{ key: 'x', data: 1n }]), { success: false, written: 0, failed: 1 })
})

/** Every argument with values of the wrong type or range: `[what the message names, TypeError or RangeError, call]`. */
const hole = (list, index) => {
  delete list[index]
  return list
}
const wrongNumbers = [0, -1, 1.5, Number.NaN, Infinity, 2 ** 53]
const notNumbers = ['x', '5', null, {}, [], true, 5n]
const notObjects = [null, 'x', true, []]
const notFunctions = [null, 'x', 5, {}]
const notStrings = [undefined, null, 5, {}, ['a'], Symbol('s'), Buffer.from('a')]
const lookup = (options) => (c) => c.bulkLookup('p', ['a', 'b'], options)
const set = (options) => (c) => c.pipelineSet([{ key: 'a', data: '1' }], options)
const scan = (options) => (c) => c.scanAll('*', options)
const drop = (options) => (c) => c.batchDelete(['a', 'b'], options)
const send = (options) => (c) => c.sendCommand(['PING'], options)
const wrong = []
const each = (values, name, kind, call) => {
  for (const value of values) wrong.push([name, kind, call(value), value])
}
const notArrays = [undefined, null, 'abc', 5, {}, new Set(['a']), { length: 1, 0: 'a' }, new Uint8Array(2)]
each(notStrings, 'prefix', TypeError, (value) => (c) => c.bulkLookup(value, ['a']))
each(notArrays, 'codes', TypeError, (value) => (c) => c.bulkLookup('p', value))
each(notArrays, 'codes', TypeError, (value) => (c) => c.bulkLookup('p', value, { as: 'json' }))
each([...notStrings, new String('a')], 'codes[1]', TypeError, (value) => (c) => c.bulkLookup('p', ['a', value, 'b']))
each([...notStrings], 'codes[40000]', TypeError, (value) => (c) => c.bulkLookup('p', codes(50_000).with?.(40_000, value) ?? Object.assign(codes(50_000), { 40_000: value })))
wrong.push(['codes[1]', TypeError, (c) => c.bulkLookup('p', hole(['a', 'b', 'c'], 1)), 'a hole'])
wrong.push(['codes[1]', TypeError, (c) => c.bulkLookup('p', hole(['a', 'b', 'c'], 1), {}), 'a hole'])
each(notArrays, 'entries', TypeError, (value) => (c) => c.pipelineSet(value))
each([undefined, null, 'a', 5, true], 'entries[1]', TypeError, (value) => (c) => c.pipelineSet([{ key: 'a', data: '1' }, value]))
wrong.push(['entries[1]', TypeError, (c) => c.pipelineSet(hole([{ key: 'a', data: '1' }, { key: 'b', data: '1' }], 1)), 'a hole'])
each(notStrings, 'entries[1].key', TypeError, (value) => (c) => c.pipelineSet([{ key: 'a', data: '1' }, { key: value, data: '1' }]))
each([null, '5', {}, true, 5n], 'entries[1].ttl', TypeError, (value) => (c) => c.pipelineSet([{ key: 'a', data: '1' }, { key: 'b', data: '1', ttl: value }]))
each([null, '5', {}, true, 5n], 'entries[30000].ttl', TypeError, (value) => (c) => c.pipelineSet([...codes(30_000).map((key) => ({ key, data: '1' })), { key: 'b', data: '1', ttl: value }]))
each(notStrings, 'pattern', TypeError, (value) => (c) => c.scanAll(value))
each(notArrays, 'keys', TypeError, (value) => (c) => c.batchDelete(value))
each([...notStrings], 'keys[1]', TypeError, (value) => (c) => c.batchDelete(['a', value, 'b']))
each([...notStrings], 'keys[30000]', TypeError, (value) => (c) => c.batchDelete(Object.assign(codes(50_000), { 30_000: value })))
wrong.push(['keys[1]', TypeError, (c) => c.batchDelete(hole(['a', 'b', 'c'], 1)), 'a hole'])
each(notArrays, 'args', TypeError, (value) => (c) => c.sendCommand(value))
wrong.push(['args', RangeError, (c) => c.sendCommand([]), []])
each([undefined, null, {}, true, 5n, Number.NaN, Infinity, ['a'], Symbol('s')], 'args[1]', TypeError, (value) => (c) => c.sendCommand(['GET', value]))
wrong.push(['args[1]', TypeError, (c) => c.sendCommand(hole(['MGET', 'b', 'c'], 1)), 'a hole'])
for (const call of [lookup, set, scan, drop, send]) {
  each(call === scan || call === drop ? notObjects : [...notObjects, 5], /options|countOrOptions|batchSizeOrOptions/i, TypeError, call)
  each(notNumbers, 'timeoutMs', TypeError, (value) => call({ timeoutMs: value }))
  each([0, -1, Number.NaN, Infinity, 2 ** 31], 'timeoutMs', RangeError, (value) => call({ timeoutMs: value }))
  each([null, 'x', 5, {}, new AbortController(), { aborted: false }], 'signal', TypeError, (value) => call({ signal: value }))
}
for (const call of [lookup, set, drop]) {
  each(notNumbers, 'batchSize', TypeError, (value) => call({ batchSize: value }))
  each(wrongNumbers, 'batchSize', RangeError, (value) => call({ batchSize: value }))
}
each(wrongNumbers, 'batchSize', RangeError, drop)
each(wrongNumbers, 'count', RangeError, scan)
for (const [name, call] of [['as', lookup], ['strategy', lookup], ['condition', set], ['type', scan]]) {
  each(['x', '', 'STRING', 'toString'], name, RangeError, (value) => call({ [name]: value }))
  each([null, 5, {}, true, ['string']], name, TypeError, (value) => call({ [name]: value }))
}
each([null, 'true', 1, {}], 'partial', TypeError, (value) => lookup({ partial: value }))
each([null, 'true', 1, {}], 'report', TypeError, (value) => drop({ report: value }))
each([null, '5', {}, true, 5n], 'ttl', TypeError, (value) => set({ ttl: value }))
for (const name of ['count', 'limit']) {
  each(notNumbers, name, TypeError, (value) => scan({ [name]: value }))
  each(wrongNumbers, name, RangeError, (value) => scan({ [name]: value }))
}
for (const call of [lookup, set, scan, drop, send]) {
  each([1, undefined], 'unknown option tiemoutMs: did you mean timeoutMs?', TypeError, (value) => call({ tiemoutMs: value }))
  each([1, undefined], 'unknown option x', TypeError, (value) => call({ x: value }))
}
for (const call of [scan, drop]) each(notFunctions, 'onProgress', TypeError, (value) => call({ onProgress: value }))

test(`FAULTS 36: ${wrong.length} wrong arguments are each named before anything is sent`, async (t) => {
  const peer = await startPeer(t, () => {})
  const client = openClient(t, { url: peer.url, connectTimeoutMs: 500, commandTimeoutMs: 500 })
  const memory = openClient(t, { url: 'memory:', clientName: unique() })
  const problems = []
  for (const [name, Kind, call, value] of wrong) {
    const shown = `${name} = ${typeof value === 'object' ? JSON.stringify(value) : typeof value === 'symbol' ? 'a symbol' : String(value)}`
    for (const each of [client, memory]) {
      let promise
      try {
        // A promise, never a throw: callers that only have .catch() must hear of it.
        promise = call(each)
      } catch (error) {
        problems.push(`${shown}: threw ${error}`)
        continue
      }
      const { error } = await timed(promise)
      const named = name instanceof RegExp ? name.test(error?.message) : error?.message.includes(name)
      if (error?.constructor !== Kind || error.code !== 'INVALID_ARGUMENT' || !named) problems.push(`${each === memory ? 'memory: ' : ''}${shown}: ${error}`)
    }
    if (peer.connections > 0 && !problems.includes('something was sent')) problems.push(`${shown}: something was sent`, 'something was sent')
  }
  t.deepEqual(problems, [])
})

test('FAULTS 36: in calls that go out in parts, all is checked before the first part goes', async (t) => {
  const client = open(t)
  const list = codes(50_000)
  t.like(await client.pipelineSet(list.slice(0, 25_000).map((key) => ({ key, data: '1' }))), { success: true })
  const broken = Object.assign([...list], { 45_000: 7 })
  const { error } = await timed(client.batchDelete(broken))
  t.true(error instanceof TypeError, String(error))
  t.is((await client.scanAll('*')).length, 25_000, 'nothing was deleted')
  const before = client.metrics()
  t.true((await timed(client.bulkLookup('', broken))).error instanceof TypeError)
  t.is(client.metrics().bytesSent, before.bytesSent)
})

test('FAULTS 36: wrong options of configure and createClient are a ConfigError or TypeError that names them', (t) => {
  const options = {
    url: [5, null, '', 'nonsense', 'ftp://x', 'redis://h:99999', 'redis://h:abc', 'redis://h/x'],
    host: [5, '', 'a b', 'redis://x', null], port: [0, -1, 65_536, 1.5, 'abc', '6379', Number.NaN, null], username: [5, null, {}], password: [5, null, {}],
    db: [-1, 1.5, '1', null, 2 ** 31], tls: [5, 'yes', null, { ca: 5 }, { unknown: 1 }], cluster: [5, {}, { nodes: [] }, { nodes: 'a' }, { nodes: ['a:b'] }, { nodes: ['a'], readFrom: 'x' }, { nodes: ['a'], natMap: ['a'] }, { nodes: ['a'], natMap: { 'a:1': 5 } }, { nodes: ['a'], natMap: { 'a:b': 'c' } }, { nodes: ['a'], refreshIntervalMs: 0 }, { nodes: ['a'], natmap: {} }],
    sentinel: [5, {}, { nodes: ['a'] }, { nodes: [], master: 'm' }], upstash: [5, {}, { url: 'x', token: 't' }, { url: 'https://x' }], keyPrefix: [5, null, {}], clientName: [5, 'a b', 'a\n', null, 'ü'],
    connectTimeoutMs: [0, -1, 'x', Infinity, 1.5, null], commandTimeoutMs: [0, -1, 'x', Infinity, null], keepAliveMs: [0, 10, 'x', null], retry: [5, 'x', null, { attempts: 0 }, { attempts: 'x' }, { baseDelayMs: -1 }, { maxDelayMs: 0 }, { unknown: 1 }],
    maxBufferedBytes: [0, 'x', -1, null], fallback: [5, 'x', null, { maxBytes: 'x' }, { maxEntries: 0 }], circuitBreaker: [5, 'x', null, { failures: 0 }, { openMs: 'x' }], envFile: [5, '', '/does/not/exist.env'],
    unknownOption: [1], Url: ['redis://x'], commandTimeout: [5],
  }
  for (const [name, values] of Object.entries(options)) {
    for (const value of values) {
      for (const make of [rb.createClient, rb.configure]) {
        const error = t.throws(() => make({ [name]: value }), undefined, `${name} ${JSON.stringify(value)}`)
        t.true(error instanceof rb.ConfigError || error instanceof TypeError, `${name}: ${error}`)
        t.true(['INVALID_CONFIG', 'INVALID_ARGUMENT'].includes(error.code), `${name}: ${error.code}`)
        t.true(error.message.includes(name), `${name} ${JSON.stringify(value)}: ${error.message}`)
      }
    }
  }
  for (const value of [null, 5, 'redis://x', [], true]) {
    for (const make of [rb.createClient, rb.configure]) t.throws(() => make(value), { instanceOf: TypeError, code: 'INVALID_ARGUMENT', message: /options/ })
  }
  for (const options of [{ url: 'redis://a', cluster: { nodes: ['b'] } }, { cluster: { nodes: ['b'] }, db: 1 }, { cluster: { nodes: ['b'] }, fallback: true }]) {
    t.throws(() => rb.createClient(options), { instanceOf: rb.ConfigError, code: 'INVALID_CONFIG' }, JSON.stringify(options))
  }
})

const patterns = ['*', 'h?llo', 'h[ae]llo', 'h[^e]llo', 'h[a-b]llo', 'h[b-a]llo', 'h\\*llo', 'h*llo', '**', '*l*o', '?????', 'h[', 'h[]llo', 'h[^]llo', 'h[\\]]llo', 'h[a', '[h', '\\', 'h\\', '\\?', '[*]', '[?]*', '[[]*', '*\\**', '', 'hello', 'h[e-]llo', 'h[-e]llo', 'héllo', 'h??llo', '*\n*', '[^a]*', '[a-]', 'a\\-b', '*[', 'h[ae', '*?*?*?*?*?*?*', 'é', '?', '??', '[é]']
const names = ['hello', 'hallo', 'hbllo', 'h*llo', 'h?llo', 'hllo', 'heello', 'h[llo', 'h]llo', 'h-llo', 'h^llo', 'h\\llo', '', 'é', 'héllo', 'h\nllo', '*', '?', '[', ']', '\\', 'a-b', '[*]', 'a', 'h[', 'h[a', 'h\\', '-', '😀']

test('FAULTS 37: patterns match as the server’s own glob does, also in the embedded store', async (t) => {
  const own = await startServer(t)
  const client = openClient(t, { url: own.url })
  const memory = openClient(t, { url: 'memory:', clientName: unique() })
  const entries = names.map((key) => ({ key, data: '1' }))
  await Promise.all([client.pipelineSet(entries), memory.pipelineSet(entries)])
  for (const pattern of patterns) {
    const expected = (await own.cli('KEYS', pattern)).sort()
    t.deepEqual((await client.scanAll(pattern)).sort(), expected, JSON.stringify(pattern))
    t.deepEqual((await memory.scanAll(pattern)).sort(), expected, `memory: ${JSON.stringify(pattern)}`)
  }
})

const prefixes = ['a*b:', 'a?:', '[ab]:', '[^a]:', 'a\\*:', '\\', '\\\\', 'a[', 'a]', 'h[a-c', '^', '-', '*', '**', 'é*', '\n?', '[', '[a-', '😀[']
test('FAULTS 37: prefixes are literal, those of clients and those of look-ups', async (t) => {
  const own = await startServer(t)
  // What the prefixes would match if they were patterns.
  await own.cli('MSET', ...['axb:k', 'ab:k', 'a1:k', 'a:k', 'b:k', 'c:k', 'a*:k', 'xk', 'hak', 'k', '1k'].flatMap((key) => [key, 'other']))
  for (const keyPrefix of prefixes) {
    for (const url of [own.url, 'memory:']) {
      const client = openClient(t, { url, keyPrefix, clientName: unique() })
      const label = `${url} ${JSON.stringify(keyPrefix)}`
      await client.pipelineSet([{ key: 'k', data: '1' }, { key: 'k*', data: '2' }, { key: '', data: '3' }])
      t.deepEqual((await client.scanAll('*')).sort(), ['', 'k', 'k*'], label)
      t.deepEqual((await client.scanAll('k\\*')).sort(), ['k*'], label)
      t.deepEqual((await client.scanAll('k?')).sort(), ['k*'], label)
      t.deepEqual((await client.bulkLookup('k', ['', '*', '?', '[']).then(({ results }) => results)), ['1', '2', null, null], label)
      t.is(await client.batchDelete(['*', 'k*', '?', '', 'k']), 3, label)
    }
  }
  t.is(await own.cli('DBSIZE'), 11)
})

test('FAULTS 38: a scan during a rehash, with keys coming and going, gives each key once and misses none that stayed', async (t) => {
  const own = await startServer(t)
  const client = openClient(t, { url: own.url })
  const other = openClient(t, { url: own.url, clientName: unique() })
  const stay = codes(30_000, 'stay:')
  await client.pipelineSet(stay.map((key) => ({ key, data: '1' })))
  let scanning = true
  let rounds = 0
  const traffic = (async () => {
    // The table grows and shrinks past its limits all the while.
    for (; scanning; rounds++) {
      const come = codes(60_000, `go${rounds}:`)
      await other.pipelineSet(come.map((key) => ({ key, data: '1' })))
      await other.batchDelete(come)
    }
  })()
  for (let i = 0; i < 6; i++) {
    const found = await client.scanAll('*', { count: i % 2 ? 100 : 1000 })
    const unique = new Set(found)
    t.is(unique.size, found.length, 'each once')
    t.deepEqual(stay.filter((key) => !unique.has(key)), [], 'none missed')
  }
  scanning = false
  await traffic
  t.true(rounds > 0)
})
