// Upstash's REST interface: what goes over the wire, and what HTTP adds to what can go wrong.
import { Redis } from '@upstash/redis'
import test from 'ava'
import { startServer } from '../support/server.js'
import { commonAuthority } from '../support/tls.js'
import { startUpstash } from '../support/upstash.js'
import { codes, openClient, runProgram, timed, until } from '../support/work.js'

let server
test.before(async () => {
  server = await startServer()
})
test.after.always(() => server?.stop())
test.beforeEach(() => server.cli('FLUSHALL'))

const retry = { baseDelayMs: 5, maxDelayMs: 20 }
const retryAfter = (request, response, seconds) => {
  response.writeHead(429, { 'content-type': 'application/json', ...(seconds !== undefined && { 'retry-after': String(seconds) }) })
  response.end(JSON.stringify({ error: 'ERR max requests per second exceeded' }))
  return true
}

test('the bridge speaks the protocol of Upstash’s own client, and the two read each other', async (t) => {
  const bridge = await startUpstash(t, server)
  const theirs = new Redis({ url: bridge.url, token: bridge.token, enableTelemetry: false, automaticDeserialization: false })
  const ours = openClient(t, bridge.options)
  t.is(await theirs.ping(), 'PONG')
  await theirs.set('theirs', 'größe ☃\n')
  await ours.pipelineSet([{ key: 'ours', data: '😀"\\\0' }])
  t.deepEqual(await theirs.mget('ours', 'theirs', 'none'), ['😀"\\\0', 'größe ☃\n', null])
  t.deepEqual((await ours.bulkLookup('', ['ours', 'theirs', 'none'])).results, ['😀"\\\0', 'größe ☃\n', null])
  const piped = await theirs.pipeline().incr('n').incr('n').get('ours').exec()
  t.deepEqual(piped, [1, 2, '😀"\\\0'])
  const [, keys] = await theirs.scan(0)
  t.deepEqual([...keys].sort(), ['n', 'ours', 'theirs'])
  t.deepEqual((await ours.scanAll('*')).sort(), ['n', 'ours', 'theirs'])
  await t.throwsAsync(new Redis({ url: bridge.url, token: 'wrong', enableTelemetry: false, retry: false }).ping(), { message: /WRONGPASS/ })
})

test('a chunk is one request, connections are kept, and values of any bytes come back exactly', async (t) => {
  const bridge = await startUpstash(t, server)
  const client = openClient(t, bridge.options)
  const entries = codes(2500).map((key, index) => ({ key, data: `v${index}`, ttl: 1000 }))
  t.like(await client.pipelineSet(entries), { success: true, written: 2500 })
  const writes = bridge.requests.length
  t.true(writes <= 10, `${writes} requests`)
  for (const { path, headers } of bridge.requests) {
    t.is(path, '/pipeline')
    t.is(headers.authorization, `Bearer ${bridge.token}`)
    t.is(headers['upstash-encoding'], 'base64')
  }
  t.is((await client.bulkLookup('', entries.map(({ key }) => key))).cacheHits, 2500)
  t.true(bridge.connections <= 4, `${bridge.connections} connections`)
  t.regex(bridge.requests.at(-1).headers['upstash-sync-token'], /^token-/)
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
  await server.cli('SET', 'bytes', bytes)
  t.deepEqual((await client.bulkLookup('', ['bytes'], { as: 'buffer' })).results, [bytes])
})

test('data that is not UTF-8 is refused item by item, unsent; the others are written', async (t) => {
  const bridge = await startUpstash(t, server)
  const client = openClient(t, bridge.options)
  for (const ttl of [undefined, 100]) {
    const report = await client.pipelineSet([
      { key: 'a', data: '1', ttl },
      { key: 'b', data: Buffer.from([0xff, 0x00]), ttl },
      { key: 'c', data: Buffer.from('☃'), ttl },
    ])
    t.like(report, { success: false, written: 2, failed: 1 })
    t.like(report.errors[0], { index: 1, key: 'b', code: 'INVALID_DATA', retryable: false, applied: false })
  }
  t.is(await server.cli('GET', 'b'), null)
  t.is(await server.cli('GET', 'c'), '☃')
})

