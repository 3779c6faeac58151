// The client around the operations: commands of one's own, health, metrics, opening and closing, names on the server.
import { Worker } from 'node:worker_threads'
import test from 'ava'
import rb from '../../index.js'
import { currentEngine, startServer } from '../support/server.js'
import { handshake, startPeer } from '../support/peer.js'
import { startProxy } from '../support/proxy.js'
import { codes, openClient, runProgram, timed, unique, until } from '../support/work.js'

let server
test.before(async () => {
  server = await startServer()
})
test.after.always(() => server?.stop())

const open = (t, options) => openClient(t, { url: server.url, keyPrefix: `${unique()}:`, ...options })

test('keyPrefix stands before every key of the four operations, and not in results', async (t) => {
  const keyPrefix = `${unique('prä😀fix')}:`
  const client = open(t, { keyPrefix })
  await client.pipelineSet([{ key: 'a:1', data: '1' }, { key: 'a:2', data: '2', ttl: 50 }])
  t.deepEqual((await server.cli('KEYS', `${keyPrefix}*`)).sort(), [`${keyPrefix}a:1`, `${keyPrefix}a:2`])
  t.deepEqual((await client.bulkLookup('a:', ['1', '2'])).results, ['1', '2'])
  t.deepEqual((await client.bulkLookup('a:', ['1', '2'], { strategy: 'script' })).results, ['1', '2'])
  t.deepEqual((await client.scanAll('a:*')).sort(), ['a:1', 'a:2'])
  t.is(await client.sendCommand(['GET', 'a:1']), null, 'sendCommand sends its arguments as they are')
  t.is(await client.sendCommand(['GET', `${keyPrefix}a:1`]), '1')
  t.is(await client.batchDelete(['a:1', 'a:2']), 2)
  const failing = await client.bulkLookup('a:', ['1'], { as: 'json' })
  t.is(failing.cacheMisses, 1)
})

test('sendCommand: arguments as they are; replies as strings, numbers, arrays and null', async (t) => {
  const client = open(t)
  const key = unique()
  t.is(await client.sendCommand(['SET', key, 'ünï\0☃']), 'OK')
  t.is(await client.sendCommand(['get', key]), 'ünï\0☃')
  t.is(await client.sendCommand(['GET', 'none']), null)
  t.is(await client.sendCommand(['STRLEN', Buffer.from(key)]), 9)
  t.is(await client.sendCommand(['SET', key, 12.5]), 'OK')
  t.is(await client.sendCommand(['INCRBY', `${key}n`, 5]), 5)
  t.is(await client.sendCommand(['INCRBY', `${key}n`, -7]), -2)
  t.is(await client.sendCommand(['PING', '']), '')
  t.deepEqual(await client.sendCommand(['MGET', key, 'none']), ['12.5', null])
  t.deepEqual(await client.sendCommand(['EVAL', 'return {1, {"a", false, {}}, "b"}', 0]), [1, ['a', null, []], 'b'])
  t.deepEqual(await client.sendCommand(['LRANGE', 'none', 0, -1]), [])
  t.is(await client.sendCommand(['SET', new Uint8Array([1, 2]), Buffer.from([255])]), 'OK')
  t.deepEqual(await server.cliBuffer('GET', Buffer.from([1, 2])), Buffer.from([255]))
  const error = await t.throwsAsync(client.sendCommand(['NOSUCH', 'x']), { instanceOf: rb.ReplyError, code: 'ERR' })
  t.like(error, { applied: false, retryable: false })
  await t.throwsAsync(client.sendCommand(['LPUSH', key, 'x']), { instanceOf: rb.ReplyError, code: 'WRONGTYPE' })
  for (const args of [['SUBSCRIBE', 'c'], ['MULTI'], ['SELECT', 1], ['BLPOP', 'a', 0], ['MONITOR'], ['client', 'reply', 'off'], ['AUTH', 'x'], ['QUIT'], ['WATCH', 'a'], ['XREAD', 'BLOCK', 0, 'STREAMS', 's', '$'], ['HELLO', 3]]) {
    const refused = await t.throwsAsync(client.sendCommand(args), undefined, args.join(' '))
    t.is(refused.code, 'INVALID_ARGUMENT', args.join(' '))
  }
  t.is(await client.sendCommand(['PING']), 'PONG')
})

