import test from 'ava'
import { createCache } from '../../index.mjs'
import proxySupport from '../support/proxy.js'
import { clientOf, collect, onAll, startServer, until } from './support.mjs'

const { startProxy } = proxySupport
const pttl = (client, key) => client.sendCommand(['PTTL', client.keyPrefix + key])

onAll(test, 'set, get, has, delete; keys as documented', async (t, client) => {
  const users = client.createCache('users')
  t.is(users.name, 'users')
  t.is(await users.get('42'), undefined)
  t.false(await users.has('42'))
  t.is(await users.set('42', { name: 'Ada' }), undefined)
  t.deepEqual(await users.get('42'), { name: 'Ada' })
  t.true(await users.has('42'))
  t.deepEqual(await client.scanAll('cache:users:v1:*'), ['cache:users:v1:42'])
  t.is(await client.cacheGet('cache:users:v1:42'), '{"name":"Ada"}')
  t.true(await users.delete('42'))
  t.false(await users.delete('42'))
  t.is(await users.get('42'), undefined)
  t.deepEqual(users.stats(), { hits: 1, misses: 2, sets: 1, deletes: 1, evictions: 0, errors: 0, hitRatio: 1 / 3 })
  t.is(client.createCache('users').stats().hitRatio, null)
})

onAll(test, 'times to live: of the cache, of one entry, none', async (t, client) => {
  const cache = client.createCache('a', { ttl: 60 })
  await cache.set('1', 'x')
  await cache.set('2', 'x', 600)
  await client.createCache('a').set('3', 'x')
  t.true((await pttl(client, 'cache:a:v1:1')) <= 60_000)
  t.true((await pttl(client, 'cache:a:v1:2')) > 60_000)
  t.is(await pttl(client, 'cache:a:v1:3'), -1)
  await cache.set('4', 'x', 0.01)
  await until(async () => (await cache.get('4')) === undefined)
  await until(async () => (await cache.size()) === 3)
  t.is(await cache.size(), 3)
})

onAll(test, 'many at once, in the order of the ids', async (t, client, server) => {
  const proxy = server && (await startProxy(t, server))
  const cache = (proxy ? clientOf(t, { url: proxy.url }) : client).createCache('a')
  const ids = Array.from({ length: 3000 }, (_, index) => `${index}`)
  t.like(await cache.setMany(ids.map((id) => ({ id, value: { id } }))), { success: true, written: 3000, failed: 0, errors: [] })
  const asked = ['none', ...ids, '5']
  const before = proxy?.commands.length
  t.deepEqual(await cache.getMany(asked), [undefined, ...ids.map((id) => ({ id })), { id: '5' }])
  if (proxy) t.deepEqual(new Set(proxy.commands.slice(before).map(([name]) => name)), new Set(['MGET']))
  t.is(await cache.size(), 3000)
  t.is(await cache.deleteMany(['none', ...ids.slice(0, 1000)]), 1000)
  t.is(await cache.size(), 2000)
  t.deepEqual((await collect(cache.keys())).sort(), ids.slice(1000).sort())
  t.is(await cache.clear(), 2000)
  t.is(await cache.size(), 0)
  t.deepEqual([await cache.getMany([]), await cache.deleteMany([]), await cache.clear()], [[], 0, 0])
  t.like(await cache.setMany([]), { success: true, written: 0 })
})

onAll(test, 'setMany tells of each entry that was not written', async (t, client) => {
  const cache = client.createCache('a')
  const result = await cache.setMany([
    { id: '1', value: 1 },
    { id: '2', value: () => {} },
    { id: '3', value: 3, ttl: -1 },
    { id: '4', value: 4 },
  ])
  t.like(result, { success: false, written: 2, failed: 2 })
  t.deepEqual(result.errors.map(({ index, key, code }) => [index, key, code]), [
    [1, 'cache:a:v1:2', 'INVALID_DATA'],
    [2, 'cache:a:v1:3', 'INVALID_ARGUMENT'],
  ])
  t.deepEqual(await cache.getMany(['1', '2', '3', '4']), [1, undefined, undefined, 4])
  t.is(await cache.size(), 2)
  t.like(cache.stats(), { sets: 2, errors: 2 })
  await t.throwsAsync(cache.set('5', Symbol('x')), { code: 'INVALID_DATA' })
})