test('a rate limit is waited for as long as it says, within the call’s time', async (t) => {
  const bridge = await startUpstash(t, server)
  const client = openClient(t, { ...bridge.options, retry })
  let refusals = 2
  bridge.onRequest = (request, response) => refusals-- > 0 && retryAfter(request, response, 1)
  const { value, ms } = await timed(client.sendCommand(['INCR', 'n']))
  t.is(value, 1, 'nothing was carried out before')
  t.true(ms >= 1900, `${ms} ms`)
  t.is(bridge.requests.length, 3)

  bridge.onRequest = (request, response) => retryAfter(request, response, 60)
  const limited = await timed(client.bulkLookup('', ['a']))
  t.is(limited.error?.code, 'RATE_LIMITED')
  t.like(limited.error, { name: 'ReplyError', retryable: true, applied: false })
  t.regex(limited.error.message, /max requests per second/)
})

test('5xx: what may be repeated is, what counts is not', async (t) => {
  const bridge = await startUpstash(t, server)
  const client = openClient(t, { ...bridge.options, retry: { ...retry, attempts: 3 } })
  let failures = 2
  bridge.onRequest = (request, response) => failures-- > 0 && (response.writeHead(503).end('<html>busy</html>'), true)
  t.like(await client.pipelineSet([{ key: 'a', data: '1', ttl: 10 }]), { success: true })
  t.is(bridge.requests.length, 3)

  bridge.requests.length = 0
  failures = 1
  const counting = await timed(client.sendCommand(['INCR', 'n']))
  t.like(counting.error, { code: 'CONNECTION_LOST', applied: 'unknown' })
  t.is(bridge.requests.length, 1)

  failures = Infinity
  bridge.requests.length = 0
  const { error } = await timed(client.bulkLookup('', ['a']))
  t.is(error?.code, 'CONNECTION_LOST')
  t.is(bridge.requests.length, 3)
})

test('a token that is refused is AUTH, at once and without the token', async (t) => {
  const bridge = await startUpstash(t, server)
  const client = openClient(t, { upstash: { url: bridge.url, token: 'not-the-token' } })
  for (const call of [() => client.bulkLookup('', ['a']), () => client.pipelineSet([{ key: 'a', data: '1' }]), () => client.connect()]) {
    const { error } = await timed(call())
    t.is(error?.code, 'AUTH')
    t.false(error.retryable)
    t.notRegex(`${error.message} ${error.stack} ${error.cause}`, /not-the-token/)
  }
  t.is(bridge.requests.length, 3)
})

test('a silent server is a TIMEOUT, one that hangs up a CONNECTION_LOST, none a CONNECTION_REFUSED, HTML a PROTOCOL error', async (t) => {
  const bridge = await startUpstash(t, server)
  // Its failures in a row are the test's own; the breaker is not to count them.
  const client = openClient(t, { ...bridge.options, commandTimeoutMs: 4000, retry: { ...retry, attempts: 2 }, circuitBreaker: false })
  bridge.onRequest = () => true
  const silent = await timed(client.sendCommand(['INCR', 'n']))
  t.like(silent.error, { code: 'TIMEOUT', applied: 'unknown' })
  bridge.onRequest = (request) => (request.socket.destroy(), true)
  t.like((await timed(client.sendCommand(['INCR', 'n']))).error, { code: 'CONNECTION_LOST', applied: 'unknown' })
  bridge.onRequest = (request, response) => (response.end('<html>hello</html>'), true)
  t.is((await timed(client.bulkLookup('', ['a']))).error?.code, 'PROTOCOL')
  bridge.onRequest = (request, response) => (response.end('[]'), true)
  t.is((await timed(client.bulkLookup('', ['a']))).error?.code, 'PROTOCOL')
  const nobody = openClient(t, { upstash: { url: 'http://127.0.0.1:1', token: 'x' }, retry: { attempts: 1 } })
  t.is((await timed(nobody.bulkLookup('', ['a']))).error?.code, 'CONNECTION_REFUSED')
  // All is well again without another client.
  bridge.onRequest = null
  bridge.cut()
  t.like(await client.pipelineSet([{ key: 'a', data: '1' }]), { success: true })
})

