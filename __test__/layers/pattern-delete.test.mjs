import test from 'ava'
import { BulkError, ConnectionError, ReplyError, TimeoutError } from '../../index.mjs'
import peerSupport from '../support/peer.js'
import proxySupport from '../support/proxy.js'
import { clientOf, entries, onAll, startServer } from './support.mjs'

const { handshake, startPeer } = peerSupport
const { startProxy } = proxySupport

onAll(test, 'deletes what matches and nothing else', async (t, client) => {
  await client.pipelineSet([...entries('a:', 2500), ...entries('b:', 10)])
  const progress = []
  const report = await client.deleteByPattern('a:*', { count: 100, onProgress: (each) => progress.push(each) })
  t.like(report, { scanned: 2500, matched: 2500, deleted: 2500, failed: 0, errors: [], dryRun: false })
  t.true(report.durationMs > 0)
  t.deepEqual(await client.scanAll('a:*'), [])
  t.is((await client.scanAll('b:*')).length, 10)
  t.true(progress.length > 1)
  t.is(progress.at(-1).done, 2500)
  for (const [index, { scanned, done }] of progress.entries()) {
    t.true(scanned >= done && done >= (progress[index - 1]?.done ?? 0))
  }
})

test('a key that SCAN names again in the page that was asked for before its deletion counts once', async (t) => {
  const there = new Set(['a:1', 'a:2', 'a:3', 'a:4'])
  const pages = { 0: ['7', ['a:1', 'a:2']], 7: ['9', ['a:2', 'a:3']], 9: ['0', ['a:3', 'a:4']] }
  const peer = await startPeer(t, (command, reply) => {
    const [name, ...args] = command
    if (name === 'SCAN') reply(pages[args[0]])
    else if (!handshake(command, reply)) reply(args.filter((key) => there.delete(key)).length)
  })
  const client = clientOf(t, { url: peer.url, keyPrefix: '' })
  t.like(await client.deleteByPattern('a:*'), { scanned: 4, matched: 4, deleted: 4, failed: 0, errors: [] })
  t.is(there.size, 0)
})

test('keys that are not UTF-8 have one name and are each told', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url, keyPrefix: '' })
  for (let byte = 0x80; byte <= 0xff; byte++) await server.cli('SET', Buffer.from([0x61, byte]), '1')
  const report = await client.deleteByPattern('a*', { count: 10, report: true })
  t.true(report.failed >= 128 && report.failed === report.scanned, JSON.stringify([report.scanned, report.failed]))
  t.is(report.deleted, 0)
  t.is(await server.cli('DBSIZE'), 128)
})

test('the key prefix is no pattern: keys of others stay', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url, keyPrefix: 'app*[a]:' })
  await server.cli('SET', 'apple a:k', '1')
  await server.cli('SET', 'appa:k', '1')
  await client.pipelineSet([{ key: 'k', data: '1' }])
  t.like(await client.deleteByPattern('*'), { scanned: 1, matched: 1, deleted: 1 })
  t.is(await server.cli('DBSIZE'), 2)
})

onAll(test, 'a dry run counts and deletes nothing', async (t, client) => {
  await client.pipelineSet(entries('a:', 300))
  const report = await client.deleteByPattern('a:*', { dryRun: true })
  t.like(report, { deleted: 0, failed: 0, errors: [], dryRun: true })
  // The cluster's tables may still shrink after the test before.
  t.true(report.matched >= 300 && report.scanned === report.matched)
  t.is((await client.scanAll('a:*')).length, 300)
})

test('never KEYS; UNLINK in batches of batchSize', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = clientOf(t, { url: proxy.url })
  await client.pipelineSet(entries('a:', 1000))
  await client.deleteByPattern('a:*', { count: 1000, batchSize: 100 })
  t.is(proxy.count('KEYS'), 0)
  t.is(proxy.count('DEL'), 0)
  const sizes = proxy.commands.filter(([name]) => name === 'UNLINK').map((command) => command.length - 1)
  t.true(sizes.every((size) => size <= 100))
  t.true(sizes.reduce((sum, size) => sum + size) >= 1000)
  t.is(await server.cli('DBSIZE'), 0)
})

