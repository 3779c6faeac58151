import { AsyncLocalStorage } from 'node:async_hooks'
import { channel, tracingChannel } from 'node:diagnostics_channel'
import test from 'ava'
import proxySupport from '../support/proxy.js'
import { clientOf, collect, onBoth, startServer, until } from './support.mjs'

const { startProxy } = proxySupport
const calls = tracingChannel('redis-bulk:call')

/** What is told while the test runs: `{ event, ...context }`, as it stood when it was told. */
function listen(t, tracing = calls) {
  const told = []
  const handlers = Object.fromEntries(
    ['start', 'end', 'asyncStart', 'asyncEnd', 'error'].map((event) => [event, (context) => told.push({ event, context, attributes: { ...context.attributes } })]),
  )
  tracing.subscribe(handlers)
  t.teardown(() => tracing.unsubscribe(handlers))
  return told
}
const of = (told, event) => told.filter((each) => each.event === event)

onBoth(test, 'each call is told with OpenTelemetry’s names', async (t, client, server) => {
  const told = listen(t)
  await client.pipelineSet([{ key: 'a', data: 'secret-value', ttl: 60 }, { key: 'b', data: 'secret-value' }])
  await client.bulkLookup('', ['a'])
  await client.bulkLookup('', ['a', 'b', 'c'], { as: 'buffer', strategy: 'script' })
  await client.scanAll('*')
  await client.sendCommand(['get', 'a'])
  await client.batchDelete(['a', 'b'])
  const common = server
    ? { 'db.system.name': 'redis', 'db.namespace': '0', 'server.address': '127.0.0.1', 'server.port': server.port }
    : { 'db.system.name': 'redis', 'server.address': 'memory' }
  const expected = [
    ['pipelineSet', 'SET', 2],
    ['bulkLookup', 'MGET', undefined],
    ['bulkLookup', 'EVALSHA', 3],
    ['scanAll', 'SCAN', undefined],
    ['sendCommand', 'GET', undefined],
    ['batchDelete', 'UNLINK', 2],
  ]
  t.deepEqual(
    of(told, 'asyncEnd').map(({ context }) => ({ operation: context.operation, attributes: context.attributes })),
    expected.map(([operation, command, size]) => ({
      operation,
      attributes: { ...common, 'db.operation.name': command, ...(size && { 'db.operation.batch.size': size }) },
    })),
  )
  t.deepEqual(told.slice(0, 4).map(({ event }) => event), ['start', 'end', 'asyncStart', 'asyncEnd'])
  t.is(new Set(told.map(({ context }) => context)).size, 6, 'one context for each call')
  t.is(of(told, 'error').length, 0)
  t.false(JSON.stringify(told).includes('secret'))
})

onBoth(test, 'scans that go step by step are told step by step', async (t, client) => {
  await client.pipelineSet([{ key: 'a', data: '1' }, { key: 'b', data: '1' }])
  const told = listen(t)
  t.is((await collect(client.scanIterator('*'))).flat().length, 2)
  t.is((await client.deleteByPattern('*')).deleted, 2)
  t.is(await client.createCache('a').clear(), 0)
  const operations = of(told, 'asyncEnd').map(({ context }) => [context.operation, context.attributes['db.operation.name']])
  const steps = operations.filter(([operation]) => operation === 'scanStep')
  t.is(steps.length, 3)
  t.true(steps.every(([, command]) => command === 'SCAN'))
  t.is(operations.filter(([operation]) => operation === 'batchDelete').length, 1)
  t.is(of(told, 'start').length, operations.length)
})

