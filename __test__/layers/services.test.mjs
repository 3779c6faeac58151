import test from 'ava'
import { ConnectionError } from '../../index.mjs'
import proxySupport from '../support/proxy.js'
import { clientOf, onAll, startServer } from './support.mjs'

const { startProxy } = proxySupport
const items = (prefix, count) => Array.from({ length: count }, (_, index) => ({ key: `${prefix}${index}`, value: { n: index } }))

onAll(test, 'bulkSet writes values with their times to live', async (t, client) => {
  const mixed = [{ key: 'a', value: 'text', ttl: 10 }, { key: 'b', value: { n: 1 } }, { key: 'c', value: 1n }]
  const result = await client.bulkSet(mixed, { ttl: 100 })
  t.like(result, { successful: 2, failed: 1 })
  t.like(result.errors[0], { index: 2, key: 'c', code: 'INVALID_DATA', applied: false })
  t.true(result.totalDuration >= 0)
  t.deepEqual((await client.bulkLookup('', ['a', 'b', 'c'])).results, ['text', '{"n":1}', null])
  const ttl = async (key) => client.sendCommand(['PTTL', client.keyPrefix + key])
  t.true((await ttl('a')) <= 10_000 && (await ttl('a')) > 5000)
  t.true((await ttl('b')) <= 100_000 && (await ttl('b')) > 50_000)
})

onAll(test, 'bulkSyncCache writes and deletes', async (t, client) => {
  await client.bulkSet([...items('old:', 50), { key: 'kept', value: 1 }])
  const orphans = items('old:', 60).map(({ key }) => key)
  const result = await client.bulkSyncCache(items('new:', 500), orphans, { ttl: 60 })
  t.like(result, { successful: 560, failed: 0, errors: [] })
  t.deepEqual((await client.scanAll('*')).sort(), ['kept', ...items('new:', 500).map(({ key }) => key)].sort())
  t.like(await client.bulkSyncCache([], []), { successful: 0, failed: 0 })
  t.like(await client.bulkSyncCache([], ['kept']), { successful: 1, failed: 0 })
  t.like(await client.bulkSyncCache([{ key: 'x', value: 1 }], []), { successful: 1, failed: 0 })
})

test('bulkSyncCache of 500 entries and 50 orphans: at most 12 round trips, and without times to live at most 30 commands', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = clientOf(t, { url: proxy.url })
  await client.connect()
  const orphans = items('old:', 50)
  for (const [ttl, mostCommands] of [[undefined, 30], [3600, 600]]) {
    await client.bulkSet(orphans)
    let waiting = 0
    let roundTrips = 0
    // A round trip begins with a command that comes while none waits for its answer.
    proxy.onCommand = (command) => {
      if (waiting++ === 0) roundTrips++
      return command.raw
    }
    proxy.onReply = (reply) => {
      waiting--
      return reply.raw
    }
    const before = proxy.commands.length
    t.like(await client.bulkSyncCache(items('new:', 500), orphans.map(({ key }) => key), { ttl }), { successful: 550, failed: 0 })
    const names = proxy.commands.slice(before).map(([name]) => name)
    proxy.onCommand = proxy.onReply = null
    t.true(names.length <= mostCommands, `${names.length} commands`)
    t.true(roundTrips >= 1 && roundTrips <= 12, `${roundTrips} round trips`)
    t.deepEqual([...new Set(names)].sort(), [ttl === undefined ? 'MSET' : 'SET', 'UNLINK'])
    t.is(await server.cli('DBSIZE'), 500)
  }
})

test('bulkSyncCache accounts for each item that the server refused', async (t) => {
  const server = await startServer(t)
  await server.cli('ACL', 'SETUSER', 'narrow', 'on', '>pw', '+@all', '~a:*')
  const client = clientOf(t, { url: `redis://narrow:pw@127.0.0.1:${server.port}`, keyPrefix: '' })
  const result = await client.bulkSyncCache([{ key: 'a:1', value: 1 }, { key: 'b:1', value: 1 }], ['a:2', 'b:2', 'b:3'])
  t.like(result, { successful: 2, failed: 3 })
  t.deepEqual(result.errors.map(({ index, key }) => [index, key]), [[1, 'b:1'], [3, 'b:2'], [4, 'b:3']])
  t.true(result.errors.every(({ code, applied }) => code === 'NOPERM' && applied === false))
})

test('bulkSyncCache rejects where nothing was sent', async (t) => {
  const client = clientOf(t, { url: 'redis://127.0.0.1:1', retry: { attempts: 1 } })
  for (const [updates, deletions] of [[items('a', 2), ['b']], [[], ['b']], [items('a', 2), []]]) {
    await t.throwsAsync(client.bulkSyncCache(updates, deletions), { instanceOf: ConnectionError, code: 'CONNECTION_REFUSED' })
  }
})

onAll(test, 'wrong arguments: nothing is written or deleted', async (t, client) => {
  await client.bulkSet([{ key: 'kept', value: 1 }])
  const wrong = [
    ['text', []],
    [[5], []],
    [[{ key: 5, value: 1 }], []],
    [[{ key: 'a', value: 1, ttl: 'x' }], []],
    [[{ key: 'a', value: 1 }], 'kept'],
    [[{ key: 'a', value: 1 }], ['kept', 5]],
    [[{ key: 'a', value: 1 }], ['kept', '\ud800']],
    [[{ key: 'a', value: 1 }], ['kept', 'a']],
    [[{ key: 'a', value: 1 }], ['kept'], { ttl: -1 }],
    [[{ key: 'a', value: 1 }], ['kept'], { condition: 'gt' }],
    [[{ key: 'a', value: 1 }], ['kept'], { batchSize: 0 }],
  ]
  for (const args of wrong) await t.throwsAsync(client.bulkSyncCache(...args), { code: 'INVALID_ARGUMENT' })
  await t.throwsAsync(client.bulkSet('text'), { instanceOf: TypeError, code: 'INVALID_ARGUMENT', message: /items/ })
  const aborted = client.bulkSyncCache([{ key: 'a', value: 1 }], ['kept'], { signal: AbortSignal.abort() })
  await t.throwsAsync(aborted, { any: true, name: 'AbortError' })
  t.deepEqual(await client.scanAll('*'), ['kept'])
})
