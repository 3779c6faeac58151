// getOrSet and getOrSetMany: one load for all who ask, in this process and in others.
import test from 'ava'
import proxySupport from '../support/proxy.js'
import work from '../support/work.js'
import { clientOf, deferred, onAll, startServer, until } from './support.mjs'

const { startProxy } = proxySupport
const { runProgram } = work

onAll(test, 'getOrSet loads what is missing once, for all who ask meanwhile', async (t, client) => {
  const cache = client.createCache('a', { ttl: 60 })
  const same = client.createCache('a')
  const gate = deferred()
  let loads = 0
  const load = () => {
    loads++
    return gate.promise
  }
  const asked = Array.from({ length: 100 }, (_, index) => (index % 2 ? cache : same).getOrSet('1', load))
  // All have looked before anything is written.
  await until(() => loads > 0 && cache.stats().misses + same.stats().misses === 100)
  gate.resolve({ n: 1 })
  t.deepEqual(new Set((await Promise.all(asked)).map((value) => JSON.stringify(value))), new Set(['{"n":1}']))
  t.is(loads, 1)
  t.deepEqual(await cache.getOrSet('1', load), { n: 1 })
  t.is(loads, 1)
  t.deepEqual(await same.get('1'), { n: 1 })
  t.like(cache.stats(), { misses: 50, hits: 1 })
  await until(async () => (await client.scanAll('cache:a:v1#lock:*')).length === 0)
})

onAll(test, 'undefined is a value, and loaded once', async (t, client) => {
  const cache = client.createCache('a')
  let loads = 0
  const load = async () => void loads++
  t.deepEqual([await cache.getOrSet('1', load), await cache.getOrSet('1', load), await cache.has('1'), loads], [undefined, undefined, true, 1])
})

onAll(test, 'an error of the loader reaches all who wait, and is not remembered', async (t, client) => {
  const cache = client.createCache('a')
  const gate = deferred()
  let loads = 0
  const asked = Array.from({ length: 10 }, () => cache.getOrSet('1', () => (loads++, gate.promise)))
  await until(() => loads > 0 && cache.stats().misses === 10)
  const error = new Error('no such user')
  gate.reject(error)
  for (const { status, reason } of await Promise.allSettled(asked)) {
    t.is(status, 'rejected')
    t.is(reason, error)
  }
  t.is(loads, 1)
  await t.throwsAsync(cache.getOrSet('1', () => { throw new TypeError('at once') }), { message: 'at once' })
  t.is(await cache.getOrSet('1', async () => 'well'), 'well')
})

onAll(test, 'a value without a stored form is given and not stored, with a warning', async (t, client) => {
  const cache = client.createCache('a')
  const warned = new Promise((resolve) => process.once('warning', resolve))
  const value = () => {}
  t.is(await cache.getOrSet('1', async () => value), value)
  t.like(await warned, { code: 'REDIS_BULK_NOT_STORED' })
  t.is(await cache.get('1'), undefined)
})

onAll(test, 'getOrSetMany: one call for all that are missing, shared by those who ask meanwhile', async (t, client) => {
  const cache = client.createCache('a', { ttl: 60 })
  await cache.set('1', 'stored')
  const calls = []
  const gate = deferred()
  const load = async (missing) => {
    calls.push(missing)
    await gate.promise
    return new Map(missing.filter((id) => id !== 'none').map((id) => [id, `loaded ${id}`]))
  }
  const first = cache.getOrSetMany(['3', '1', '2', 'none', '3'], load)
  await until(() => calls.length === 1)
  const second = cache.getOrSetMany(['2', '4'], load)
  await until(() => calls.length === 2)
  const third = cache.getOrSet('3', async () => t.fail('is being loaded'))
  await until(() => cache.stats().misses === 6)
  gate.resolve()
  t.deepEqual([...(await first)], [['3', 'loaded 3'], ['1', 'stored'], ['2', 'loaded 2']])
  t.deepEqual([...(await second)], [['2', 'loaded 2'], ['4', 'loaded 4']])
  t.is(await third, 'loaded 3')
  t.deepEqual(calls, [['3', '2', 'none'], ['4']])
  t.deepEqual(await cache.getMany(['1', '2', '3', '4', 'none']), ['stored', 'loaded 2', 'loaded 3', 'loaded 4', undefined])
  t.deepEqual([...(await cache.getOrSetMany([], load))], [])
  await t.throwsAsync(cache.getOrSetMany(['x'], async () => { throw new Error('broken') }), { message: 'broken' })
  await t.throwsAsync(cache.getOrSetMany(['x'], async () => 5), { code: 'INVALID_ARGUMENT' })
})

