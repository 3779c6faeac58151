import test from 'ava'
import proxySupport from '../support/proxy.js'
import { clientOf, onAll, startServer } from './support.mjs'

const { startProxy } = proxySupport
const pttl = (client, key) => client.sendCommand(['PTTL', client.keyPrefix + key])

onAll(test, 'cacheGet and cacheSet, 30 seconds by default', async (t, client) => {
  t.is(await client.cacheGet('a'), null)
  t.true(await client.cacheSet('a', 'täxt'))
  t.is(await client.cacheGet('a'), 'täxt')
  const left = await pttl(client, 'a')
  t.true(left > 25_000 && left <= 30_000)
  t.true(await client.cacheSet('a', 'again', 0.5))
  t.true((await pttl(client, 'a')) <= 500)
})

onAll(test, 'getCachedData and setCachedData keep JSON, strings too', async (t, client) => {
  t.is(await client.getCachedData('a'), null)
  for (const data of [{ n: [1, null] }, 'text', 5, true, null, '']) {
    t.true(await client.setCachedData('a', data, 60))
    t.deepEqual(await client.getCachedData('a'), data)
  }
  const left = await pttl(client, 'a')
  t.true(left > 50_000 && left <= 60_000)
  t.true(await client.setCachedData('b', 1))
  t.true((await pttl(client, 'b')) <= 30_000)
})

test('one SET with its expiry for each write, and no command before the first', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = clientOf(t, { url: proxy.url })
  await client.connect()
  const before = proxy.commands.length
  await client.cacheSet('a', '1')
  await client.setCachedData('b', 2)
  await client.cacheGet('a')
  const names = proxy.commands.slice(before).map(([name]) => name)
  t.deepEqual(names, ['SET', 'SET', 'MGET'])
  t.deepEqual(proxy.commands[before].slice(3), ['PX', '30000'])
})

onAll(test, 'what is stored and is not JSON is a miss, and counted', async (t, client) => {
  await client.cacheSet('a', '{broken')
  t.is(await client.getCachedData('a'), null)
  t.is(client.metrics().errors.INVALID_JSON, 1)
})

test('a server that is away: misses and false, counted, never an error', async (t) => {
  const client = clientOf(t, { url: 'redis://127.0.0.1:1', retry: { attempts: 1 } })
  t.is(await client.cacheGet('a'), null)
  t.is(await client.getCachedData('a'), null)
  t.false(await client.cacheSet('a', '1'))
  t.false(await client.setCachedData('a', 1))
  t.is(client.metrics().errors.CONNECTION_REFUSED, 4)
  await t.throwsAsync(client.cacheDelPrefix('a'), { code: 'CONNECTION_REFUSED' })
})

test('a write that the server refuses is false, and counted', async (t) => {
  const server = await startServer(t)
  await server.cli('ACL', 'SETUSER', 'narrow', 'on', '>pw', '+@all', '%R~*')
  const client = clientOf(t, { url: `redis://narrow:pw@127.0.0.1:${server.port}` })
  t.false(await client.cacheSet('a', '1'))
  t.is(client.metrics().errors.NOPERM, 1)
})

test('a client that is switched off caches nothing', async (t) => {
  const client = clientOf(t, { url: 'disabled' })
  t.is(await client.cacheGet('a'), null)
  t.false(await client.cacheSet('a', '1'))
})

onAll(test, 'cacheDelPrefix takes the prefix literally', async (t, client) => {
  const literal = 'p*?[a-b]^\\:'
  const keys = [`${literal}1`, `${literal}2`, literal, 'pxy:1', 'p:1', 'pa:1']
  await client.pipelineSet(keys.map((key) => ({ key, data: '1' })))
  t.is(await client.cacheDelPrefix(literal), 3)
  t.deepEqual((await client.scanAll('*')).sort(), ['p:1', 'pa:1', 'pxy:1'])
  t.is(await client.cacheDelPrefix('none:'), 0)
})

onAll(test, 'wrong arguments', async (t, client) => {
  const cycle = {}
  cycle.self = cycle
  for (const call of [
    () => client.cacheGet(5),
    () => client.cacheSet('a', 5),
    () => client.cacheSet('a', '1', 0),
    () => client.cacheSet('a', '1', '30'),
    () => client.cacheSet('\ud800', '1'),
    () => client.getCachedData(undefined),
    () => client.setCachedData('a', undefined),
    () => client.setCachedData('a', 1n),
    () => client.setCachedData('a', cycle),
    () => client.cacheDelPrefix(''),
    () => client.cacheDelPrefix(5),
  ]) {
    await t.throwsAsync(call, { code: 'INVALID_ARGUMENT' }, String(call))
  }
  t.deepEqual(await client.scanAll('*'), [])
})
