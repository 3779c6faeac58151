// The embedded store in the place of a server that is away: what callers get, and when.
import test from 'ava'
import rb from '../../index.js'
import { startServer } from '../support/server.js'
import { handshake, startPeer } from '../support/peer.js'
import { startProxy } from '../support/proxy.js'
import { codes, openClient, timed, unique, until } from '../support/work.js'

/** Nobody listens there, nor begins to. */
const nowhere = { host: '127.0.0.1', port: 1 }

/** The states that a client goes through from now on. */
function statesOf(client) {
  const changes = []
  client.on('state', (change) => changes.push(change))
  return changes
}

const inFallback = (client) => until(async () => (await client.health()).state === 'fallback')
const isBack = (client) => until(async () => (await client.health()).servedFrom === 'redis')

test('a server that was never there: everything is answered as by the embedded store', async (t) => {
  const client = openClient(t, { ...nowhere, fallback: true, clientName: unique(), keyPrefix: 'p:' })
  const changes = statesOf(client)
  const entries = codes(3000).map((key, index) => ({ key, data: { index }, ttl: index % 2 ? 100 : undefined }))
  t.like(await client.pipelineSet(entries), { success: true, written: 3000, failed: 0 })
  const { results, cacheHits } = await client.bulkLookup('', [...codes(3000), 'missing'], { as: 'json' })
  t.deepEqual(results, [...entries.map(({ data }) => data), null])
  t.is(cacheHits, 3000)
  t.deepEqual((await client.bulkLookup('', ['c7'], { strategy: 'script' })).results, ['{"index":7}'])
  t.deepEqual((await client.scanAll('c29??')).sort(), codes(3000).slice(2900))
  const found = []
  for await (const batch of client.scanIterator('c1*', { count: 100 })) found.push(...batch)
  t.is(new Set(found).size, 1111)
  t.is(await client.batchDelete(['c0', 'c1', 'missing']), 2)
  const nx = await client.pipelineSet([{ key: 'c0', data: 'new' }, { key: 'c2', data: 'new' }], { condition: 'nx' })
  t.like(nx, { written: 1, failed: 1 })
  t.like(nx.errors[0], { key: 'c2', code: 'NOT_SET' })
  t.is(await client.sendCommand(['INCRBY', 'n', 5]), 5)
  const left = await client.sendCommand(['TTL', 'p:c3'])
  t.true(left > 0 && left <= 100, `${left} s`)
  const unknown = await timed(client.sendCommand(['LPUSH', 'l', '1']))
  t.like(unknown.error, { code: 'ERR', applied: false })
  t.true(unknown.error instanceof rb.ReplyError)
  await client.connect()
  t.like(await client.health(), {
    status: 'degraded',
    mode: 'standalone',
    state: 'fallback',
    latencyMs: null,
    server: null,
    breaker: 'closed',
    servedFrom: 'memory',
  })
  t.deepEqual((await client.health()).nodes.map(({ up }) => up), [false])
  await until(() => changes.at(-1).to === 'fallback')
  t.is(changes.filter(({ to }) => to === 'fallback').length, 1)
  t.regex(changes.at(-1).reason, /could not connect to 127\.0\.0\.1/)
  t.true(client.metrics().hits >= 3000)
  t.deepEqual(client.metrics().errors.CONNECTION_REFUSED, undefined)
})

test('connect() comes back without a server, and the first call waits for one attempt at most', async (t) => {
  const silent = await startPeer(t, () => {})
  const client = openClient(t, { url: silent.url, fallback: true, connectTimeoutMs: 300 })
  const first = await timed(client.bulkLookup('', ['a']))
  t.deepEqual(first.value.results, [null])
  t.true(first.ms > 250 && first.ms < 10_000, `${first.ms} ms`)
  const seen = silent.connections
  for (let call = 0; call < 50; call++) await client.bulkLookup('', ['a'])
  t.true(silent.connections < seen + 25, 'calls make no connections')
  const connecting = openClient(t, { ...nowhere, fallback: true, clientName: unique() })
  await connecting.connect()
  t.is((await connecting.health()).state, 'fallback')
})