onAll(test, 'getOrSet that waits for a load of many which gives nothing for it loads itself', async (t, client) => {
  const cache = client.createCache('a')
  const gate = deferred()
  let called = false
  const many = cache.getOrSetMany(['1'], async () => ((called = true), await gate.promise, new Map()))
  await until(() => called)
  const one = cache.getOrSet('1', async () => 'own')
  gate.resolve()
  t.is((await many).size, 0)
  t.is(await one, 'own')
})

onAll(test, 'what is stale is served while a fresh value is loaded, once', async (t, client) => {
  const cache = client.createCache('a', { ttl: 0.02, staleWhileRevalidate: 600 })
  await cache.getOrSet('1', async () => 'old')
  await until(async () => (await cache.get('1')) === undefined)
  t.false(await cache.has('1'))
  t.is(await cache.size(), 1)
  const gate = deferred()
  let loads = 0
  const load = () => (loads++, gate.promise)
  const asked = Array.from({ length: 20 }, () => cache.getOrSet('1', load, 600))
  t.deepEqual(new Set(await Promise.all(asked)), new Set(['old']))
  await until(() => loads > 0)
  t.is(await cache.getOrSet('1', load, 600), 'old')
  gate.resolve('new')
  await until(async () => (await cache.get('1')) === 'new')
  t.is(loads, 1)
  await cache.set('2', 'old')
  await until(async () => (await cache.get('2')) === undefined)
  const many = (value) => cache.getOrSetMany(['1', '2'], async (ids) => new Map(ids.map((id) => [id, value])), 600)
  t.deepEqual([...(await many('newer'))], [['1', 'new'], ['2', 'old']])
  await until(async () => (await cache.get('2')) === 'newer')
})

onAll(test, 'a refresh that fails leaves the stale value, is counted, and is tried again', async (t, client) => {
  const cache = client.createCache('a', { ttl: 0.01, staleWhileRevalidate: 600 })
  await cache.set('1', 'old')
  await until(async () => (await cache.get('1')) === undefined)
  t.is(await cache.getOrSet('1', async () => { throw new Error('broken') }), 'old')
  await until(() => cache.stats().errors === 1)
  await until(async () => (await cache.getOrSet('1', async () => 'new', 600)) === 'new')
})

test('a lost lock answer and a refused write keep nobody from the value', async (t) => {
  const server = await startServer(t)
  await server.cli('ACL', 'SETUSER', 'reader', 'on', '>pw', '~*', '+@all', '-set')
  const cache = clientOf(t, { url: `redis://reader:pw@127.0.0.1:${server.port}` }).createCache('a', { ttl: 60 })
  t.is(await cache.getOrSet('1', async () => 'loaded'), 'loaded')
  t.true(cache.stats().errors > 0)
  const proxy = await startProxy(t, server)
  const cut = clientOf(t, { url: proxy.url, retry: { attempts: 1, baseDelayMs: 5, maxDelayMs: 10 } }).createCache('a', { ttl: 60 })
  await cut.get('1')
  proxy.onCommand = (command) => {
    if (!/^set$/i.test(command[0])) return command.raw
    proxy.cut()
    return null
  }
  t.is(await cut.getOrSet('1', async () => 'loaded'), 'loaded')
})

test('100 callers in each of three processes: the loader ran once', async (t) => {
  const server = await startServer(t)
  const program = `main(async () => {
    const client = rb.createClient({ url: '${server.url}' })
    const cache = client.createCache('a', { ttl: 600 })
    let loads = 0
    const load = async () => {
      loads++
      await client.sendCommand(['INCR', 'loads'])
      await new Promise((resolve) => setTimeout(resolve, 300))
      return { by: process.pid }
    }
    await client.connect()
    await client.sendCommand(['INCR', 'ready'])
    while (Number((await client.bulkLookup('', ['ready'])).results[0]) < 3) await new Promise((resolve) => setTimeout(resolve, 5))
    const values = await Promise.all(Array.from({ length: 100 }, () => cache.getOrSet('1', load)))
    print([loads, ...new Set(values.map(({ by }) => by))])
    await client.close()
  })`
  const outputs = await Promise.all([1, 2, 3].map(() => runProgram(program)))
  for (const { code, stderr } of outputs) t.is(code, 0, stderr)
  t.is(outputs.reduce((sum, { json }) => sum + json[0], 0), 1)
  t.is(new Set(outputs.flatMap(({ json }) => json.slice(1))).size, 1)
  t.is(await server.cli('GET', 'loads'), '1')
})