test('a key that is no UTF-8 is reported; one that holds U+FFFD itself is deleted', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url, keyPrefix: 'ü:' })
  await server.cli('SET', Buffer.concat([Buffer.from('ü:a'), Buffer.from([0xff])]), '1')
  await server.cli('SET', 'ü:a\ufffd\ufffd', '1')
  const report = await client.deleteByPattern('a*', { report: true })
  t.like(report, { matched: 2, deleted: 1, failed: 1 })
  t.like(report.errors[0], { key: 'a\ufffd', code: 'INVALID_DATA', applied: false })
  t.is(await server.cli('DBSIZE'), 1)
})

test('idleSeconds and minBytes, each by itself and together', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url })
  await client.pipelineSet([{ key: 'old:small', data: 'x' }, { key: 'old:large', data: 'x'.repeat(10_000) }])
  // As if nobody had used them for a thousand seconds.
  for (const key of ['old:small', 'old:large'].map((name) => client.keyPrefix + name)) {
    await server.cli('RESTORE', key, '0', await server.cliBuffer('DUMP', key), 'REPLACE', 'IDLETIME', '1000')
  }
  await client.pipelineSet([{ key: 'new:large', data: 'x'.repeat(10_000) }])

  t.like(await client.deleteByPattern('*', { idleSeconds: 500, dryRun: true }), { scanned: 3, matched: 2 })
  t.like(await client.deleteByPattern('*', { minBytes: 5000, dryRun: true }), { scanned: 3, matched: 2 })
  t.like(await client.deleteByPattern('*', { minBytes: 5000, idleSeconds: 500 }), { scanned: 3, matched: 1, deleted: 1 })
  t.deepEqual((await client.scanAll('*')).sort(), ['new:large', 'old:small'])
})

test('the embedded store refuses to filter by what it does not keep', async (t) => {
  const client = clientOf(t, { url: 'memory:' })
  await client.pipelineSet(entries('a:', 10))
  for (const options of [{ idleSeconds: 1 }, { minBytes: 1 }]) {
    const call = client.deleteByPattern('a:*', options)
    await t.throwsAsync(call, { instanceOf: TypeError, code: 'INVALID_ARGUMENT', message: /embedded store/ })
  }
  t.is((await client.scanAll('a:*')).length, 10)
})

test('keys that fail are in the report, which a BulkError carries or the call resolves to', async (t) => {
  const server = await startServer(t)
  await server.cli('ACL', 'SETUSER', 'narrow', 'on', '>pw', '+@all', '~a:*', '%R~*')
  const client = clientOf(t, { url: `redis://narrow:pw@127.0.0.1:${server.port}`, keyPrefix: '' })
  for (const key of ['a:1', 'b:1', 'a:2']) await server.cli('SET', key, '1')

  const error = await t.throwsAsync(client.deleteByPattern('*'), { instanceOf: BulkError, code: 'NOPERM' })
  t.like(error.report, { scanned: 3, matched: 3, deleted: 2, failed: 1 })
  t.like(error.report.errors[0], { key: 'b:1', code: 'NOPERM', applied: false, retryable: false })

  const report = await client.deleteByPattern('*', { report: true })
  t.like(report, { scanned: 1, deleted: 0, failed: 1 })
})

test('gives up on what fails for every key', async (t) => {
  const server = await startServer(t, { args: ['--maxmemory-policy', 'allkeys-lfu'] })
  const client = clientOf(t, { url: server.url })
  await client.pipelineSet(entries('a:', 5000))
  const call = client.deleteByPattern('*', { idleSeconds: 1, count: 100, report: true })
  const error = await t.throwsAsync(call, { instanceOf: BulkError, code: 'ERR' })
  t.is(error.report.deleted, 0)
  t.true(error.report.failed >= 1000 && error.report.failed < 3000, `${error.report.failed}`)
  t.is(error.report.failed, error.report.errors.length)
})

