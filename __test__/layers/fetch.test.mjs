import { once } from 'node:events'
import test from 'ava'
import { ConnectionError, TimeoutError } from '../../index.mjs'
import proxySupport from '../support/proxy.js'
import { clientOf, deferred, entries, onAll, startServer } from './support.mjs'

const { startProxy } = proxySupport

/** A loader that gives `{ code }` for each code, and remembers what it was asked for. */
function recorder(give = (code) => ({ code })) {
  const calls = []
  const load = async (missing) => {
    calls.push(missing)
    return new Map(missing.map((code) => [code, give(code)]))
  }
  return { calls, load }
}

onAll(test, 'loads what is missing with one call, writes it back, gives all in order', async (t, client) => {
  await client.pipelineSet([{ key: 'u:2', data: { code: 'cached' } }])
  const { calls, load } = recorder()
  const first = await client.bulkFetch('u:', ['1', '2', '3', '1'], load, { ttl: 60 })
  t.deepEqual([...first], [['1', { code: '1' }], ['2', { code: 'cached' }], ['3', { code: '3' }]])
  t.deepEqual(calls, [['1', '3']])
  const second = await client.bulkFetch('u:', ['3', '2', '1'], load)
  t.deepEqual([...second.keys()], ['3', '2', '1'])
  t.is(calls.length, 1)
  const ttl = await client.sendCommand(['PTTL', `${client.keyPrefix}u:1`])
  t.true(ttl > 50_000 && ttl <= 60_000)
  t.deepEqual([...(await client.bulkFetch('u:', [], load))], [])
})

onAll(test, 'keeps strings, numbers, null and marker-like text apart from misses', async (t, client) => {
  const values = { text: 'plain', number: 1, nothing: null, marker: 'redis-bulk:absent', empty: '' }
  const loader = async () => values
  // A plain object has a constructor, which nobody loaded.
  const codes = [...Object.keys(values), 'constructor', 'gone']
  for (let round = 0; round < 2; round++) {
    const found = await client.bulkFetch('v:', codes, loader, { missTtl: 60 })
    t.deepEqual(Object.fromEntries(found), values)
  }
})

onAll(test, 'misses are remembered for missTtl, and not without it', async (t, client) => {
  let calls = 0
  const none = async () => {
    calls++
    return {}
  }
  await client.bulkFetch('m:', ['1'], none)
  await client.bulkFetch('m:', ['1'], none)
  t.is(calls, 2)
  await client.bulkFetch('m:', ['1'], none, { missTtl: 60 })
  t.is((await client.bulkFetch('m:', ['1'], none)).size, 0)
  t.is(calls, 3)
  const ttl = await client.sendCommand(['PTTL', `${client.keyPrefix}m:1`])
  t.true(ttl > 50_000 && ttl <= 60_000)
})

onAll(test, 'calls that miss the same code at once share one load', async (t, client) => {
  const gate = deferred()
  const asked = []
  const loader = async (missing) => {
    asked.push(missing)
    await gate.promise
    return Object.fromEntries(missing.map((code) => [code, `of ${code}`]))
  }
  const all = Array.from({ length: 20 }, (_, index) => client.bulkFetch('s:', ['a', 'b', String(index)], loader))
  gate.resolve()
  for (const [index, found] of (await Promise.all(all)).entries()) {
    t.deepEqual(Object.fromEntries(found), { a: 'of a', b: 'of b', [index]: `of ${index}` })
  }
  t.deepEqual(asked.flat().sort(), ['a', 'b', ...Array.from({ length: 20 }, (_, index) => String(index))].sort())
})

onAll(test, 'an error of the loader rejects all who share it, and is not remembered', async (t, client) => {
  const failure = new Error('no database')
  const gate = deferred()
  const failing = async () => gate.promise
  const calls = [client.bulkFetch('e:', ['1'], failing), client.bulkFetch('e:', ['1', '2'], async () => ({ 1: 1, 2: 2 }))]
  gate.reject(failure)
  for (const call of calls) t.is(await t.throwsAsync(call), failure)
  t.deepEqual([...(await client.bulkFetch('e:', ['1'], async () => ({ 1: 'now' })))], [['1', 'now']])
  const thrower = () => {
    throw failure
  }
  t.is(await t.throwsAsync(client.bulkFetch('e:', ['3'], thrower)), failure)
  for (const wrong of [undefined, null, [], 'text']) {
    await t.throwsAsync(client.bulkFetch('e:', ['3'], async () => wrong), { instanceOf: TypeError, code: 'INVALID_ARGUMENT' })
  }
})

