// bulkLookup: every option.
import { getEventListeners } from 'node:events'
import { isDeepStrictEqual } from 'node:util'
import test from 'ava'
import fc from 'fast-check'
import rb from '../../index.js'
import { startServer } from '../support/server.js'
import { handshake, startPeer } from '../support/peer.js'
import { startProxy } from '../support/proxy.js'
import { codes, commandStats, openClient, timed, unique } from '../support/work.js'

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

both('results, hits and misses in order, duplicates in every place', async (t, client) => {
  await client.pipelineSet([{ key: 'p:a', data: 'A' }, { key: 'p:b', data: '' }, { key: 'c', data: 'other' }])
  t.deepEqual(await client.bulkLookup('p:', ['b', 'a', 'c', 'a', 'none', 'a', 'none']), { results: ['', 'A', null, 'A', null, 'A', null], cacheHits: 4, cacheMisses: 3, errors: [] })
  t.deepEqual(await client.bulkLookup('', ['p:a']), { results: ['A'], cacheHits: 1, cacheMisses: 0, errors: [] })
  t.deepEqual((await client.bulkLookup('p:a', [''])).results, ['A'])
})

/** ava's comparison takes seconds for thousands of Buffers. */
const same = (t, value, expected, label) => t.true(isDeepStrictEqual(value, expected), label)

both('as: string, buffer and json, with both strategies, small and large', async (t, client) => {
  const values = ['{"a":1}', '"text"', 'null', '[]', '0', 'true', ' {"b" : [1, 2 ]} ', 'ünï☃😀']
  for (const count of [8, 256, 257, 5000]) {
    const keys = codes(count)
    const stored = keys.map((_, index) => values[index % values.length])
    await client.pipelineSet(keys.map((key, index) => ({ key, data: stored[index] })))
    for (const strategy of ['mget', 'script', undefined]) {
      const label = `${count} ${strategy}`
      same(t, (await client.bulkLookup('', keys, { strategy })).results, stored, label)
      same(t, (await client.bulkLookup('', keys, { as: 'string', strategy })).results, stored, label)
      same(t, (await client.bulkLookup('', keys, { as: 'buffer', strategy })).results, stored.map((text) => Buffer.from(text)), label)
      const json = await client.bulkLookup('', [...keys, 'none'], { as: 'json', strategy })
      const bad = keys.filter((_, index) => index % values.length === 7).length
      same(t, json.results, [...stored.map((text) => (text.startsWith('ü') ? null : JSON.parse(text))), null], label)
      t.deepEqual([json.cacheHits, json.cacheMisses, json.errors.length], [count - bad, 1, bad], label)
      t.true(json.errors.every(({ index, key, code, retryable, applied }) => index % 8 === 7 && key === keys[index] && code === 'INVALID_JSON' && !retryable && applied === false), label)
    }
  }
})

test('a look-up as Buffers gives each its own: writing into one changes no other', async (t) => {
  const client = open(t)
  await client.pipelineSet([{ key: 'a', data: 'aaaa' }, { key: 'b', data: 'bbbb' }])
  const { results } = await client.bulkLookup('', ['a', 'b', 'a'], { as: 'buffer' })
  results[0].fill('x')
  t.deepEqual(results.map(String), ['xxxx', 'bbbb', 'aaaa'])
})

test('batchSize bounds the keys of one command, in both strategies', async (t) => {
  const own = await startServer(t)
  const proxy = await startProxy(t, own)
  const client = openClient(t, { url: proxy.url })
  const keys = codes(1000)
  await client.pipelineSet(keys.map((key) => ({ key, data: key })))
  for (const [batchSize, strategy, commands] of [[1, 'mget', 1000], [7, 'mget', 143], [999, 'mget', 2], [1000, 'mget', 1], [5000, 'mget', 1], [100, 'script', 10], [300, undefined, 4]]) {
    const from = proxy.commands.length
    t.deepEqual((await client.bulkLookup('', keys, { batchSize, strategy })).results, keys)
    const sent = proxy.commands.slice(from).filter((command) => !(command[0] === 'SCRIPT'))
    const sizes = sent.map((command) => (command[0] === 'MGET' ? command.length - 1 : Number(command[2])))
    t.true(sizes.every((size) => size <= batchSize), `${strategy} ${batchSize}: ${sizes.slice(0, 5)}`)
    if (strategy !== 'script') t.is(sent.length, commands, `${strategy} ${batchSize}`)
    t.is(new Set(sent.map((command) => command[0])).size, 1)
    t.is(sent[0][0], strategy === 'script' ? 'EVALSHA' : 'MGET')
  }
})

test('without batchSize a long call is cut so that no command has more than some thousand keys', async (t) => {
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, keyPrefix: unique() })
  await client.bulkLookup('', codes(50_000))
  t.true(Math.max(...proxy.commands.map((command) => command.length)) <= 10_001)
})

