// scanAll and batchDelete: every option.
import test from 'ava'
import rb from '../../index.js'
import { currentEngine, startServer } from '../support/server.js'
import { handshake, startPeer } from '../support/peer.js'
import { startProxy } from '../support/proxy.js'
import { codes, commandStats, openClient, runProgram, timed, unique } from '../support/work.js'

let server
test.before(async () => {
  server = await startServer()
})
test.after.always(() => server?.stop())

const open = (t, options) => openClient(t, { url: server.url, keyPrefix: `${unique()}:`, ...options })
const both = (title, body) => {
  test(title, (t) => body(t, open(t)))
  test(`${title} (memory:)`, (t) => body(t, openClient(t, { url: 'memory:', clientName: unique() })))
}
const entriesOf = (list) => list.map((key) => ({ key, data: '1' }))

both('scanAll: a number is COUNT; every key once; limit; type', async (t, client) => {
  const keys = codes(3000, 'k')
  await client.pipelineSet(entriesOf(keys))
  for (const given of [undefined, 1, 10, 1000, 100_000, { count: 7 }, {}, { count: 500, type: 'string' }, { limit: 3001 }, { limit: 3000 }]) {
    const found = await client.scanAll('k*', given)
    t.is(found.length, 3000, JSON.stringify(given))
    t.is(new Set(found).size, 3000)
  }
  t.deepEqual(await client.scanAll('none*'), [])
  t.deepEqual((await client.scanAll('k12?')).sort(), keys.slice(120, 130))
  for (const limit of [1, 7, 2999]) {
    const found = await client.scanAll('k*', { limit, count: 100 })
    t.is(found.length, limit)
    t.is(new Set(found).size, limit)
  }
  t.deepEqual(await client.scanAll('k*', { type: 'hash' }), [])
})

test('scanAll: type finds each kind of key', async (t) => {
  const own = await startServer(t)
  const client = openClient(t, { url: own.url })
  await own.cli('SET', 'string', '1')
  await own.cli('LPUSH', 'list', '1')
  await own.cli('SADD', 'set', '1')
  await own.cli('ZADD', 'zset', '1', 'a')
  await own.cli('HSET', 'hash', 'a', '1')
  await own.cli('XADD', 'stream', '*', 'a', '1')
  for (const type of ['string', 'list', 'set', 'zset', 'hash', 'stream']) t.deepEqual(await client.scanAll('*', { type }), [type])
  t.is((await client.scanAll('*')).length, 6)
})

test('scanAll: limit stops the scan, COUNT reaches the server, KEYS is never used', async (t) => {
  const own = await startServer(t)
  const proxy = await startProxy(t, own)
  const client = openClient(t, { url: proxy.url })
  await client.pipelineSet(entriesOf(codes(20_000)))
  await client.scanAll('*', { count: 100, limit: 250 })
  t.true(proxy.count('SCAN') <= 6, `${proxy.count('SCAN')} pages`)
  const scan = proxy.commands.find((command) => command[0] === 'SCAN')
  t.deepEqual([...scan], ['SCAN', '0', 'MATCH', '*', 'COUNT', '100'])
  await client.scanAll('a*b', { type: 'string', count: 5000 })
  t.deepEqual([...proxy.commands.at(-1)].slice(2), ['MATCH', 'a*b', 'COUNT', '5000', 'TYPE', 'string'])
  t.is((await commandStats(own)).keys, undefined)
})

both('onProgress: monotone, with the total for a delete', async (t, client) => {
  const keys = codes(45_000)
  await client.pipelineSet(entriesOf(keys.slice(0, 30_000)))
  const check = (list, total) => {
    t.true(list.length > 1, `${list.length} calls`)
    list.forEach((each, index) => {
      const before = list[index - 1] ?? { scanned: 0, done: 0, elapsedMs: 0 }
      if (!(each.scanned >= before.scanned && each.done >= before.done && each.elapsedMs >= before.elapsedMs && each.done <= each.scanned && each.total === total)) t.fail(JSON.stringify([before, each]))
    })
    return list.at(-1)
  }
  const scanned = []
  const found = await client.scanAll('*', { count: 500, onProgress: (progress) => scanned.push(progress) })
  const last = check(scanned, undefined)
  t.deepEqual([last.done, found.length], [30_000, 30_000])
  const deleted = []
  t.is(await client.batchDelete(keys, { batchSize: 100, onProgress: (progress) => deleted.push(progress) }), 30_000)
  const end = check(deleted, 45_000)
  t.deepEqual([end.scanned, end.done], [45_000, 30_000])
  t.true(deleted.length > 10)
})

for (const url of ['redis', 'memory:']) {
  test(`an onProgress that throws does not keep other calls from settling (${url})`, async (t) => {
    const { code, stdout, stderr, json } = await runProgram(
      `process.on('uncaughtException', (error) => { if (error.message !== 'from onProgress') throw error })
      main(async () => {
        const client = rb.createClient({ url: process.env.URL, keyPrefix: process.env.PREFIX })
        const codes = Array.from({ length: 3000 }, (_, i) => 'c' + i)
        await client.pipelineSet(codes.map((key) => ({ key, data: key })))
        let settled = 0
        const count = (promise) => promise.then(() => settled++, () => settled++)
        const calls = []
        for (let i = 0; i < 30; i++) {
          calls.push(count(client.scanAll('c*', { count: 10, onProgress() { throw new Error('from onProgress') } })))
          for (let k = 0; k < 5; k++) calls.push(count(client.bulkLookup('', codes, { as: 'json' })), count(client.sendCommand(['PING'])), count(client.bulkLookup('', ['c1'])))
        }
        await Promise.race([Promise.all(calls), new Promise((resolve) => setTimeout(resolve, 60_000).unref())])
        print([settled, calls.length])
        process.exit(0)
      })`,
      { env: { URL: url === 'redis' ? server.url : url, PREFIX: unique() } },
    )
    t.is(code, 0, stdout + stderr)
    t.deepEqual(json, [480, 480])
  })
}

