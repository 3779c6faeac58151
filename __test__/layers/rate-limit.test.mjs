import test from 'ava'
import { createRateLimiter } from '../../index.mjs'
import proxySupport from '../support/proxy.js'
import { clientOf, onAll, startServer, until } from './support.mjs'

const { startProxy } = proxySupport

onAll(test, 'admits points in each window, and tells how things stand', async (t, client) => {
  const limiter = client.createRateLimiter({ keyPrefix: 'rl:', points: 3, duration: 60 })
  t.deepEqual(await limiter.get('a'), { allowed: true, limit: 3, remaining: 3, consumed: 0, resetMs: 0 })
  for (const remaining of [2, 1, 0]) {
    const result = await limiter.consume('a')
    t.like(result, { allowed: true, limit: 3, remaining, consumed: 3 - remaining })
    t.true(result.resetMs > 50_000 && result.resetMs <= 60_000)
  }
  t.like(await limiter.consume('a'), { allowed: false, remaining: 0, consumed: 3 })
  t.like(await limiter.get('a'), { allowed: false, remaining: 0, consumed: 3 })
  t.like(await limiter.consume('b'), { allowed: true, remaining: 2 })
  await limiter.reset('a')
  t.like(await limiter.get('a'), { allowed: true, remaining: 3, consumed: 0 })
})

onAll(test, 'a call is all or nothing', async (t, client) => {
  const limiter = client.createRateLimiter({ keyPrefix: 'rl:', points: 10, duration: 60 })
  t.like(await limiter.consume('a', 11), { allowed: false, remaining: 10, consumed: 0, resetMs: 0 })
  t.like(await limiter.consume('a', 8), { allowed: true, remaining: 2 })
  t.like(await limiter.consume('a', 3), { allowed: false, remaining: 2, consumed: 8 })
  t.like(await limiter.consume('a', 2), { allowed: true, remaining: 0, consumed: 10 })
})

onAll(test, 'a window ends after its duration', async (t, client) => {
  const limiter = client.createRateLimiter({ keyPrefix: 'rl:', points: 1, duration: 3 })
  const start = performance.now()
  t.true((await limiter.consume('a')).allowed)
  t.false((await limiter.consume('a')).allowed)
  await until(async () => (await limiter.get('a')).resetMs === 0)
  t.true(performance.now() - start >= 2995)
  t.like(await limiter.consume('a'), { allowed: true, consumed: 1 })
})

onAll(test, 'blockDuration refuses after the first refusal, and is not drawn out by further calls', async (t, client) => {
  const limiter = client.createRateLimiter({ keyPrefix: 'rl:', points: 5, duration: 3, blockDuration: 4 })
  await limiter.consume('a', 4)
  const start = performance.now()
  const refused = await limiter.consume('a', 2)
  t.like(refused, { allowed: false, remaining: 0, resetMs: 4000 })
  let last = refused.resetMs
  await until(async () => {
    const { allowed, resetMs } = await limiter.consume('a', 1)
    t.true(allowed || resetMs <= last)
    last = resetMs
    return allowed
  })
  // The server counts whole milliseconds.
  t.true(performance.now() - start >= 3999)
  t.like(await limiter.consume('a', 1), { allowed: true, remaining: 3, consumed: 2 })
  t.like(await limiter.consume('b', 6), { allowed: false, remaining: 0 })
  t.false((await limiter.consume('b', 1)).allowed)
  await limiter.reset('b')
  t.true((await limiter.consume('b', 1)).allowed)
})

onAll(test, '200 callers at once: exactly points are admitted', async (t, client) => {
  const limiters = [1, 2].map(() => client.createRateLimiter({ keyPrefix: 'rl:', points: 50, duration: 60 }))
  const results = await Promise.all(Array.from({ length: 200 }, (_, index) => limiters[index % 2].consume('a')))
  t.is(results.filter(({ allowed }) => allowed).length, 50)
})

test('the script is sent once, then its digest; it is sent again after SCRIPT FLUSH; the key has the prefixes and expires', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = clientOf(t, { url: proxy.url, keyPrefix: 'app:' })
  const limiter = client.createRateLimiter({ keyPrefix: 'rl:', points: 10, duration: 60 })
  await limiter.consume('a')
  await limiter.consume('a')
  await limiter.get('a')
  t.deepEqual([proxy.count('EVALSHA'), proxy.count('EVAL')], [2, 1])
  await server.cli('SCRIPT', 'FLUSH')
  t.like(await limiter.consume('a'), { consumed: 3 })
  t.deepEqual([proxy.count('EVALSHA'), proxy.count('EVAL')], [3, 2])
  t.deepEqual(await server.cli('KEYS', '*'), ['app:rl:a'])
  const ttl = await server.cli('PTTL', 'app:rl:a')
  t.true(ttl > 50_000 && ttl <= 60_000)
})