test('a call with less time than the connection takes is answered within its time', async (t) => {
  const silent = await startPeer(t, () => {})
  const client = openClient(t, { url: silent.url, fallback: true, connectTimeoutMs: 60_000 })
  const { value, ms } = await timed(client.bulkLookup('', codes(1000), { timeoutMs: 300 }))
  t.is(value?.cacheMisses, 1000)
  t.true(ms < 20_000, `${ms} ms`)
  t.like(await client.health(), { state: 'fallback', status: 'degraded' })
})

test('states and health from ready to fallback and back', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, fallback: true, retry: { baseDelayMs: 5 } })
  const changes = statesOf(client)
  await client.connect()
  t.like(await client.health(), { status: 'up', state: 'ready', servedFrom: 'redis' })
  proxy.refuse()
  proxy.cut()
  t.deepEqual((await client.bulkLookup('', ['a'])).results, [null])
  const away = await client.health()
  t.like(away, { status: 'degraded', state: 'fallback', servedFrom: 'memory', latencyMs: null, server: null })
  proxy.accept()
  await isBack(client)
  const back = await client.health()
  t.like(back, { status: 'up', state: 'ready', servedFrom: 'redis', breaker: 'closed' })
  t.true(back.latencyMs > 0 && back.server.version.length > 0)
  await until(() => changes.at(-1).to === 'ready')
  const order = changes.map(({ to }) => to)
  t.deepEqual(order.filter((to, index) => to !== order[index - 1]), order, 'each change is one')
  t.deepEqual([order[0], order[1], ...order.slice(-2)], ['connecting', 'ready', 'fallback', 'ready'])
  t.is(order.filter((to) => to === 'fallback').length, 1)
  for (const { from, to, at } of changes) t.true(from !== to && Math.abs(at - Date.now()) < 600_000)
  t.true(changes.find(({ to }) => to === 'fallback').reason.length > 0)
  t.is(client.metrics().reconnects, 1)
})

test('a server that stands still is away after commandTimeoutMs', async (t) => {
  const server = await startServer(t)
  const client = openClient(t, { url: server.url, fallback: true, clientName: unique(), commandTimeoutMs: 2000, connectTimeoutMs: 2000 })
  await client.pipelineSet([{ key: 'a', data: 'old' }, { key: 'b', data: 'old' }])
  server.pause()
  const outcomes = await Promise.all([
    timed(client.bulkLookup('', ['a'])),
    timed(client.bulkLookup('', codes(2000))),
    timed(client.pipelineSet([{ key: 'a', data: 'new', ttl: 500 }])),
    timed(client.batchDelete(['b'])),
    timed(client.scanAll('*')),
  ])
  for (const { error, ms } of outcomes) {
    t.is(error, undefined)
    t.true(ms < 30_000)
  }
  t.is((await client.health()).servedFrom, 'memory')
  t.deepEqual((await client.bulkLookup('', ['a', 'b'])).results, ['new', null])
  server.resume()
  await isBack(client)
  t.deepEqual(await server.cli('MGET', 'a', 'b'), ['new', null])
})

test('what is no outage is no reason: a wrong password, a refusal, a caller without patience', async (t) => {
  const server = await startServer(t, { password: 'right' })
  const wrong = openClient(t, { host: server.host, port: server.port, password: 'wrong', fallback: true })
  for (const call of [() => wrong.bulkLookup('', ['a']), () => wrong.connect(), () => wrong.pipelineSet([{ key: 'a', data: '1' }])]) {
    t.is((await timed(call())).error?.code, 'AUTH')
  }
  t.like(await wrong.health(), { status: 'down', servedFrom: 'redis' })
  const client = openClient(t, { url: server.url, fallback: true, clientName: unique() })
  t.is((await timed(client.sendCommand(['NONSENSE']))).error?.code, 'ERR')
  await client.sendCommand(['LPUSH', 'list', '1'])
  t.is((await timed(client.sendCommand(['GET', 'list']))).error?.code, 'WRONGTYPE')
  server.pause()
  t.is((await timed(client.bulkLookup('', ['a'], { timeoutMs: 50 }))).error?.code, 'TIMEOUT')
  server.resume()
  t.deepEqual((await client.bulkLookup('', ['a'])).results, [null])
  t.like(await client.health(), { status: 'up', servedFrom: 'redis' })
})