for (const args of [['WAIT', '1', '0'], ['CLIENT', 'TRACKING', 'ON'], ['PSYNC', '?', '-1'], ['CLIENT', 'KILL', 'ID', 'self'], ['DEBUG', 'SLEEP', '0']]) {
  test(`sendCommand ${args.join(' ')} leaves the connection usable or is refused`, async (t) => {
    const client = open(t, { commandTimeoutMs: 3000, clientName: unique() })
    const id = await client.sendCommand(['CLIENT', 'ID'])
    await timed(client.sendCommand(args.map((arg) => (arg === 'self' ? id : arg))))
    t.is(await until(async () => (await timed(client.sendCommand(['PING']))).value), 'PONG')
    t.deepEqual((await client.bulkLookup('', ['a'])).results, [null])
  })
}

test('health', async (t) => {
  const own = await startServer(t)
  const client = openClient(t, { url: own.url })
  const health = await client.health()
  const version = await own.info('server', currentEngine === 'valkey' ? 'valkey_version' : 'redis_version')
  t.deepEqual({ ...health, latencyMs: 0 }, { status: 'up', mode: 'standalone', state: 'ready', latencyMs: 0, server: { version, flavour: currentEngine }, nodes: [{ address: `127.0.0.1:${own.port}`, role: 'primary', up: true }], breaker: 'closed', servedFrom: 'redis' })
  t.true(health.latencyMs >= 0 && health.latencyMs < 5000)
  await own.kill()
  const down = await client.health()
  t.like(down, { status: 'down', latencyMs: null, server: null, nodes: [{ up: false }] })
  t.not(down.state, 'ready')
  await client.close()
  t.is((await client.health()).state, 'closed')
  const memory = openClient(t, { url: 'memory:', clientName: unique() })
  t.like(await memory.health(), { status: 'up', mode: 'memory', state: 'ready', servedFrom: 'memory', nodes: [] })
  t.like(await openClient(t, { url: 'disabled' }).health(), { status: 'disabled', latencyMs: null, server: null })
})

test('metrics count what callers did', async (t) => {
  const own = await startServer(t)
  const client = openClient(t, { url: own.url })
  t.like(client.metrics(), { commands: 0, items: 0, hits: 0, misses: 0, hitRatio: null, errors: {}, retries: 0, reconnects: 0 })
  await client.pipelineSet(codes(100).map((key) => ({ key, data: '1' })))
  await Promise.all(codes(10).map((code) => client.bulkLookup('', [code, 'none'])))
  await client.bulkLookup('', codes(50_000), { as: 'buffer' })
  await client.scanAll('*')
  await client.batchDelete(codes(5))
  await client.sendCommand(['PING'])
  await t.throwsAsync(client.sendCommand(['NOSUCH']))
  // A call is counted off just after its promise has settled.
  await until(() => client.metrics().inFlight === 0)
  const metrics = client.metrics()
  t.deepEqual([metrics.hits, metrics.misses, metrics.items], [10 + 100, 10 + 49_900, 100 + 20 + 50_000 + 5])
  t.is(metrics.hitRatio, 110 / 50_020)
  t.deepEqual(metrics.errors, { ERR: 1 })
  t.true(metrics.bytesSent > 50_000 && metrics.bytesReceived > 50_000)
  t.is(metrics.inFlight, 0)
  const counts = Object.fromEntries(Object.entries(metrics.latencyMs).map(([name, { count }]) => [name, count]))
  t.deepEqual(counts, { pipelineSet: 1, bulkLookup: 11, scanAll: 1, batchDelete: 1, sendCommand: 2 }, 'calls by operation')
  t.is(metrics.commands, 16)
  for (const { p50, p95, p99, max } of Object.values(metrics.latencyMs)) t.true(p50 > 0 && p50 <= p95 && p95 <= p99 && p99 <= max * 1.2)
})