onAll(test, 'a raised version leaves the older entries behind', async (t, client) => {
  const [one, two] = [1, 2].map((version) => client.createCache('a', { version }))
  await one.set('1', 'old')
  t.is(await two.get('1'), undefined)
  await two.set('1', 'new')
  t.is(await one.get('1'), 'old')
  t.is(await two.clear(), 1)
  t.deepEqual([await one.size(), await two.size()], [1, 0])
})

test('keys of others under a like-looking name are never touched, and break nothing', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url, keyPrefix: 'app*:' })
  const cache = client.createCache('u[s]ers*', { maxEntries: 2 })
  const others = {
    strings: ['cache:u[s]ers*:v1:1', 'app*:cache:u[s]ers*:v10:1', 'app*:cache:u[s]ers*:v1', 'app*:cache:u[s]ers*x:v1:1', 'app*:cache:users*:v1:1', 'appX:cache:u[s]ers*:v1:1', 'app*:xcache:u[s]ers*:v1:1'],
    lists: ['app*:cache:u[s]ers*:v1:list', 'app*:cache:u[s]ers*:v1:other'],
  }
  for (const key of others.strings) await server.cli('SET', key, 'theirs')
  for (const key of others.lists) await server.cli('RPUSH', key, 'theirs')
  t.is(await cache.get('list'), undefined)
  t.deepEqual(await cache.getMany(['list', 'other']), [undefined, undefined])
  for (const id of ['1', '2', '3']) await cache.set(id, id)
  t.is(await cache.size(), 2)
  t.deepEqual((await collect(cache.keys())).length, 2)
  t.is(await cache.clear(), 2)
  t.is(await cache.size(), 0)
  for (const key of others.strings) t.is(await server.cli('GET', key), 'theirs', key)
  for (const key of others.lists) t.is(await server.cli('LLEN', key), 1, key)
  t.is(await server.cli('DBSIZE'), 9)
})

test('where another key stands in the place of the account, the entries are read and written all the same', async (t) => {
  const server = await startServer(t)
  const cache = clientOf(t, { url: server.url, keyPrefix: '' }).createCache('a', { maxEntries: 5 })
  await server.cli('SET', 'cache:{a:v1}#expiry', 'theirs')
  await cache.set('1', 'x')
  t.is(await cache.get('1'), 'x')
  t.true(cache.stats().errors > 0)
  await t.throwsAsync(cache.size(), { code: 'WRONGTYPE' })
  t.is(await cache.clear(), 1)
  t.is(await server.cli('GET', 'cache:{a:v1}#expiry'), 'theirs')
})

test('a server that is away: misses, counted, never an error; deletions reject', async (t) => {
  const cache = clientOf(t, { url: 'redis://127.0.0.1:1', retry: { attempts: 1 }, circuitBreaker: false }).createCache('a', { maxEntries: 5 })
  t.is(await cache.get('1'), undefined)
  t.false(await cache.has('1'))
  t.deepEqual(await cache.getMany(['1', '2']), [undefined, undefined])
  t.is(await cache.set('1', 'x'), undefined)
  t.true(cache.stats().errors >= 4)
  t.is(await cache.getOrSet('1', async () => 'loaded'), 'loaded')
  t.deepEqual([...(await cache.getOrSetMany(['1', '2'], async (ids) => new Map(ids.map((id) => [id, id]))))], [['1', '1'], ['2', '2']])
  for (const call of [() => cache.delete('1'), () => cache.deleteMany(['1']), () => cache.clear(), () => cache.size(), () => cache.setMany([{ id: '1', value: 1 }])]) {
    await t.throwsAsync(call(), { code: 'CONNECTION_REFUSED' })
  }
})

test('what could not be noted at first is noted later', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const cache = clientOf(t, { url: proxy.url, keyPrefix: '' }).createCache('a', { flushIntervalMs: 20 })
  await cache.set('1', 'x')
  t.is(await cache.size(), 1)
  proxy.onReply = (reply) => (/^\*\d+\r\n:\d+/.test(reply.raw.toString()) ? Buffer.from('-OOM not now\r\n') : reply.raw)
  await cache.set('2', 'x')
  t.true(cache.stats().errors > 0)
  proxy.onReply = null
  await until(async () => (await server.cli('ZCARD', 'cache:{a:v1}#expiry')) === 2)
  t.is(await cache.size(), 2)
})