test('timeoutMs bounds the whole call; partial keeps what has arrived', async (t) => {
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, keyPrefix: `${unique()}:`, commandTimeoutMs: 60_000 })
  const keys = codes(5000)
  await client.pipelineSet(keys.map((key) => ({ key, data: key })))
  let mgets = 0
  const stall = () => {
    mgets = 0
    // The third answer and all later ones do not come.
    proxy.onReply = (reply) => (Array.isArray(reply.value) && ++mgets > 2 ? null : reply.raw)
  }
  stall()
  const whole = await timed(client.bulkLookup('', keys, { timeoutMs: 3000, batchSize: 1000 }))
  t.true(whole.error instanceof rb.TimeoutError, String(whole.error))
  t.like(whole.error, { code: 'TIMEOUT', retryable: true })
  t.true(whole.ms > 2900 && whole.ms < 30_000, `${whole.ms} ms`)
  proxy.cut()
  stall()
  const partial = await timed(client.bulkLookup('', keys, { timeoutMs: 3000, batchSize: 1000, partial: true }))
  t.is(partial.error, undefined)
  t.true(partial.ms > 2900 && partial.ms < 30_000, `${partial.ms} ms`)
  const { results, cacheHits, cacheMisses, errors } = partial.value
  t.deepEqual([cacheHits, cacheMisses, errors.length], [2000, 0, 3000])
  t.deepEqual(results.slice(0, 2000), keys.slice(0, 2000))
  t.true(results.slice(2000).every((value) => value === null))
  t.deepEqual(errors.map(({ index }) => index), keys.slice(2000).map((_, index) => index + 2000))
  t.true(errors.every(({ code, key, index, retryable }) => code === 'TIMEOUT' && key === keys[index] && retryable))
  proxy.onReply = null
  proxy.cut()
  t.is((await client.bulkLookup('', keys, { timeoutMs: 60_000, partial: true })).cacheHits, 5000)
})

test('partial: a call of which nothing arrives resolves, too, in calls of every size', async (t) => {
  // Each group of a large call is a failure of its own: without a breaker all of them try.
  const client = openClient(t, { host: '127.0.0.1', port: 1, retry: { attempts: 1 }, circuitBreaker: false, clientName: unique() })
  for (const count of [1, 300, 45_000]) {
    const { value, error } = await timed(client.bulkLookup('', codes(count), { partial: true }))
    t.is(error, undefined, String(error))
    t.deepEqual([value.cacheHits, value.cacheMisses, value.errors.length, value.results.length], [0, 0, count, count])
    t.true(value.errors.every(({ code, index, key, applied }, at) => code === 'CONNECTION_REFUSED' && index === at && key === `c${at}` && applied === false))
  }
})

test('signal: aborted before, nothing is sent', async (t) => {
  const peer = await startPeer(t, () => {})
  const client = openClient(t, { url: peer.url })
  const reason = new Error('why')
  for (const [signal, cause] of [[AbortSignal.abort(), undefined], [AbortSignal.abort(reason), reason], [AbortSignal.abort('text'), 'text']]) {
    for (const call of [() => client.bulkLookup('', ['a'], { signal }), () => client.bulkLookup('', codes(50_000), { signal, partial: true }), () => client.pipelineSet([{ key: 'a', data: '1' }], { signal }), () => client.scanAll('*', { signal }), () => client.batchDelete(['a'], { signal }), () => client.batchDelete(['a'], { signal, report: true }), () => client.sendCommand(['PING'], { signal })]) {
      const { error } = await timed(call())
      t.true(error instanceof DOMException, String(error))
      t.is(error.name, 'AbortError')
      if (cause) t.is(error.cause, cause)
    }
  }
  t.is(peer.connections, 0)
})

