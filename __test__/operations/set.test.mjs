// pipelineSet: every option.
import test from 'ava'
import rb from '../../index.js'
import { startServer } from '../support/server.js'
import { startProxy } from '../support/proxy.js'
import { codes, commandStats, openClient, timed, unique, until } from '../support/work.js'

let server
test.before(async () => {
  server = await startServer()
})
test.after.always(() => server?.stop())

const open = (t, options) => openClient(t, { url: server.url, keyPrefix: `${unique()}:`, ...options })
const both = (title, body) => {
  test(title, (t) => body(t, open(t)))
  test(`${title} (memory:)`, (t) => body(t, openClient(t, { url: 'memory:', clientName: unique() })))
}

both('writes strings, bytes and JSON, and accounts for them', async (t, client) => {
  const entries = [{ key: 'a', data: 'text' }, { key: 'b', data: Buffer.from([0, 255]) }, { key: 'c', data: new Uint8Array([1, 2]) }, { key: 'd', data: { x: [1] } }, { key: 'e', data: 5 }, { key: 'f', data: null }, { key: 'g', data: false }, { key: '', data: '' }]
  const result = await client.pipelineSet(entries)
  t.is(typeof result.durationMs, 'number')
  t.true(result.durationMs >= 0)
  t.deepEqual({ ...result, durationMs: 0 }, { success: true, written: 8, failed: 0, errors: [], durationMs: 0 })
  const { results } = await client.bulkLookup('', entries.map(({ key }) => key), { as: 'buffer' })
  t.deepEqual(results.map((value) => value.toString('latin1')), ['text', '\x00\xff', '\x01\x02', '{"x":[1]}', '5', 'null', 'false', ''])
})

both('a view into a larger buffer is stored as what it shows, also when the caller writes into it afterwards', async (t, client) => {
  const whole = Buffer.from('0123456789')
  const view = whole.subarray(3, 6)
  const typed = new Uint8Array(whole.buffer, whole.byteOffset + 7, 2)
  const call = client.pipelineSet([{ key: 'v', data: view }, { key: 't', data: typed }, { key: 's', data: 'x' }])
  whole.fill('!')
  t.is((await call).written, 3)
  t.deepEqual((await client.bulkLookup('', ['v', 't', 's'])).results, ['345', '78', 'x'])
})

both('ttl on entry and in the options, to the millisecond', async (t, client) => {
  const entries = [
    { key: 'own', data: '1', ttl: 100 }, { key: 'fraction', data: '1', ttl: 100.5 }, { key: 'millis', data: '1', ttl: 100.001 }, { key: 'long', data: '1', ttl: 3_000_000 },
    { key: 'common', data: '1' }, { key: 'undefined', data: '1', ttl: undefined },
  ]
  const pttls = async (list) => Promise.all(list.map(({ key }) => client.sendCommand(['PTTL', prefixOf(client) + key])))
  for (const [options, common] of [[undefined, -1], [{ ttl: 200.25 }, 200_250]]) {
    const start = Date.now()
    t.is((await client.pipelineSet(entries, options)).written, entries.length)
    const rest = await pttls(entries)
    const passed = Date.now() - start + 5
    for (const [index, wanted] of [100_000, 100_500, 100_001, 3_000_000_000, common, common].entries()) {
      if (wanted === -1) t.is(rest[index], -1)
      else t.true(rest[index] <= wanted && rest[index] >= wanted - passed, `${entries[index].key}: ${rest[index]} of ${wanted}`)
    }
  }
  // A write without one takes an old one away.
  await client.pipelineSet([{ key: 'own', data: '2' }])
  t.deepEqual(await pttls([{ key: 'own' }]), [-1])
  // It expires.
  await client.pipelineSet([{ key: 'short', data: '1', ttl: 0.05 }, { key: 'stays', data: '1', ttl: 500 }])
  await until(async () => (await client.bulkLookup('', ['short'])).cacheHits === 0)
  t.deepEqual((await client.bulkLookup('', ['short', 'stays'])).results, [null, '1'])
})
const prefixes = new WeakMap()
const prefixOf = (client) => prefixes.get(client) ?? ''
{
  // sendCommand takes full keys.
  const make = rb.createClient
  rb.createClient = (options) => {
    const client = make(options)
    prefixes.set(client, options?.keyPrefix)
    return client
  }
}