test('while the embedded store stands in for the server the cache goes on; its entries are noted afterwards', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = clientOf(t, { url: proxy.url, keyPrefix: '', fallback: true, retry: { attempts: 1, baseDelayMs: 5, maxDelayMs: 20 } })
  const cache = client.createCache('a', { maxEntries: 10, flushIntervalMs: 20 })
  await cache.set('1', 'x')
  proxy.refuse()
  proxy.cut()
  await until(async () => (await client.health()).state === 'fallback')
  await cache.set('2', 'y')
  t.is(await cache.get('2'), 'y')
  t.is(await cache.size(), 1, 'of what stands there')
  t.is(await cache.getOrSet('3', async () => 'z'), 'z')
  proxy.accept()
  await until(async () => (await server.cli('ZCARD', 'cache:{a:v1}#expiry')) === 3)
  t.deepEqual(await cache.getMany(['1', '2', '3']), ['x', 'y', 'z'])
  t.is(await cache.size(), 3)
})

onAll(test, 'what is stored and cannot be read is a miss, and counted', async (t, client) => {
  const cache = client.createCache('a')
  const stored = ['{broken', '{"$type":"Nothing"}', '{"$type":"Map","value":[1]}', Buffer.from([0xf8, 1, 2, 3]), Buffer.from([0xf9, 9, 9]), '\x1fxyz\x1f1', '\x1f', '']
  await client.pipelineSet(stored.map((data, index) => ({ key: `cache:a:v1:${index}`, data })))
  for (let index = 0; index < stored.length; index++) t.is(await cache.get(`${index}`), undefined, `${index}`)
  t.is(cache.stats().errors, stored.length)
  t.deepEqual(await cache.getMany(stored.map((_, index) => `${index}`)), stored.map(() => undefined))
  t.is(cache.stats().errors, stored.length * 2)
  await cache.set('0', 'good')
  t.is(await cache.get('0'), 'good')
})

test('the local copy answers, is bounded, and hears of writes through the same cache', async (t) => {
  // The embedded store tells nothing of changes.
  const client = clientOf(t, { url: 'memory:' })
  const cache = client.createCache('a', { local: { maxEntries: 2, ttl: 600 } })
  const other = client.createCache('a')
  await cache.set('1', { n: 1 })
  const lookups = () => client.metrics().items
  const before = lookups()
  const copy = await cache.get('1')
  copy.n = 2
  t.deepEqual(await cache.get('1'), { n: 1 }, 'each caller has a value of its own')
  t.deepEqual(await cache.getMany(['1', '1']), [{ n: 1 }, { n: 1 }])
  t.is(lookups(), before)
  await other.set('1', { n: 3 })
  t.deepEqual(await cache.get('1'), { n: 1 }, 'until its time is over')
  for (const id of ['2', '3']) await cache.set(id, id)
  t.deepEqual(await cache.get('1'), { n: 3 }, 'the oldest made room')
  await cache.delete('1')
  t.is(await cache.get('1'), undefined)
  await cache.set('2', 'new')
  t.is(await cache.get('2'), 'new')
  await cache.clear()
  t.is(await cache.get('2'), undefined)
  const short = client.createCache('a', { local: { ttl: 0.01 } })
  await short.set('5', 'old')
  await other.set('5', 'new')
  await until(async () => (await short.get('5')) === 'new')
})

onAll(test, 'a local copy sees what this cache object did at once, and what others did when its time is over at the latest', async (t, client) => {
  const cache = client.createCache('a', { local: { ttl: 0.05 } })
  const other = client.createCache('a')
  await cache.set('1', 'own')
  t.is(await cache.get('1'), 'own')
  await other.set('1', 'theirs')
  await until(async () => (await cache.get('1')) === 'theirs')
  await other.delete('1')
  await until(async () => (await cache.get('1')) === undefined)
  await cache.setMany([{ id: '1', value: 'again' }, { id: '2', value: 'too' }])
  t.deepEqual(await cache.getMany(['1', '2']), ['again', 'too'])
  await cache.clear()
  t.deepEqual(await cache.getMany(['1', '2']), [undefined, undefined])
})