test('metrics: a call that is pending is in flight', async (t) => {
  let answer
  const peer = await startPeer(t, (command, reply) => {
    if (!handshake(command, reply)) answer = () => reply('late')
  })
  const client = openClient(t, { url: peer.url, commandTimeoutMs: 60_000 })
  const call = client.sendCommand(['GET', 'a'])
  await peer.until((p) => p.count('GET') === 1)
  t.is(client.metrics().inFlight, 1)
  answer()
  t.is(await call, 'late')
  await until(() => client.metrics().inFlight === 0)
})

test('disabled: every call rejects with DISABLED and opens nothing', async (t) => {
  const client = openClient(t, { url: 'disabled', clientName: unique() })
  for (const call of [() => client.bulkLookup('', ['a']), () => client.bulkLookup('', ['a'], {}), () => client.pipelineSet([{ key: 'a', data: '1' }]), () => client.scanAll('*'), () => client.batchDelete(['a']), () => client.sendCommand(['PING']), () => client.connect()]) {
    const error = await t.throwsAsync(call(), { instanceOf: rb.ConnectionError, code: 'DISABLED' })
    t.like(error, { retryable: false, applied: false })
  }
  await client.close()
})

test('clients of one configuration share a connection, also from worker threads; others have their own', async (t) => {
  const own = await startServer(t)
  const options = { url: own.url }
  const clients = codes(5).map(() => openClient(t, options))
  await Promise.all(clients.map((client) => client.bulkLookup('', codes(10))))
  const workers = codes(3).map(
    () =>
      new Promise((resolve, reject) => {
        const source = `const { parentPort, workerData } = require('node:worker_threads')
          const rb = require(workerData.entry)
          const client = rb.createClient(workerData.options)
          const codes = Array.from({ length: 3000 }, (_, i) => 'w' + i)
          client.pipelineSet(codes.map((key) => ({ key, data: key }))).then(() => client.bulkLookup('', codes)).then(({ cacheHits }) => parentPort.postMessage(cacheHits))
          parentPort.once('message', () => process.exit())`
        const worker = new Worker(source, { eval: true, workerData: { entry: new URL('../../index.js', import.meta.url).pathname, options } })
        worker.once('error', reject)
        worker.once('message', (hits) => resolve({ worker, hits }))
      }),
  )
  const up = await Promise.all(workers)
  t.deepEqual(up.map(({ hits }) => hits), [3000, 3000, 3000])
  t.is((await own.clients()).length, 1)
  const other = openClient(t, { ...options, db: 1 })
  await other.bulkLookup('', ['a'])
  t.is((await own.clients()).length, 2)
  await Promise.all(up.map(({ worker }) => new Promise((resolve) => worker.once('exit', resolve).postMessage('end'))))
  t.deepEqual((await clients[0].bulkLookup('', ['w1'])).results, ['w1'])
  t.is((await own.clients()).length, 2)
})

test('login, database and client name are on the server, and again after a loss', async (t) => {
  const own = await startServer(t)
  await own.cli('ACL', 'SETUSER', 'ünï', 'on', '>päss:w@rd/#?', '~*', '+@all')
  const client = openClient(t, { host: '127.0.0.1', port: own.port, username: 'ünï', password: 'päss:w@rd/#?', db: 3, clientName: 'my-app' })
  const seen = async () => {
    const info = await client.sendCommand(['CLIENT', 'INFO'])
    return { name: /(?:^| )name=(\S*)/.exec(info)[1], db: /(?:^| )db=(\S*)/.exec(info)[1], user: await client.sendCommand(['ACL', 'WHOAMI']) }
  }
  t.deepEqual(await seen(), { name: 'my-app', db: '3', user: 'ünï' })
  const id = await client.sendCommand(['CLIENT', 'ID'])
  await own.cli('CLIENT', 'KILL', 'ID', String(id))
  const after = await until(() => seen().catch(() => undefined))
  t.deepEqual(after, { name: 'my-app', db: '3', user: 'ünï' })
  t.not(await client.sendCommand(['CLIENT', 'ID']), id)
  t.true(client.metrics().reconnects >= 1)
  const url = `redis://${encodeURIComponent('ünï')}:${encodeURIComponent('päss:w@rd/#?')}@127.0.0.1:${own.port}/5`
  t.is(/(?:^| )db=(\S*)/.exec(await openClient(t, { url }).sendCommand(['CLIENT', 'INFO']))[1], '5')
})