test('what counts or has a condition is not done again by the memory when its answer was lost', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, fallback: true, retry: { baseDelayMs: 5 } })
  await client.connect()
  proxy.onReply = (reply) => {
    if (reply.index < 2 || !['1', 'OK', 1].includes(reply.value)) return reply.raw
    proxy.refuse()
    proxy.cut()
    return null
  }
  const incr = await timed(client.sendCommand(['INCR', 'n']))
  t.like(incr.error, { code: 'CONNECTION_LOST', applied: 'unknown' })
  proxy.onReply = null
  proxy.accept()
  t.is(await until(async () => (await timed(client.sendCommand(['GET', 'n']))).value), '1')
  await isBack(client)
  t.is(await server.cli('GET', 'n'), '1')
})

test('the open breaker is a reason; the server that is back closes it', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, fallback: true, retry: { attempts: 1 }, circuitBreaker: { failures: 1, openMs: 600_000 } })
  await client.connect()
  proxy.refuse()
  proxy.cut()
  await client.bulkLookup('', ['a'])
  await inFallback(client)
  t.is((await client.health()).breaker, 'open')
  proxy.accept()
  await isBack(client)
  t.like(await client.health(), { breaker: 'closed', status: 'up' })
})

test('close() during an outage; what is to be done on the server is kept for connect()', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, fallback: true, retry: { baseDelayMs: 5 } })
  const changes = statesOf(client)
  await server.cli('SET', 'gone', '1')
  await client.connect()
  proxy.refuse()
  proxy.cut()
  t.is(await client.batchDelete(['gone']), 0)
  await client.pipelineSet([{ key: 'kept', data: '1' }])
  await client.close()
  t.is((await timed(client.bulkLookup('', ['kept']))).error.code, 'CLOSED')
  t.is((await client.health()).state, 'closed')
  await until(() => changes.at(-1).to === 'closed')
  await client.close()
  await client.connect()
  t.is((await client.health()).state, 'fallback')
  t.deepEqual((await client.bulkLookup('', ['kept', 'gone'])).results, ['1', null])
  proxy.accept()
  await isBack(client)
  t.deepEqual(await server.cli('MGET', 'kept', 'gone'), ['1', null])
})

test('the memory is bounded: what is evicted is a miss, and gone from the server afterwards', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, fallback: { maxEntries: 100 }, retry: { baseDelayMs: 5 } })
  await server.cli('MSET', ...codes(300).flatMap((key) => [key, 'old']))
  await client.connect()
  proxy.refuse()
  proxy.cut()
  t.like(await client.pipelineSet(codes(200).map((key) => ({ key, data: 'new' }))), { written: 200 })
  t.is((await client.bulkLookup('', codes(300))).cacheHits, 100)
  proxy.accept()
  await isBack(client)
  const there = await server.cli('MGET', ...codes(300))
  t.deepEqual(there, codes(300).map((_, index) => (index < 100 ? null : index < 200 ? 'new' : 'old')))
})

test('a rate limiter counts in process while the memory answers', async (t) => {
  const client = openClient(t, { ...nowhere, fallback: true, clientName: unique() })
  const limiter = client.createRateLimiter({ keyPrefix: 'rl:', points: 2, duration: 60 })
  const results = []
  for (let call = 0; call < 3; call++) results.push((await limiter.consume('ip')).allowed)
  t.deepEqual(results, [true, true, false])
})

