// What the cache costs the server, by the server's own count, and the account of the entries: size, eviction, use. What is
// written while entries are evicted, and a client that closes: cache-eviction.
import test from 'ava'
import { clientOf, collect, commandsOf, onAll, startServer, until } from './support.mjs'

const numbered = (count, from = 0) => Array.from({ length: count }, (_, index) => ({ id: `${from + index}`, value: index }))

test('a hit is one command, size() is one; 1,000 hits with access times are at most 1,010', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url })
  const cache = client.createCache('a', { maxEntries: 5000, flushIntervalMs: 60_000 })
  await cache.setMany(numbered(1000))
  await commandsOf(server)
  await cache.get('5')
  t.deepEqual(await commandsOf(server), { all: 1, calls: { mget: 1 } })
  t.is(await cache.size(), 1000)
  t.deepEqual(await commandsOf(server), { all: 1, calls: { zcount: 1 } })
  for (let id = 0; id < 1000; id++) t.is(await cache.get(`${id}`), id)
  await cache.close()
  const { all, calls } = await commandsOf(server)
  t.true(all <= 1010, JSON.stringify(calls))
  t.is(calls.mget, 1000)
  const later = client.createCache('a', { maxEntries: 5000 })
  t.is((await later.usage('5')).hits, 2)
  t.is((await later.usage('999')).hits, 1)
  t.is(await later.usage('none'), undefined)
})

test('many at once are one bulk operation each', async (t) => {
  const server = await startServer(t)
  const cache = clientOf(t, { url: server.url }).createCache('a', { ttl: 60 })
  await cache.set('script', 'is loaded')
  await commandsOf(server)
  await cache.setMany(numbered(1000))
  const { calls } = await commandsOf(server)
  t.deepEqual([calls.set, calls.evalsha, calls.zadd], [1000, 1, 1])
  await Promise.all(numbered(100).map(({ id, value }) => cache.set(id, value)))
  t.is((await commandsOf(server)).calls.evalsha, 1, 'writes of one turn are noted together')
  await cache.getMany(numbered(1000).map(({ id }) => id))
  t.true((await commandsOf(server)).all <= 5)
  await cache.deleteMany(numbered(1000).map(({ id }) => id))
  t.true((await commandsOf(server)).all <= 12)
  t.is(await cache.size(), 1)
})

onAll(test, 'beyond maxEntries the least recently used go, and no more than those', async (t, client) => {
  const cache = client.createCache('a', { maxEntries: 10, flushIntervalMs: 5 })
  for (const { id, value } of numbered(10)) {
    await cache.set(id, value)
    // Access times are whole milliseconds.
    const now = Date.now()
    await until(() => Date.now() > now + 1)
  }
  t.is(await cache.get('0'), 0)
  t.is(await cache.get('3'), 3)
  await until(async () => (await cache.usage('3')).hits === 1 && (await cache.usage('0')).hits === 1)
  await cache.setMany(numbered(3, 100))
  t.deepEqual((await collect(cache.keys())).sort(), ['0', '3', '5', '6', '7', '8', '9', '100', '101', '102'].sort())
  t.is(await cache.size(), 10)
  t.is(cache.stats().evictions, 3)
  await cache.setMany(numbered(5000, 1000))
  t.is(await cache.size(), 10)
  t.is((await collect(cache.keys())).length, 10)
  t.is(cache.stats().evictions, 5003)
})

onAll(test, 'expired and deleted entries make room', async (t, client) => {
  const cache = client.createCache('a', { maxEntries: 4 })
  await cache.set('short', 1, 0.01)
  await cache.set('deleted', 1)
  await cache.setMany(numbered(2))
  await cache.delete('deleted')
  // The account and the entry expire within the same few milliseconds.
  await until(async () => (await cache.size()) === 2 && !(await cache.has('short')))
  await cache.setMany(numbered(2, 10))
  t.deepEqual((await collect(cache.keys())).sort(), ['0', '1', '10', '11'])
  t.is(cache.stats().evictions, 0)
})