test('writes arrive in the order in which they were made', async (t) => {
  const bridge = await startUpstash(t, server)
  const client = openClient(t, bridge.options)
  let first = true
  bridge.onRequest = async () => {
    // The first request is slower than all others together.
    if (first) {
      first = false
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    return false
  }
  const writes = Array.from({ length: 10 }, (_, at) => client.pipelineSet([{ key: 'k', data: String(at), ttl: 100 }]))
  const read = client.bulkLookup('', ['k'])
  await Promise.all(writes)
  t.is(await server.cli('GET', 'k'), '9')
  t.deepEqual((await read).results, ['9'])
})

test('waiting for a turn counts: what is late behind a write is a TIMEOUT and was not sent', async (t) => {
  const bridge = await startUpstash(t, server)
  const client = openClient(t, { ...bridge.options, commandTimeoutMs: 60_000, retry: { attempts: 1 }, circuitBreaker: false })
  let release
  const released = new Promise((resolve) => (release = resolve))
  bridge.onRequest = () => released
  let settled = false
  const first = client.pipelineSet([{ key: 'first', data: '1' }])
  first.then(() => (settled = true), () => (settled = true))
  await until(() => bridge.requests.length === 1)
  const late = [
    client.pipelineSet([{ key: 'late', data: '1' }], { timeoutMs: 100 }).catch((error) => error),
    client.bulkLookup('', ['late'], { timeoutMs: 100 }).catch((error) => error),
    client.sendCommand(['INCR', 'late'], { timeoutMs: 100 }).catch((error) => error),
  ]
  for (const error of await Promise.all(late)) t.like(error, { code: 'TIMEOUT', applied: false })
  t.false(settled, 'none has waited for the first')
  release(false)
  t.true((await first).success)
  t.is((await client.bulkLookup('', ['late'])).cacheMisses, 1)
  t.is(bridge.requests.length, 2)
})

test('a rate limit of more seconds than a clock has is a rate limit', async (t) => {
  const bridge = await startUpstash(t, server)
  const client = openClient(t, { ...bridge.options, retry })
  for (const seconds of ['18446744073709551615', '9223372036854775807', '99999999999999999999', 'soon']) {
    let refused = false
    bridge.onRequest = (request, response) => {
      if (refused) return false
      refused = seconds === 'soon' || seconds === '99999999999999999999'
      return retryAfter(request, response, seconds)
    }
    const { error } = await timed(client.bulkLookup('', ['a']))
    t.is(error?.code, refused ? undefined : 'RATE_LIMITED', seconds)
  }
})

test('over HTTPS with environment variables; a certificate from nowhere is refused', async (t) => {
  const ca = await commonAuthority()
  const bridge = await startUpstash(t, server, { tls: await ca.issue({ names: ['localhost'] }) })
  const { writeFileSync } = await import('node:fs')
  const file = `${server.folder}/extra-ca.pem`
  writeFileSync(file, ca.cert)
  const env = { UPSTASH_REDIS_REST_URL: bridge.url, UPSTASH_REDIS_REST_TOKEN: bridge.token }
  const program = `main(async () => { await rb.pipelineSet([{ key: 'e', data: '1' }]); print(await rb.health()); await rb.close() })`
  const run = await runProgram(program, { env: { ...env, NODE_EXTRA_CA_CERTS: file } })
  t.is(run.code, 0, run.stderr)
  t.like(run.json, { mode: 'upstash', status: 'up', state: 'ready' })
  t.is(await server.cli('GET', 'e'), '1')
  const strange = await runProgram(program.replace(`'1'`, `'2'`), { env: { ...env, NODE_EXTRA_CA_CERTS: '' } })
  t.regex(strange.stderr, /code: 'TLS'/)
  t.notRegex(strange.stderr, new RegExp(bridge.token))
  t.is(await server.cli('GET', 'e'), '1')
})