test('milliseconds are sent exactly', async (t) => {
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, keyPrefix: `${unique()}:` })
  const ttls = [0.001, 0.0015, 0.5, 1, 1.0004, 1.2345, 59.999, 86_400, 0.1 + 0.2, 1e9]
  await client.pipelineSet(ttls.map((ttl, index) => ({ key: `k${index}`, data: '1', ttl })))
  const sent = proxy.commands.filter((command) => command[0] === 'SET').map((command) => [command[3], command[4]])
  t.deepEqual(sent, ttls.map((ttl) => ['PX', String(Math.round(ttl * 1000))]))
  await client.pipelineSet([{ key: 'a', data: '1' }, { key: 'b', data: '1', ttl: 7 }], { ttl: 2.5 })
  t.deepEqual(proxy.commands.slice(-2).map((command) => command.slice(3)), [['PX', '2500'], ['PX', '7000']])
})

both('condition nx and xx: a refusal is NOT_SET for that item', async (t, client) => {
  await client.pipelineSet([{ key: 'there', data: 'old' }])
  for (const [condition, refused, ttl] of [['nx', 0, undefined], ['xx', 1, undefined], ['nx', 0, 60], ['xx', 1, 60]]) {
    const entries = [{ key: 'there', data: `${condition}${ttl}` }, { key: `absent${ttl}${condition}`, data: 'new' }]
    const result = await client.pipelineSet(entries, { condition, ttl })
    t.like(result, { success: false, written: 1, failed: 1 }, condition)
    t.is(result.errors.length, 1)
    const { message, ...error } = result.errors[0]
    t.deepEqual(error, { index: refused, key: entries[refused].key, code: 'NOT_SET', retryable: false, applied: false })
    t.is(typeof message, 'string')
  }
  t.deepEqual((await client.bulkLookup('', ['there', 'absentundefinednx', 'absentundefinedxx', 'absent60nx', 'absent60xx'])).results, ['xx60', 'new', null, 'new', null])
  t.is(client.metrics().errors.NOT_SET, 4)
})

both('of two entries with one key the later one stands, in calls of every size', async (t, client) => {
  for (const count of [2, 3000, 20_000, 45_000]) {
    for (const ttl of [undefined, 100]) {
      for (const apart of [1, 600, 1500, 11_000]) {
        if (apart >= count) continue
        const at = Math.min(9_800, count - apart - 1)
        const entries = codes(count, `${count}-${ttl}-${apart}-`).map((key) => ({ key, data: 'x', ttl }))
        entries[at] = { key: 'twice', data: 'first', ttl }
        entries[at + apart] = { key: 'twice', data: 'last', ttl }
        t.like(await client.pipelineSet(entries), { success: true, written: count })
        t.deepEqual((await client.bulkLookup('', ['twice'])).results, ['last'], `${count} entries, ${apart} apart, ttl ${ttl}`)
        await client.batchDelete(['twice'])
      }
    }
  }
})

both('of two entries with one key and nx the earlier one stands', async (t, client) => {
  for (const [at, next] of [[0, 1], [9_800, 10_000], [9_999, 10_000], [19_500, 30_100]]) {
    const entries = codes(40_000, `${at}-`).map((key) => ({ key, data: 'x' }))
    entries[at] = { key: `nx${at}`, data: 'first' }
    entries[next] = { key: `nx${at}`, data: 'last' }
    const { errors } = await client.pipelineSet(entries, { condition: 'nx' })
    t.deepEqual((await client.bulkLookup('', [`nx${at}`])).results, ['first'], `${at}, ${next}`)
    t.deepEqual(errors.map(({ index, code }) => [index, code]), [[next, 'NOT_SET']])
  }
})

test('MSET where nothing has a time to live or a condition, else SET', async (t) => {
  const own = await startServer(t)
  const client = openClient(t, { url: own.url })
  const entries = codes(5000).map((key) => ({ key, data: key }))
  await client.pipelineSet(entries)
  let stats = await commandStats(own)
  t.is(stats.set, undefined)
  t.true(stats.mset.calls >= 1 && stats.mset.calls <= 20)
  await own.cli('CONFIG', 'RESETSTAT')
  await client.pipelineSet(entries, { ttl: 10 })
  await client.pipelineSet(entries, { condition: 'xx' })
  await client.pipelineSet([...entries.slice(0, 10), { key: 'one', data: '1', ttl: 5 }])
  stats = await commandStats(own)
  t.is(stats.mset, undefined)
  t.is(stats.set.calls, 10_011)
})