test('a unix socket', async (t) => {
  const own = await startServer(t, { password: 'pw' })
  for (const url of [`redis+unix://${own.socketPath}?pass=pw&db=2`, `unix://${own.socketPath}?pass=pw&db=2`]) {
    const client = openClient(t, { url })
    t.like(await client.pipelineSet(codes(2000).map((key) => ({ key, data: key }))), { success: true })
    t.is((await client.bulkLookup('', codes(2000))).cacheHits, 2000)
    t.is(await client.batchDelete(codes(2000)), 2000)
    t.is((await client.health()).status, 'up')
  }
  const missing = openClient(t, { url: 'redis+unix:///no/such/socket', retry: { attempts: 1 } })
  await t.throwsAsync(missing.bulkLookup('', ['a']), { code: 'CONNECTION_REFUSED' })
})

test('nothing connects before the first command; connect() does', async (t) => {
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url })
  client.metrics()
  await client.bulkLookup('', [])
  t.is(proxy.connections, 0)
  await Promise.all([client.connect(), client.connect()])
  await client.connect()
  t.is(proxy.connections, 1)
  await client.close()
  await proxy.until((p) => p.open === 0)
  await client.connect()
  t.is(proxy.connections, 2)
})

test('Symbol.asyncDispose closes', async (t) => {
  const client = rb.createClient({ url: server.url, clientName: unique() })
  await client.bulkLookup('', ['a'])
  await client[Symbol.asyncDispose]()
  await t.throwsAsync(client.bulkLookup('', ['a']), { code: 'CLOSED' })
})

test('configure: before the first command or after close(), else ALREADY_CONNECTED', async (t) => {
  const { code, stderr, json } = await runProgram(
    `main(async () => {
      const out = []
      const attempt = (label, body) => { try { body(); out.push(label + ' ok') } catch (error) { out.push(label + ' ' + error.constructor.name + ' ' + error.code) } }
      attempt('first', () => rb.configure({ url: process.env.URL, keyPrefix: 'one:' }))
      attempt('second', () => rb.configure({ url: process.env.URL, keyPrefix: 'two:' }))
      await rb.pipelineSet([{ key: 'a', data: 'of two' }])
      attempt('after a command', () => rb.configure({ url: process.env.URL }))
      out.push((await rb.bulkLookup('', ['a'])).results[0])
      await rb.close()
      out.push(await rb.bulkLookup('', ['a']).catch((error) => error.code))
      attempt('after close', () => rb.configure({ url: process.env.URL, keyPrefix: 'three:' }))
      out.push((await rb.bulkLookup('', ['a'])).results[0])
      await rb.close()
      await rb.connect()
      attempt('after connect', () => rb.configure({}))
      out.push((await rb.health()).status, typeof rb.metrics().commands)
      await rb.close()
      attempt('wrong', () => rb.configure({ port: 'x' }))
      await rb.connect()
      out.push((await rb.bulkLookup('', ['a'])).cacheMisses)
      print(out)
    })`,
    { env: { URL: server.url } },
  )
  t.deepEqual([code, stderr], [0, ''])
  t.deepEqual(json, ['first ok', 'second ok', 'after a command ConfigError ALREADY_CONNECTED', 'of two', 'CLOSED', 'after close ok', null, 'after connect ConfigError ALREADY_CONNECTED', 'up', 'number', 'wrong ConfigError INVALID_CONFIG', 1])
})