test('an answer that was lost is never asked for again', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = clientOf(t, { url: proxy.url })
  const limiter = client.createRateLimiter({ keyPrefix: 'rl:', points: 10, duration: 60 })
  await limiter.consume('a')
  const sent = proxy.count('EVALSHA') + proxy.count('EVAL')
  proxy.onReply = () => {
    proxy.onReply = null
    proxy.cut()
    return null
  }
  await t.throwsAsync(limiter.consume('a'), { code: 'CONNECTION_LOST' })
  t.is(proxy.count('EVALSHA') + proxy.count('EVAL'), sent + 1)
  t.like(await limiter.get('a'), { consumed: 2 })
})

test('while the server is away the same limit holds in process; afterwards the server counts again', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = clientOf(t, { url: proxy.url, retry: { attempts: 1, baseDelayMs: 5, maxDelayMs: 10 } })
  const limiter = client.createRateLimiter({ keyPrefix: 'rl:', points: 3, duration: 60 })
  t.like(await limiter.consume('a'), { consumed: 1 })
  proxy.refuse()
  proxy.cut()
  await proxy.until(({ open }) => open === 0)
  const away = []
  // A call that is under way while the connection breaks may lose its answer: it counts nowhere twice.
  while (away.length < 5) await limiter.consume('a').then((result) => away.push(result.allowed), (error) => t.is(error.applied, 'unknown'))
  t.deepEqual(away, [true, true, true, false, false])
  t.like(await limiter.get('a'), { allowed: false, remaining: 0, consumed: 3 })
  proxy.accept()
  await until(async () => (await limiter.get('a')).consumed === 1)
  t.like(await limiter.consume('a'), { allowed: true, consumed: 2 })
  await limiter.reset('a')
  t.like(await limiter.get('a'), { consumed: 0 })
})

test('a client that is switched off counts in process; a closed one does not', async (t) => {
  const off = clientOf(t, { url: 'disabled' }).createRateLimiter({ keyPrefix: 'rl:', points: 1, duration: 60 })
  t.deepEqual([(await off.consume('a')).allowed, (await off.consume('a')).allowed], [true, false])
  await off.reset('a')
  t.true((await off.consume('a')).allowed)
  for (const url of ['memory:', 'redis://127.0.0.1:1']) {
    const client = clientOf(t, { url })
    const limiter = client.createRateLimiter({ keyPrefix: 'rl:', points: 1, duration: 60 })
    await client.close()
    await t.throwsAsync(limiter.consume('a'), { code: 'CLOSED' })
  }
})

test('the embedded store is asked for its scripts once', async (t) => {
  const client = clientOf(t, { url: 'memory:' })
  const limiter = client.createRateLimiter({ keyPrefix: 'rl:', points: 5, duration: 60 })
  for (let call = 0; call < 3; call++) await limiter.consume('a')
  t.is(client.metrics().latencyMs.sendCommand.count, 1)
  await client.close()
  await t.throwsAsync(limiter.consume('a'), { code: 'CLOSED' })
})

test('a key that holds something else is an error, not a free pass', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url, keyPrefix: '' })
  await server.cli('SET', 'rl:a', 'text')
  const limiter = client.createRateLimiter({ keyPrefix: 'rl:', points: 1, duration: 60 })
  await t.throwsAsync(limiter.consume('a'), { code: 'WRONGTYPE' })
})

test('wrong arguments', async (t) => {
  const good = { keyPrefix: 'rl:', points: 1, duration: 1 }
  const wrong = [undefined, null, 5, {}]
  const values = {
    keyPrefix: [undefined, 5],
    points: [undefined, 0, 1.5, '1'],
    duration: [undefined, 0, -1, '1', Infinity],
    blockDuration: [0, -1, '1'],
  }
  for (const name of Object.keys(values)) {
    for (const value of values[name]) wrong.push({ ...good, [name]: value })
  }
  for (const options of wrong) t.throws(() => createRateLimiter(options), { code: 'INVALID_ARGUMENT' }, JSON.stringify(options))
  const limiter = clientOf(t, { url: 'memory:' }).createRateLimiter(good)
  for (const args of [[5], ['a', 0], ['a', 1.5], ['a', '1']]) await t.throwsAsync(limiter.consume(...args), { code: 'INVALID_ARGUMENT' })
  await t.throwsAsync(limiter.get(undefined), { code: 'INVALID_ARGUMENT' })
  await t.throwsAsync(limiter.reset(undefined), { code: 'INVALID_ARGUMENT' })
})