onAll(test, 'size counts each entry once, whoever wrote it and how often', async (t, client) => {
  const [one, other] = [client.createCache('a', { ttl: 60 }), client.createCache('a')]
  await Promise.all([one.set('1', 1), other.set('1', 2), one.set('2', 3), other.setMany(numbered(3))])
  t.deepEqual([await one.size(), await other.size()], [3, 3])
  await one.set('1', 1, 0.005)
  await until(async () => (await other.size()) === 2)
})

test('entries that were written without maxEntries are evicted first once it is set', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url })
  const before = client.createCache('a')
  const after = client.createCache('a', { maxEntries: 5 })
  await before.setMany(numbered(6))
  await after.setMany(numbered(3, 100))
  const ids = await collect(after.keys())
  t.is(ids.length, 5)
  t.true(['100', '101', '102'].every((id) => ids.includes(id)))
})

test('two processes’ hits add up; a use of what is gone brings nothing back', async (t) => {
  const server = await startServer(t)
  const [one, other] = [1, 2].map(() => clientOf(t, { url: server.url, keyPrefix: '', clientName: `c${Math.floor(performance.now() * 1000)}` }))
  const [a, b] = [one, other].map((client) => client.createCache('a', { maxEntries: 9 }))
  await a.set('1', 'x')
  for (let hit = 0; hit < 3; hit++) await a.get('1')
  for (let hit = 0; hit < 4; hit++) await b.get('1')
  await b.close()
  t.is((await a.usage('1')).hits, 7)
  t.true(Math.abs((await a.usage('1')).lastUsedAt - Date.now()) < 60_000)
  await a.get('1')
  await server.cli('EVAL', "redis.call('ZREM', 'cache:{a:v1}#expiry', '1') redis.call('ZREM', 'cache:{a:v1}#access', '1') redis.call('HDEL', 'cache:{a:v1}#hits', '1') return 1", '0')
  t.is(await a.usage('1'), undefined)
  t.deepEqual(await server.cli('KEYS', 'cache:{*'), [])
})

test('the account of one cache lies in one slot of a cluster', async (t) => {
  const server = await startServer(t, { args: ['--cluster-enabled', 'yes'] })
  await server.cli('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await until(async () => /cluster_state:ok/.test(await server.cli('CLUSTER', 'INFO')))
  const client = clientOf(t, { url: server.url, keyPrefix: '' })
  const cache = client.createCache('shop:users', { maxEntries: 3 })
  for (const { id, value } of numbered(5)) await cache.set(id, value)
  t.is(await cache.size(), 3)
  t.is(await cache.clear(), 3)
  t.is(cache.stats().errors, 0)
})

test('what is written and deleted in the turn in which the client closes is noted', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url, keyPrefix: '' })
  const cache = client.createCache('a', { maxEntries: 5000 })
  await cache.setMany(numbered(2))
  const count = 2500
  const calls = [cache.delete('1'), ...numbered(count, 100).map(({ id, value }) => cache.set(id, value))]
  await client.close()
  t.deepEqual(await Promise.all(calls), [true, ...Array(count).fill(undefined)])
  t.is(cache.stats().errors, 0)
  const noted = ['0', ...numbered(count, 100).map(({ id }) => id)]
  t.deepEqual((await server.cli('ZRANGE', 'cache:{a:v1}#expiry', 0, -1)).sort(), noted.sort())
  await client.connect()
  t.is(await client.createCache('a').size(), count + 1)
  t.is((await client.scanAll('cache:a:v1:*')).length, count + 1)
})

test('access times that wait are written when the client closes', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url, keyPrefix: '' })
  const cache = client.createCache('a', { maxEntries: 5 })
  await cache.set('1', 'x')
  await cache.get('1')
  await client.close()
  t.is(await server.cli('HGET', 'cache:{a:v1}#hits', '1'), '1')
})