test('a scan that began in the memory begins anew on the server, and misses nothing', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, fallback: true, retry: { baseDelayMs: 5 } })
  await server.cli('MSET', ...codes(5000, 'old').flatMap((key) => [key, '1']))
  await client.connect()
  proxy.refuse()
  proxy.cut()
  await client.pipelineSet(codes(2000, 'new').map((key) => ({ key, data: '1' })))
  const found = new Set()
  let pages = 0
  for await (const keys of client.scanIterator('*', { count: 100 })) {
    for (const key of keys) found.add(key)
    if (++pages === 3) {
      t.false(found.has('old0'))
      proxy.accept()
      await isBack(client)
    }
  }
  t.is(found.size, 7000)
})

test('a scan that began on the server goes on in the memory without an error', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, fallback: true, retry: { baseDelayMs: 5 } })
  await server.cli('MSET', ...codes(20_000, 'old').flatMap((key) => [key, '1']))
  await client.connect()
  let replies = 0
  proxy.onReply = (reply) => {
    if (Array.isArray(reply.value) && ++replies === 3) {
      proxy.refuse()
      proxy.cut()
      return null
    }
    return reply.raw
  }
  const keys = await client.scanAll('*', 100)
  t.is(new Set(keys).size, keys.length)
  t.true(keys.length >= 100 && keys.length < 20_000, `${keys.length} keys`)
  t.is((await client.health()).servedFrom, 'memory')
})

test('a peer that takes connections and answers nothing is not stormed', async (t) => {
  const peer = await startPeer(t, (command, reply, socket) => {
    if (command[0] === 'PING' || !handshake(command, reply)) socket.destroy()
  })
  const client = openClient(t, { url: peer.url, fallback: true, retry: { baseDelayMs: 100, attempts: 1 } })
  t.deepEqual((await client.bulkLookup('', ['a'])).results, [null])
  const start = performance.now()
  await peer.until((p) => p.connections >= 8, 60_000)
  t.true(performance.now() - start > 500, 'attempts are further and further apart')
  t.is((await client.health()).state, 'fallback')
})

test('what a pattern finds on a server that is away cannot be deleted, and does not seem to be gone', async (t) => {
  const server = await startServer(t)
  const client = openClient(t, { url: server.url, fallback: true, clientName: unique(), retry: { baseDelayMs: 10 } })
  const cache = client.createCache('u', { ttl: 500 })
  await cache.set('42', 'OLD')
  await client.cacheSet('page:1', 'OLD', 500)
  await client.pipelineSet([{ key: 'tmp:1', data: 'OLD' }])
  await server.kill()
  await client.bulkLookup('', ['z'])
  await inFallback(client)
  for (const call of [() => cache.clear(), () => client.cacheDelPrefix('page:'), () => client.deleteByPattern('tmp:*')]) {
    const { error } = await timed(call())
    t.true(error instanceof rb.ConnectionError)
    t.like(error, { code: 'CONNECTION_LOST', retryable: true, applied: false })
  }
  t.is(await client.batchDelete(['tmp:1']), 0)
})

test('getOrSet of a cache waits for no lock while the server is away, and leaves none behind', async (t) => {
  const never = openClient(t, { ...nowhere, fallback: true, clientName: unique() })
  const server = await startServer(t)
  const lost = openClient(t, { url: server.url, fallback: true, clientName: unique(), retry: { baseDelayMs: 10 } })
  await lost.connect()
  await server.kill()
  await lost.bulkLookup('', ['z'])
  await inFallback(lost)
  for (const client of [never, lost]) {
    // A lock that stays is waited for all of its time.
    const cache = client.createCache('short', { lockMs: 3_600_000 })
    for (let load = 0; load < 3; load++) {
      t.is(await cache.getOrSet('a', async () => load), load)
      await cache.delete('a')
    }
    t.deepEqual(await client.scanAll('*lock*'), [])
    t.is(await client.createCache('used', { maxEntries: 5 }).usage('none'), undefined)
  }
})