onAll(test, 'compression: shorter on the server, read with and without it', async (t, client) => {
  const text = 'abc'.repeat(5000)
  const plain = client.createCache('a')
  for (const algorithm of ['lz4', 'zstd']) {
    const cache = client.createCache('a', { compress: { algorithm, minBytes: 100 }, local: {} })
    await cache.set('long', text)
    await cache.set('short', 'x')
    t.true((await client.sendCommand(['STRLEN', `${client.keyPrefix}cache:a:v1:long`])) < 1000)
    t.is(await client.cacheGet('cache:a:v1:short'), '"x"')
    const second = client.createCache('a', { compress: { algorithm } })
    for (const reader of [cache, plain, second]) {
      t.is(await reader.get('long'), text)
      t.deepEqual(await reader.getMany(['short', 'long', 'none']), ['x', text, undefined])
    }
    await plain.set('before', text)
    t.is(await cache.get('before'), text)
    const noise = Array.from({ length: 3000 }, () => String.fromCharCode(32 + Math.floor(Math.random() * 90))).join('')
    await cache.set('noise', noise)
    t.is(await plain.get('noise'), noise)
  }
})

onAll(test, 'a closed cache refuses; the client goes on', async (t, client) => {
  const cache = client.createCache('a', { maxEntries: 3 })
  await cache.set('1', 'x')
  await cache.get('1')
  await cache.close()
  await cache.close()
  for (const call of [() => cache.get('1'), () => cache.set('1', 1), () => cache.size(), () => cache.getOrSet('1', async () => 1), () => collect(cache.keys())]) {
    await t.throwsAsync(call(), { code: 'CLOSED' })
  }
  t.is(await client.createCache('a', { maxEntries: 3 }).get('1'), 'x')
})

onAll(test, 'wrong arguments', async (t, client) => {
  for (const name of [undefined, 5, '', '\ud800', 'v1', 'a:v1', 'a:v2:b', 'v7:a', 'a:v1#lock']) {
    t.throws(() => createCache(name), { code: 'INVALID_ARGUMENT' }, String(name))
  }
  for (const name of ['shop:users', 'v', 'av1', 'v1x', '{tag}:a', '*']) t.is(client.createCache(name).name, name)
  const wrong = [
    null, 5, { ttl: 0 }, { ttl: '1' }, { version: 0 }, { version: 1.5 }, { codec: 'xml' }, { codec: {} }, { codec: 5 }, { compress: true },
    { compress: { algorithm: 'gzip' } }, { compress: { minBytes: 0 } }, { local: true }, { local: { ttl: 0 } }, { local: { maxEntries: 0 } },
    { maxEntries: 0 }, { maxEntries: '5' }, { staleWhileRevalidate: -1 }, { flushIntervalMs: 0 }, { lockMs: 'x' },
  ]
  for (const options of wrong) t.throws(() => client.createCache('a', options), { code: 'INVALID_ARGUMENT' }, JSON.stringify(options))
  const cache = client.createCache('a')
  const calls = [
    () => cache.get(5), () => cache.get('\ud800'), () => cache.set(undefined, 1), () => cache.set('a', 1, 0), () => cache.set('a', 1, '5'), () => cache.has(5),
    () => cache.delete(5), () => cache.getMany('a'), () => cache.getMany([5]), () => cache.setMany({}), () => cache.setMany([null]),
    () => cache.setMany([{ id: 5, value: 1 }]), () => cache.setMany([{ id: 'a', value: 1, ttl: '5' }]), () => cache.deleteMany('a'),
    () => cache.getOrSet('a'), () => cache.getOrSet(5, async () => 1), () => cache.getOrSet('a', async () => 1, 0), () => cache.getOrSetMany(['a'], 5), () => cache.usage(5),
  ]
  for (const call of calls) await t.throwsAsync(call(), { code: 'INVALID_ARGUMENT' }, String(call))
  t.is(await cache.size(), 0)
})