test('batchSize bounds what goes out together', async (t) => {
  const own = await startServer(t)
  const proxy = await startProxy(t, own)
  const client = openClient(t, { url: proxy.url })
  t.is((await client.pipelineSet(codes(100).map((key) => ({ key, data: '1' })), { batchSize: 7 })).written, 100)
  const sizes = proxy.commands.filter((command) => command[0] === 'MSET').map((command) => (command.length - 1) / 2)
  t.deepEqual(sizes, [...Array(14).fill(7), 2])
  for (const batchSize of [1, 100_000]) t.is((await client.pipelineSet(codes(300).map((key) => ({ key, data: '1', ttl: 5 })), { batchSize })).written, 300)
  t.is(await own.cli('DBSIZE'), 300)
})

test('timeoutMs: rejects where nothing was sent, else resolves to the account', async (t) => {
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, keyPrefix: `${unique()}:`, commandTimeoutMs: 60_000 })
  await client.connect()
  let replies = 0
  proxy.onReply = (reply) => (++replies > 2500 ? null : reply.raw)
  const entries = codes(30_000).map((key) => ({ key, data: key, ttl: 100 }))
  const { value, error, ms } = await timed(client.pipelineSet(entries, { timeoutMs: 6000 }))
  t.is(error, undefined, String(error))
  t.true(ms > 5900 && ms < 45_000, `${ms} ms`)
  t.is(value.written, 2500)
  t.is(value.failed, 27_500)
  t.deepEqual(value.errors.map(({ index }) => index), entries.slice(2500).map((_, index) => index + 2500))
  t.deepEqual([...new Set(value.errors.map(({ code }) => code))], ['TIMEOUT'])
  const applied = value.errors.map((each) => each.applied)
  t.is(applied[0], 'unknown')
  t.is(applied.at(-1), false)
  const sent = new Set(proxy.commands.filter((command) => command[0] === 'SET').map((command) => command[1].split(':').at(-1)))
  t.deepEqual(value.errors.filter((each) => each.applied === false && sent.has(each.key)), [], 'none that was sent counts as not applied')

  proxy.refuse()
  proxy.cut()
  // Nothing is to be sent on what is cut already.
  await until(async () => (await client.health()).status === 'down')
  const none = await timed(client.pipelineSet(entries, { timeoutMs: 400 }))
  t.true(none.error instanceof rb.RedisBulkError, 'nothing was sent: it rejects')
  t.is(none.error.applied, false)
  t.true(none.ms < 20_000, `${none.ms} ms`)
})

test('values and keys of a megabyte and more, beside small ones', async (t) => {
  const client = open(t)
  const big = 'x'.repeat(5_000_000)
  const unicode = 'ü☃'.repeat(300_000)
  const entries = [{ key: 'a', data: '1' }, { key: 'big', data: big }, { key: 'u', data: unicode, ttl: 50 }, { key: 'b', data: Buffer.alloc(3_000_000, 7) }, { key: 'k'.repeat(1_000_000), data: 'long key' }, { key: 'z', data: { big } }]
  t.is((await client.pipelineSet(entries)).written, 6)
  const { results } = await client.bulkLookup('', entries.map(({ key }) => key))
  t.is(results[0], '1')
  t.true(results[1] === big && results[2] === unicode && results[5] === JSON.stringify({ big }))
  t.is(results[3], '\x07'.repeat(3_000_000))
  t.is(results[4], 'long key')
})

test('the deadline of a call holds for its later groups, too', async (t) => {
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, keyPrefix: `${unique()}:`, commandTimeoutMs: 60_000 })
  await client.connect()
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
  let sets = 0
  proxy.onCommand = (command) => {
    // Of the second group: the first one’s replies are all on their way.
    if (command[0] === 'SET' && ++sets === 10_001) proxy.hold()
    return command.raw
  }
  proxy.hold()
  const call = client.pipelineSet(codes(20_000).map((key) => ({ key, data: 'x', ttl: 60 })), { timeoutMs: 2000 })
  await pause(1500)
  proxy.release()
  await pause(1100)
  proxy.release()
  const { failed, errors } = await call
  t.true(failed > 0)
  t.true(errors.every(({ code }) => code === 'TIMEOUT'))
})

test('entries that are taken away during the call fail by themselves; before anything is sent, the call does', async (t) => {
  const client = open(t)
  const shortened = (count) => {
    const entries = codes(count).map((key) => ({ key, data: 'x', ttl: 60 }))
    const call = client.pipelineSet(entries)
    entries.length = 2
    return call
  }
  const result = await shortened(40_000)
  t.is(result.written + result.failed, 40_000)
  t.true(result.failed > 0)
  t.true(result.errors.every(({ code, applied }) => code === 'INVALID_ARGUMENT' && applied === false))
  await t.throwsAsync(shortened(60_000), { instanceOf: TypeError, message: /entries\[50000\]/ })
})