test('signal: aborted during, the promise settles at once and no later chunk is sent', async (t) => {
  const calls = {
    MGET: (client, signal) => client.bulkLookup('', codes(50_000), { signal }),
    EVALSHA: (client, signal) => client.bulkLookup('', codes(5000), { signal, strategy: 'script', partial: true }),
    SET: (client, signal) => client.pipelineSet(codes(50_000).map((key) => ({ key, data: '1', ttl: 5 })), { signal }),
    SCAN: (client, signal) => client.scanAll('*', { signal }),
    UNLINK: (client, signal) => client.batchDelete(codes(50_000), { signal }),
    INCR: (client, signal) => client.sendCommand(['INCR', 'a'], { signal }),
  }
  const check = async ([name, call]) => {
    const peer = await startPeer(t, (command, reply) => void (handshake(command, reply) || command[0] !== 'ECHO' || reply(command[1])))
    const client = openClient(t, { url: peer.url, commandTimeoutMs: 10_000 })
    const controller = new AbortController()
    const outcome = timed(call(client, controller.signal))
    await peer.until((p) => p.count(name) >= 1)
    controller.abort()
    const { error } = await outcome
    t.is(peer.connections, 1, `${name}: at once, not when the connection is given up`)
    t.is(error?.name, 'AbortError', `${name}: ${error}`)
    t.is(getEventListeners(controller.signal, 'abort').length, 0, name)
    // What was on its way arrives and runs into its time limit; nothing follows on the next connection.
    await peer.until((p) => p.connections > 1)
    const sent = peer.count(name)
    t.true(sent <= (name === 'SET' ? 5000 : 6), `${name} ${sent}`)
    t.is(await client.sendCommand(['ECHO', name]), name)
    t.is(peer.count(name), sent, name)
  }
  await Promise.all(Object.entries(calls).map(check))
})

test('signal: aborted while connecting, and afterwards', async (t) => {
  const silent = await startPeer(t, () => {})
  const client = openClient(t, { url: silent.url, connectTimeoutMs: 60_000, commandTimeoutMs: 300 })
  const controller = new AbortController()
  const call = timed(client.bulkLookup('', ['a'], { signal: controller.signal }))
  await silent.until((p) => p.connections === 1)
  controller.abort()
  t.is((await call).error?.name, 'AbortError')

  const fine = open(t)
  const later = new AbortController()
  const calls = [fine.bulkLookup('', ['a'], { signal: later.signal }), fine.pipelineSet([{ key: 'a', data: 1 }], { signal: later.signal }), fine.scanAll('*', { signal: later.signal }), fine.batchDelete(['a'], { signal: later.signal }), fine.sendCommand(['PING'], { signal: later.signal })]
  await Promise.all(calls)
  t.is(getEventListeners(later.signal, 'abort').length, 0)
  later.abort()
  t.is((await Promise.all(calls))[4], 'PONG')
})

test('one signal for many calls makes no warning and aborts them all', async (t) => {
  const peer = await startPeer(t, (command, reply) => void handshake(command, reply))
  const client = openClient(t, { url: peer.url, commandTimeoutMs: 4000 })
  const warnings = []
  const listen = (warning) => warnings.push(String(warning))
  process.on('warning', listen)
  const controller = new AbortController()
  const calls = codes(50).map((code) => timed(client.bulkLookup('', [code], { signal: controller.signal })))
  await peer.until((p) => p.count('MGET') > 0)
  controller.abort()
  for (const { error } of await Promise.all(calls)) t.is(error?.name, 'AbortError')
  process.off('warning', listen)
  t.deepEqual(warnings.filter((text) => /MaxListeners/.test(text)), [])
})

both('the account adds up, whatever is asked for', async (t, client) => {
  const stored = new Map()
  for (let i = 0; i < 200; i++) stored.set(`k${i}`, i % 3 ? JSON.stringify({ i }) : `{${i}`)
  await client.pipelineSet([...stored].map(([key, data]) => ({ key, data })))
  const parse = (text) => {
    try {
      return JSON.parse(text)
    } catch {
      return null
    }
  }
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.integer({ min: 0, max: 250 }).map((i) => `k${i}`), fc.string({ unit: 'binary', maxLength: 5 })), { maxLength: 400 }),
      fc.record({ as: fc.constantFrom('string', 'json', 'buffer'), strategy: fc.constantFrom('mget', 'script'), batchSize: fc.integer({ min: 1, max: 500 }), partial: fc.boolean() }, { requiredKeys: [] }),
      fc.boolean(),
      async (list, options, plain) => {
        const { results, cacheHits, cacheMisses, errors } = await client.bulkLookup('', list, plain ? undefined : options)
        const as = plain ? 'string' : (options.as ?? 'string')
        const expected = list.map((code) => {
          const text = stored.get(code)
          if (text === undefined) return null
          return as === 'json' ? parse(text) : as === 'buffer' ? Buffer.from(text) : text
        })
        const bad = as === 'json' ? list.flatMap((code, index) => (stored.has(code) && parse(stored.get(code)) === null ? [index] : [])) : []
        return (
          cacheHits + cacheMisses + errors.length === list.length &&
          results.length === list.length &&
          results.every((value, index) => (Buffer.isBuffer(value) ? value.equals(expected[index]) : JSON.stringify(value) === JSON.stringify(expected[index]))) &&
          cacheMisses === list.filter((code) => !stored.has(code)).length &&
          JSON.stringify(errors.map(({ index }) => index)) === JSON.stringify(bad) &&
          errors.every(({ index, key }) => key === list[index])
        )
      },
    ),
    { numRuns: 150, endOnFailure: true },
  )
  t.pass()
})