test('the process that holds the lock is killed: another loads within the lock’s time', async (t) => {
  const server = await startServer(t)
  const lockMs = 1500
  const program = `main(async () => {
    const cache = rb.createClient({ url: '${server.url}' }).createCache('a', { lockMs: ${lockMs} })
    setInterval(() => {}, 1000)
    await cache.getOrSet('1', () => {
      print('loading')
      return new Promise(() => {})
    })
  })`
  const holder = runProgram(program, { onLine: (line, child) => child.kill('SIGKILL') })
  t.is((await holder).signal, 'SIGKILL')
  const client = clientOf(t, { url: server.url, keyPrefix: '' })
  t.true((await server.cli('PTTL', 'cache:a:v1#lock:1')) <= lockMs)
  t.is(await client.createCache('a', { lockMs }).getOrSet('1', async () => 'taken over'), 'taken over')
  t.is(await server.cli('GET', 'cache:a:v1:1'), '"taken over"')
  await until(async () => (await server.cli('EXISTS', 'cache:a:v1#lock:1')) === 0)
})

onAll(test, 'a load that takes longer than the lock’s time keeps its lock', async (t, client) => {
  // Two thirds of it are left at each renewal, far more than a machine stands still.
  const lockMs = 9000
  const cache = client.createCache('a', { lockMs })
  const gate = deferred()
  const lock = `${client.keyPrefix}cache:a:v1#lock:1`
  const left = () => client.sendCommand(['PTTL', lock])
  const loading = cache.getOrSet('1', () => gate.promise)
  await until(async () => (await left()) > 0)
  const token = await client.sendCommand(['GET', lock])
  for (let renewals = 0, last = await left(); renewals < 2; ) {
    const now = await left()
    t.true(now > 0, 'the lock has ended')
    if (now > last) renewals++
    last = now
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  t.is(await client.sendCommand(['GET', lock]), token)
  gate.resolve('late')
  t.is(await loading, 'late')
  await until(async () => (await client.sendCommand(['EXISTS', lock])) === 0)
})

onAll(test, 'the lock of another is waited for and never released', async (t, client) => {
  const cache = client.createCache('a', { lockMs: 600_000 })
  const lock = `${client.keyPrefix}cache:a:v1#lock:1`
  await client.sendCommand(['SET', lock, 'another’s', 'PX', 600_000])
  const waiting = cache.getOrSet('1', async () => t.fail('another loads'))
  await until(() => cache.stats().misses === 1)
  await client.createCache('a').set('1', 'theirs')
  t.is(await waiting, 'theirs')
  t.is(await client.sendCommand(['GET', lock]), 'another’s')
})

test('a client that closes during a load gives its lock back', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url })
  const gate = deferred()
  const asked = client.createCache('zz').getOrSet('a', () => gate.promise)
  await until(async () => (await server.cli('KEYS', '*#lock:a')).length === 1)
  await client.close()
  t.deepEqual(await server.cli('KEYS', '*'), [])
  gate.resolve(1)
  t.is(await asked, 1)
})

test('a client that closes while it asks for the lock gives it back', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = clientOf(t, { url: proxy.url, commandTimeoutMs: 60_000 })
  proxy.onCommand = (command) => {
    if (command[0] === 'SET') proxy.hold()
    return command.raw
  }
  const asked = client.createCache('zz', { lockMs: 600_000 }).getOrSet('a', async () => 1)
  await until(async () => (await server.cli('KEYS', '*#lock:a')).length === 1)
  const closing = client.close()
  await until(async () => (await server.cli('KEYS', '*#lock:a')).length === 0)
  proxy.release()
  await closing
  t.is(await asked, 1)
  t.deepEqual(await server.cli('KEYS', '*'), [])
})