onAll(test, 'who gives up leaves the load to the others', async (t, client) => {
  const gate = deferred()
  const loader = async () => {
    await gate.promise
    return { 1: 'loaded' }
  }
  const controller = new AbortController()
  const aborted = client.bulkFetch('g:', ['1'], loader, { signal: controller.signal })
  const late = client.bulkFetch('g:', ['1'], loader, { timeoutMs: 20 })
  const patient = client.bulkFetch('g:', ['1'], loader)
  controller.abort()
  await t.throwsAsync(aborted, { any: true, name: 'AbortError' })
  await t.throwsAsync(late, { instanceOf: TimeoutError, code: 'TIMEOUT' })
  gate.resolve()
  t.deepEqual([...(await patient)], [['1', 'loaded']])
})

onAll(test, 'what is stored and is not JSON is loaded anew', async (t, client) => {
  await client.pipelineSet([{ key: 'b:1', data: '{broken' }])
  t.deepEqual([...(await client.bulkFetch('b:', ['1'], async () => ({ 1: 'fresh' })))], [['1', 'fresh']])
  t.is((await client.bulkLookup('b:', ['1'])).results[0], '"fresh"')
})

onAll(test, 'many codes at once', async (t, client) => {
  const { calls, load } = recorder()
  const codes = entries('', 12_000).map(({ key }) => key)
  t.is((await client.bulkFetch('n:', codes, load)).size, 12_000)
  t.is((await client.bulkFetch('n:', codes, load)).size, 12_000)
  t.is(calls.length, 1)
})

test.serial('a value without a JSON form is given and not stored, with a warning', async (t) => {
  const client = clientOf(t, { url: 'memory:' })
  const warned = once(process, 'warning')
  t.deepEqual([...(await client.bulkFetch('w:', ['1', '2'], async () => ({ 1: 1n, 2: 'x' })))], [['1', 1n], ['2', 'x']])
  const [warning] = await warned
  t.is(warning.code, 'REDIS_BULK_NOT_STORED')
  t.regex(warning.message, /w:1/)
  t.deepEqual((await client.bulkLookup('w:', ['1', '2'])).results, [null, '"x"'])
})

test('a look-up that fails rejects, a write that fails does not', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = clientOf(t, { url: proxy.url, retry: { attempts: 1 } })
  const loader = async () => {
    proxy.refuse()
    proxy.cut()
    return { 1: 'loaded' }
  }
  t.deepEqual([...(await client.bulkFetch('f:', ['1'], loader))], [['1', 'loaded']])
  let called = false
  const untouched = async () => {
    called = true
    return {}
  }
  const error = await t.throwsAsync(client.bulkFetch('f:', ['1'], untouched))
  t.true(error instanceof ConnectionError || error instanceof TimeoutError)
  t.false(called)
  t.true(Object.keys(client.metrics().errors).length > 0)
})

test('wrong arguments', async (t) => {
  const client = clientOf(t, { url: 'memory:' })
  const load = async () => ({})
  const wrong = [
    [1, [], load],
    ['p', 'abc', load],
    ['p', ['a', 1], load],
    ['p', ['\ud800'], load],
    ['p', [], undefined],
    ['p', [], load, { ttl: 0 }],
    ['p', [], load, { missTtl: '5' }],
  ]
  for (const args of wrong) await t.throwsAsync(client.bulkFetch(...args), { code: 'INVALID_ARGUMENT' })
})

test('a loader whose Map has keys that are no strings is told so, and nothing is remembered as missing', async (t) => {
  const client = clientOf(t, { url: 'memory:' })
  const wrong = () => new Map([[11, 'x'], [12, 'y']])
  await t.throwsAsync(client.bulkFetch('n:', ['11', '12'], wrong, { missTtl: 60 }), { instanceOf: TypeError, message: /a number as a key/ })
  await t.throwsAsync(client.createCache('n').getOrSetMany(['11', '12'], wrong), { instanceOf: TypeError, message: /a number as a key/ })
  t.deepEqual([...(await client.bulkFetch('n:', ['11', '12'], () => new Map([['11', 'x'], ['12', 'y']]))).values()], ['x', 'y'])
})