both('JSON is accepted exactly where JSON.parse accepts it', async (t, client) => {
  const pieces = ['{', '}', '[', ']', ',', ':', '"', '\\', '"a"', '1', '-', '0', '.5', 'e9', 'E+400', 'true', 'null', 'nul', ' ', '\n', '\t', '\u00a0', '\ufeff', '\\u00e9', '\\ud800', '\\x', 'é', '😀', '\u2028', '\x01', '"__proto__"', '[]', '{}']
  await fc.assert(
    fc.asyncProperty(fc.array(fc.oneof(fc.array(fc.constantFrom(...pieces), { maxLength: 8 }).map((list) => list.join('')), fc.json()), { minLength: 1, maxLength: 30 }), async (texts) => {
      await client.pipelineSet(texts.map((data, index) => ({ key: `j${index}`, data })))
      const { results, errors } = await client.bulkLookup('j', texts.map((_, index) => String(index)), { as: 'json' })
      const refused = new Set(errors.map(({ index }) => index))
      texts.forEach((text, index) => {
        let value
        let ok = true
        try {
          value = JSON.parse(text)
        } catch {
          ok = false
        }
        if (refused.has(index) === ok) throw new Error(`${JSON.stringify(text)}: JSON.parse ${ok ? 'accepts' : 'refuses'} it`)
        if (ok && JSON.stringify(value) !== JSON.stringify(results[index])) throw new Error(`${JSON.stringify(text)} became ${JSON.stringify(results[index])}`)
      })
    }),
    { numRuns: 200, endOnFailure: true },
  )
  const deep = '['.repeat(1000) + ']'.repeat(1000)
  await client.pipelineSet([{ key: 'deep', data: deep }, { key: 'bytes', data: Buffer.from([0x22, 0xff, 0xe2, 0x82, 0x22]) }, { key: 'cut', data: Buffer.from([0x22, 0xe2, 0x82]) }, { key: 'bom', data: Buffer.from('\ufeff1') }])
  const { results, errors } = await client.bulkLookup('', ['deep', 'bytes', 'cut', 'bom'], { as: 'json' })
  t.is(JSON.stringify(results[0]), deep)
  t.is(results[1], Buffer.from([0xff, 0xe2, 0x82]).toString())
  t.deepEqual(errors.map(({ index, code }) => [index, code]), [[2, 'INVALID_JSON'], [3, 'INVALID_JSON']])
})

test('the script strategy uses EVALSHA only, and the cursor of keys is not KEYS', async (t) => {
  const own = await startServer(t)
  const client = openClient(t, { url: own.url })
  await client.bulkLookup('', codes(3000), { strategy: 'script' })
  await client.scanAll('*')
  const stats = await commandStats(own)
  t.is(stats.eval, undefined)
  t.is(stats.keys, undefined)
  t.true(stats.evalsha.calls >= 3)
})

test('partial: once a server does not answer, the rest of the codes does not wait for it', async (t) => {
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, commandTimeoutMs: 300, connectTimeoutMs: 300, circuitBreaker: false, retry: { attempts: 1 } })
  await client.connect()
  proxy.hold()
  const keys = codes(100_000)
  const { results, errors, cacheHits, cacheMisses } = await client.bulkLookup('none:', keys, { partial: true })
  t.deepEqual([results.length, errors.length, cacheHits, cacheMisses], [100_000, 100_000, 0, 0])
  t.true(results.every((value) => value === null))
  t.true(errors.every(({ index, key, applied }, at) => index === at && key === `none:${keys[at]}` && applied === false))
  // Two groups are under way at once; ten would each have asked.
  t.true(new Set(errors.map(({ message }) => message)).size <= 3)
  t.true(proxy.count('MGET') <= 8, `${proxy.count('MGET')} commands`)
})

for (const [count, size] of [[900, 1000], [200, 5000], [12_000, 200]]) {
  test(`what has arrived is counted until JavaScript has it: ${count} values of ${size} bytes`, async (t) => {
    const client = openClient(t, { url: server.url, keyPrefix: `${unique()}:` })
    const keys = codes(count)
    await client.pipelineSet(keys.map((key) => ({ key, data: 'x'.repeat(size) })))
    const call = client.bulkLookup('', keys)
    // So that it is sent: few codes wait for others of their turn.
    await new Promise((resolve) => process.nextTick(resolve))
    const least = Math.min(count, 10_000) * size * 0.6
    // Nothing is handed over meanwhile.
    const deadline = Date.now() + 60_000
    while (client.metrics().bufferedBytes < least && Date.now() < deadline);
    t.true(client.metrics().bufferedBytes >= least)
    t.is((await call).cacheHits, count)
    t.is(client.metrics().bufferedBytes, 0)
  })
}