onAll(test, 'an abort half-way reports exactly what is gone', async (t, client) => {
  await client.pipelineSet(entries('a:', 3000))
  const controller = new AbortController()
  const reason = new Error('enough')
  const call = client.deleteByPattern('a:*', {
    count: 100,
    signal: controller.signal,
    onProgress: ({ done }) => done >= 1000 && controller.abort(reason),
  })
  const error = await t.throwsAsync(call, { any: true, name: 'AbortError' })
  t.true(error instanceof DOMException)
  t.is(error.cause, reason)
  t.true(error.report.deleted >= 1000 && error.report.deleted < 3000)
  t.is((await client.scanAll('a:*')).length, 3000 - error.report.deleted)
  await t.throwsAsync(client.deleteByPattern('a:*', { signal: AbortSignal.abort() }), { any: true, name: 'AbortError' })
  t.is((await client.scanAll('a:*')).length, 3000 - error.report.deleted)
})

onAll(test, 'what onProgress throws is what the call rejects with, with the report of what is gone', async (t, client) => {
  await client.pipelineSet(entries('a:', 3000))
  const failure = new Error('no more')
  const thrower = (thrown) => ({ done }) => {
    if (done >= 1000) throw thrown
  }
  t.is(await t.throwsAsync(client.deleteByPattern('a:*', { count: 100, onProgress: thrower(failure) })), failure)
  const { deleted } = failure.report
  t.true(deleted >= 1000 && deleted < 3000)
  t.like(failure.report, { failed: 0, errors: [], dryRun: false })
  t.true(failure.report.durationMs > 0)
  t.is((await client.scanAll('a:*')).length, 3000 - deleted)
  // Thrown again by another call it has that one's report; a property of the caller's own stays.
  const { report } = failure
  await client.pipelineSet(entries('b:', 1500))
  t.is(await t.throwsAsync(client.deleteByPattern('b:*', { count: 100, onProgress: thrower(failure) })), failure)
  t.not(failure.report, report)
  t.is((await client.scanAll('b:*')).length, 1500 - failure.report.deleted)
  const reporter = Object.assign(new Error('has one'), { report: 'mine' })
  await client.pipelineSet(entries('b:', 1500))
  await t.throwsAsync(client.deleteByPattern('b:*', { count: 100, onProgress: thrower(reporter) }))
  t.is(reporter.report, 'mine')
  await client.pipelineSet(entries('a:', 3000))
  const frozen = Object.freeze(new Error('cannot carry it'))
  t.is(await t.throwsAsync(client.deleteByPattern('a:*', { count: 100, onProgress: thrower(frozen) })), frozen)
})

test('an abort while the answer is held says that nobody knows', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = clientOf(t, { url: proxy.url })
  await client.pipelineSet(entries('a:', 50))
  const controller = new AbortController()
  proxy.onCommand = (command) => {
    if (command[0] === 'UNLINK') {
      proxy.hold()
      controller.abort()
    }
    return command.raw
  }
  const error = await t.throwsAsync(client.deleteByPattern('a:*', { signal: controller.signal }), { any: true, name: 'AbortError' })
  t.like(error.report, { matched: 50, deleted: 0, failed: 50 })
  t.true(error.report.errors.every(({ applied, code }) => applied === 'unknown' && code === 'TIMEOUT'))
  proxy.release()
})

test('a server that dies half-way: a BulkError with what is gone', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = clientOf(t, { url: proxy.url, retry: { attempts: 1 }, connectTimeoutMs: 2000 })
  await client.pipelineSet(entries('a:', 3000))
  let deleted = 0
  const call = client.deleteByPattern('a:*', {
    count: 100,
    report: true,
    onProgress: ({ done }) => {
      deleted = done
      if (done >= 1000) proxy.refuse(), proxy.cut()
    },
  })
  const error = await t.throwsAsync(call, { instanceOf: BulkError })
  t.true(error.cause instanceof ConnectionError || error.cause instanceof TimeoutError)
  t.is(error.report.deleted, deleted)
  const left = await server.cli('DBSIZE')
  const unknown = error.report.errors.filter(({ applied }) => applied === 'unknown').length
  t.true(left <= 3000 - deleted && left >= 3000 - deleted - unknown, `${left} left, ${deleted} deleted, ${unknown} unknown`)
})