test('failures of calls and of items; a failed cacheGet and cacheSet too; no password, no value', async (t) => {
  const server = await startServer(t)
  await server.cli('ACL', 'SETUSER', 'narrow', 'on', '>pass-word', '+@all', '%R~*')
  const told = listen(t)
  const client = clientOf(t, { url: `redis://narrow:pass-word@127.0.0.1:${server.port}`, keyPrefix: '' })
  t.false(await client.cacheSet('a', 'secret-value', 60))
  t.like(of(told, 'error')[0], { attributes: { 'error.type': 'NOPERM', 'db.operation.name': 'SET' }, context: { failures: { NOPERM: 1 } } })
  await t.throwsAsync(client.sendCommand(['SET', 'a', 'secret-value']), { code: 'NOPERM' })
  t.like(of(told, 'error')[1], { attributes: { 'error.type': 'NOPERM', 'db.response.status_code': 'NOPERM' } })
  await server.cli('SET', 'bad', 'secret{')
  t.is(await client.getCachedData('bad'), null)
  t.like(of(told, 'error')[2].attributes, { 'error.type': 'INVALID_JSON' })
  await t.throwsAsync(client.pipelineSet(5), { code: 'INVALID_ARGUMENT' })
  t.like(of(told, 'error')[3].attributes, { 'error.type': 'INVALID_ARGUMENT' })
  await t.throwsAsync(client.scanAll('*', { signal: AbortSignal.abort() }), { any: true, name: 'AbortError' })
  t.like(of(told, 'error')[4].attributes, { 'error.type': 'AbortError' })
  const away = clientOf(t, { url: 'redis://:pass-word@127.0.0.1:1', retry: { attempts: 1 } })
  t.is(await away.cacheGet('a'), null)
  const cache = away.createCache('a')
  t.is(await cache.get('1'), undefined)
  t.deepEqual(of(told, 'error').slice(5).map(({ attributes }) => attributes['error.type']), ['CONNECTION_REFUSED', 'CONNECTION_REFUSED'])
  t.is(of(told, 'start').length, of(told, 'asyncEnd').length)
  t.notRegex(JSON.stringify(told.map(({ context }) => ({ ...context, error: { ...context.error, message: context.error?.message, stack: context.error?.stack } }))), /pass-word|secret/)
})

onBoth(test, 'results and errors are the same, watched or not; the caller stands in the stack', async (t, client) => {
  await client.pipelineSet([{ key: 'a', data: '1' }])
  const quiet = await client.bulkLookup('', ['a', 'b'])
  const told = listen(t)
  t.deepEqual(await client.bulkLookup('', ['a', 'b']), quiet)
  const error = await t.throwsAsync((async function callerOfMine() { await client.sendCommand(['INCRBY', 'a', 'x']) })())
  t.is(error.code, 'ERR')
  t.regex(error.stack, /callerOfMine/)
  t.true(told.length > 0)
})

test('a store that is bound to the start is there while the call begins', async (t) => {
  const client = clientOf(t, { url: 'memory:' })
  const store = new AsyncLocalStorage()
  calls.start.bindStore(store, (context) => context.operation)
  t.teardown(() => calls.start.unbindStore(store))
  let seen
  const handler = () => (seen = store.getStore())
  calls.end.subscribe(handler)
  t.teardown(() => calls.end.unsubscribe(handler))
  await client.bulkLookup('', ['a'])
  t.is(seen, 'bulkLookup')
  t.is(store.getStore(), undefined)
})

test('changes of state, on the channel and as a trace', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const changes = []
  const hear = (change) => changes.push(change)
  channel('redis-bulk:state').subscribe(hear)
  t.teardown(() => channel('redis-bulk:state').unsubscribe(hear))
  const traced = listen(t, tracingChannel('redis-bulk:state'))
  const client = clientOf(t, { url: `redis://:@127.0.0.1:${proxy.port}`, password: undefined })
  await client.bulkLookup('', ['a'])
  proxy.cut()
  await until(() => changes.some(({ to }) => to === 'reconnecting'))
  await client.sendCommand(['PING'])
  await client.close()
  await until(() => changes.at(-1).to === 'closed')
  t.deepEqual(changes.slice(0, 2).map(({ from, to }) => [from, to]), [['idle', 'connecting'], ['connecting', 'ready']])
  t.like(changes[0], { attributes: { 'db.system.name': 'redis', 'server.port': proxy.port } })
  t.is(typeof changes[0].at, 'number')
  t.deepEqual(of(traced, 'start').map(({ context }) => context), changes)
  t.is(of(traced, 'end').length, changes.length)
})

test('who listens later hears of the next changes', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url })
  await client.connect()
  const changes = []
  const hear = (change) => changes.push(change.to)
  channel('redis-bulk:state').subscribe(hear)
  t.teardown(() => channel('redis-bulk:state').unsubscribe(hear))
  await client.sendCommand(['PING'])
  await client.close()
  await until(() => changes.at(-1) === 'closed')
  t.is(changes.at(-1), 'closed')
})