both('batchDelete: the number that existed, duplicates counted once; a number is the batch size', async (t, client) => {
  for (const given of [undefined, 1, 3, 500, { batchSize: 2 }, {}, { report: false }]) {
    await client.pipelineSet(entriesOf(['a', 'b', 'c', '']))
    t.is(await client.batchDelete(['a', 'none', 'b', 'a', '', 'a'], given), 3, JSON.stringify(given))
    t.deepEqual((await client.bulkLookup('', ['a', 'b', 'c', ''])).results, [null, null, '1', null])
  }
})

both('batchDelete: a report says of each key whether it existed', async (t, client) => {
  const keys = codes(45_000)
  await client.pipelineSet(entriesOf(keys.filter((_, index) => index % 3 === 0)))
  const report = await client.batchDelete([...keys, 'c0', 'c1'], { report: true, batchSize: 1000 })
  t.deepEqual([report.deleted, report.failed, report.errors], [15_000, 0, []])
  t.is(report.existed.length, 45_002)
  t.deepEqual(report.existed.map((existed, index) => (existed === (index < 45_000 && index % 3 === 0) ? -1 : index)).filter((index) => index >= 0), [])
  t.is(typeof report.durationMs, 'number')
})

test('batchDelete: batchSize reaches the server, UNLINK and not DEL', async (t) => {
  const own = await startServer(t)
  const proxy = await startProxy(t, own)
  const client = openClient(t, { url: proxy.url })
  await client.pipelineSet(entriesOf(codes(100)))
  t.is(await client.batchDelete(codes(100), 30), 100)
  t.deepEqual(proxy.commands.filter((command) => command[0] === 'UNLINK').map((command) => command.length - 1), [30, 30, 30, 10])
  t.is((await commandStats(own)).del, undefined)
})

test('batchDelete: without UNLINK on the server it is DEL, and the server is asked once', async (t) => {
  let target
  if (currentEngine === 'redis') {
    target = await startServer(t, { args: ['--rename-command', 'UNLINK', ''] })
    await target.cli('MSET', ...codes(3000).flatMap((key) => [key, '1']))
  } else {
    // Valkey may refuse to rename; a peer says what a server without it says.
    const there = new Set(codes(3000))
    target = await startPeer(t, (command, reply) => {
      if (handshake(command, reply)) return
      if (command[0] === 'DEL') reply(command.slice(1).filter((key) => there.delete(key)).length)
      else reply(new Error(`ERR unknown command '${command[0]}', with args beginning with: `))
    })
  }
  const proxy = await startProxy(t, target)
  const client = openClient(t, { url: proxy.url })
  t.is(await client.batchDelete(codes(1500), 100), 1500)
  const asked = proxy.count('UNLINK')
  t.true(asked >= 1 && asked <= 15, `${asked}`)
  t.like(await client.batchDelete(codes(2000), { report: true }), { deleted: 500, failed: 0 })
  t.is(await client.batchDelete(codes(3000)), 1000)
  t.is(proxy.count('UNLINK'), asked, 'it remembers')
})

test('batchDelete: a batch that fails does not stop the later ones; the error carries the report', async (t) => {
  const there = new Set(codes(1000))
  const peer = await startPeer(t, (command, reply) => {
    if (handshake(command, reply)) return
    // What c300 to c399 are, nobody may delete.
    if (command.slice(1).some((key) => /^c3\d\d$/.test(key))) reply(new Error('MISCONF not now'))
    else reply(command.slice(1).filter((key) => there.delete(key)).length)
  })
  const client = openClient(t, { url: peer.url })
  const { error } = await timed(client.batchDelete(codes(1000), 100))
  t.true(error instanceof rb.BulkError)
  t.true(error instanceof rb.RedisBulkError)
  t.like(error, { code: 'MISCONF', retryable: true, applied: false, name: 'BulkError' })
  t.like(error.report, { deleted: 900, failed: 100 })
  t.deepEqual(error.report.errors.map(({ index }) => index), codes(100).map((_, index) => index + 300))
  t.true(error.report.errors.every(({ key, index, code, applied }) => key === `c${index}` && code === 'MISCONF' && applied === false))
})

test('batchDelete: timeoutMs ends in the account of every key', async (t) => {
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, keyPrefix: `${unique()}:`, commandTimeoutMs: 60_000 })
  const keys = codes(50_000)
  await client.pipelineSet(entriesOf(keys))
  let replies = 0
  proxy.onReply = (reply) => (++replies > 4 ? null : reply.raw)
  const { error, ms } = await timed(client.batchDelete(keys, { batchSize: 1000, timeoutMs: 3000 }))
  t.true(ms > 2900 && ms < 30_000, `${ms} ms`)
  t.true(error instanceof rb.BulkError, String(error))
  t.like(error, { code: 'TIMEOUT', applied: 'unknown' })
  const { deleted, failed, errors } = error.report
  t.deepEqual([deleted, failed, errors.length], [4000, 46_000, 46_000])
  t.deepEqual([...new Set(errors.map(({ applied }) => applied))].sort(), [false, 'unknown'])
  t.is(new Set(errors.map(({ index }) => index)).size, 46_000)
})