test('a server that is away when the next keys are due: each of them is accounted for, and none as deleted', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = clientOf(t, { url: proxy.url, retry: { attempts: 1 }, connectTimeoutMs: 2000 })
  await client.pipelineSet(entries('a:', 1500))
  // All keys come in one step; the pause between two groups is long enough to see that the connection is gone.
  const onProgress = () => {
    proxy.refuse()
    proxy.cut()
  }
  const error = await t.throwsAsync(client.deleteByPattern('a:*', { count: 10_000, maxKeysPerSecond: 5000, onProgress }))
  t.true(error instanceof BulkError)
  t.like(error.report, { scanned: 1000, matched: 1000, deleted: 500, failed: 500 })
  t.deepEqual(error.report.errors.map(({ index }) => index), Array.from({ length: 500 }, (_, at) => 500 + at))
  t.is(await server.cli('DBSIZE'), 1000)
})

test('no server at all: the error itself', async (t) => {
  const client = clientOf(t, { url: 'redis://127.0.0.1:1', retry: { attempts: 1 } })
  await t.throwsAsync(client.deleteByPattern('*'), { instanceOf: ConnectionError, code: 'CONNECTION_REFUSED' })
})

onAll(test, 'maxKeysPerSecond holds the speed', async (t, client) => {
  await client.pipelineSet(entries('a:', 60))
  const seen = []
  const onProgress = ({ done, elapsedMs }) => seen.push([done, elapsedMs])
  const report = await client.deleteByPattern('a:*', { maxKeysPerSecond: 100, onProgress })
  t.is(report.deleted, 60)
  // The first ten at once, each further ten a tenth of a second later; timers may be a little early.
  t.true(report.durationMs >= 490, `${report.durationMs} ms`)
  for (const [done, elapsed] of seen) t.true(done <= 10 + (elapsed + 10) / 10, `${done} after ${elapsed} ms`)
})

onAll(test, 'timeoutMs ends it, with the report of what was done', async (t, client) => {
  await client.pipelineSet(entries('a:', 600))
  const call = client.deleteByPattern('a:*', { maxKeysPerSecond: 50, timeoutMs: 3000 })
  const error = await t.throwsAsync(call, { instanceOf: BulkError, code: 'TIMEOUT' })
  t.true(error.cause instanceof TimeoutError)
  t.true(error.report.deleted >= 5 && error.report.deleted <= 160, `${error.report.deleted}`)
  // A batch whose answer had not come at the deadline is in the report as unknown.
  const unknown = error.report.errors.filter(({ applied }) => applied === 'unknown').length
  const gone = 600 - (await client.scanAll('a:*')).length
  t.true(gone >= error.report.deleted && gone <= error.report.deleted + unknown, `${gone} gone, ${error.report.deleted} deleted, ${unknown} unknown`)
})

test('wrong arguments', async (t) => {
  const client = clientOf(t, { url: 'memory:' })
  const wrong = [
    [5],
    ['*', { count: 0 }],
    ['*', { batchSize: 1.5 }],
    ['*', { dryRun: 'yes' }],
    ['*', { idleSeconds: -1 }],
    ['*', { idleSeconds: '5' }],
    ['*', { minBytes: 0 }],
    ['*', { maxKeysPerSecond: Number.NaN }],
    ['*', { onProgress: true }],
    ['*', { signal: {} }],
  ]
  for (const args of wrong) await t.throwsAsync(client.deleteByPattern(...args), { code: 'INVALID_ARGUMENT' }, JSON.stringify(args))
  t.false((await t.throwsAsync(client.deleteByPattern(5))) instanceof ReplyError)
})
