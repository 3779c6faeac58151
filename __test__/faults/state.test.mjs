// FAULTS, the server's state: loading, full, restricted, without its scripts.
import test from 'ava'
import rb from '../../index.js'
import { startServer } from '../support/server.js'
import { handshake, startPeer } from '../support/peer.js'
import { codes, commandStats, openClient, timed, unique, until } from '../support/work.js'

const { ReplyError, ConnectionError } = rb

test('FAULTS 17: a server that is loading is waited for', async (t) => {
  const server = await startServer(t)
  const big = openClient(t, { url: server.url, clientName: unique() })
  await big.pipelineSet(codes(20_000).map((key) => ({ key, data: key })))
  await server.cli('SAVE')
  // Microseconds for each key: loading takes longer than the test waits, until the delay is taken away.
  server.args.push('--key-load-delay', '2000', '--loading-process-events-interval-bytes', '1024')
  await server.restart()
  const client = openClient(t, { url: server.url, clientName: unique(), commandTimeoutMs: 120_000 })
  const calls = Promise.all([
    client.bulkLookup('', ['c1', 'c19999', 'none']),
    client.pipelineSet([{ key: 'new', data: '1', ttl: 60 }]),
    client.batchDelete(['c2', 'none']),
  ])
  await until(async () => {
    const stats = await commandStats(server)
    return ['mget', 'set', 'unlink'].every((name) => stats[name]?.rejected_calls >= 2)
  })
  t.is(await server.info('persistence', 'loading'), '1')
  await server.cli('CONFIG', 'SET', 'key-load-delay', '0')
  const [lookup, set, deleted] = await calls
  t.deepEqual(lookup.results, ['c1', 'c19999', null])
  t.like(set, { success: true, written: 1 })
  t.is(deleted, 1)
  t.is(await server.info('persistence', 'loading'), '0')
})

test('FAULTS 17: a server that goes on loading is a retryable ReplyError within the call’s bound', async (t) => {
  const peer = await startPeer(t, (command, reply) => {
    if (!handshake(command, reply)) reply(new Error('LOADING Redis is loading the dataset in memory'))
  })
  const client = openClient(t, { url: peer.url, commandTimeoutMs: 3000, retry: { baseDelayMs: 20, maxDelayMs: 100 } })
  const calls = [client.bulkLookup('', ['a']), client.bulkLookup('', ['a'], { strategy: 'script' }), client.scanAll('*'), client.sendCommand(['GET', 'a'])]
  for (const { error, ms } of await Promise.all(calls.map(timed))) {
    t.true(error instanceof ReplyError, String(error))
    t.like(error, { code: 'LOADING', retryable: true, applied: false })
    t.true(ms > 1000 && ms < 20_000, `${ms} ms`)
  }
  const set = await client.pipelineSet([{ key: 'a', data: '1', ttl: 9 }])
  t.like(set.errors[0], { code: 'LOADING', retryable: true, applied: false })
  t.is(peer.connections, 1)
  const { ms } = await timed(client.bulkLookup('', ['a'], { timeoutMs: 100 }))
  t.true(ms < 20_000, `${ms} ms`)
})

test('FAULTS 22: at maxmemory writes fail one by one with OOM, reads and deletes still work, nothing is repeated', async (t) => {
  const server = await startServer(t)
  const client = openClient(t, { url: server.url, clientName: unique() })
  await client.pipelineSet([{ key: 'before', data: '1' }])
  const used = Number(await server.info('memory', 'used_memory'))
  await server.cli('CONFIG', 'SET', 'maxmemory', String(used + 3_000_000))
  await server.cli('CONFIG', 'RESETSTAT')
  const entries = codes(100, 'k').map((key) => ({ key, data: 'x'.repeat(100_000), ttl: 1000 }))
  const result = await client.pipelineSet(entries)
  t.is(result.written + result.failed, 100)
  t.true(result.written > 5 && result.failed > 5, `${result.written} were written`)
  t.is(result.success, false)
  t.deepEqual([...new Set(result.errors.map(({ code, applied }) => `${code} ${applied}`))], ['OOM false'])
  t.true(result.errors.every((each) => each.retryable && each.message.startsWith('OOM') && entries[each.index].key === each.key))
  t.is(await server.cli('DBSIZE'), result.written + 1)
  const { set } = await commandStats(server)
  t.is(set.rejected_calls, result.failed)
  t.is(set.calls, result.written)
  t.is(client.metrics().retries, 0)

  await server.cli('CONFIG', 'SET', 'maxmemory', '1')
  // Without a time to live, where all go in one MSET first.
  const plain = await client.pipelineSet(codes(10, 'p').map((key) => ({ key, data: 'x' })))
  t.like(plain, { written: 0, failed: 10 })
  t.deepEqual([...new Set(plain.errors.map(({ code, applied }) => `${code} ${applied}`))], ['OOM false'])
  const lookup = await client.bulkLookup('', ['before', ...entries.map(({ key }) => key)])
  t.is(lookup.cacheHits, result.written + 1)
  t.is((await client.bulkLookup('', ['before'], { strategy: 'script' })).results[0], '1')
  t.is((await client.scanAll('k*')).length, result.written)
  t.is(await client.batchDelete(entries.map(({ key }) => key)), result.written)
  const command = await timed(client.sendCommand(['SET', 'a', '1']))
  t.true(command.error instanceof ReplyError)
  t.like(command.error, { code: 'OOM', retryable: true, applied: false })
  t.is(client.metrics().errors.OOM, result.failed + 11)
})

test('FAULTS 23: after SCRIPT FLUSH the script is loaded again once, and callers see nothing', async (t) => {
  const server = await startServer(t)
  const client = openClient(t, { url: server.url, clientName: unique() })
  const keys = codes(5000)
  await client.pipelineSet(keys.map((key) => ({ key, data: `v${key}` })))
  const expected = keys.map((key) => `v${key}`)
  for (const round of ['new', 'flushed']) {
    if (round === 'flushed') await server.cli('SCRIPT', 'FLUSH')
    await server.cli('CONFIG', 'RESETSTAT')
    const { results, errors, cacheHits } = await client.bulkLookup('', keys, { strategy: 'script' })
    t.deepEqual(results, expected)
    t.deepEqual([errors.length, cacheHits], [0, 5000])
    const stats = await commandStats(server)
    t.is(stats['script|load'].calls, 1, `${round}: loaded once`)
    t.true((stats.evalsha.failed_calls ?? 0) + stats.evalsha.rejected_calls <= 5, round)
  }
  await server.cli('SCRIPT', 'FLUSH')
  const many = await Promise.all(codes(20).map((code) => client.bulkLookup('', [code], { strategy: 'script' })))
  t.deepEqual(many.map(({ results }) => results[0]), codes(20).map((key) => `v${key}`))
})

test('FAULTS 23: a look-up of 100,000 loads the script once, too', async (t) => {
  const server = await startServer(t)
  const client = openClient(t, { url: server.url, clientName: unique(), commandTimeoutMs: 60_000 })
  const { cacheMisses } = await client.bulkLookup('', codes(100_000), { strategy: 'script' })
  t.is(cacheMisses, 100_000)
  t.is((await commandStats(server))['script|load'].calls, 1)
})

test('FAULTS 24: WRONGTYPE in the script look-up is that item’s error; with MGET it is a miss', async (t) => {
  const server = await startServer(t)
  const client = openClient(t, { url: server.url, clientName: unique() })
  await server.cli('MSET', 'a', '1', 'b', '2')
  await server.cli('LPUSH', 'list', 'x')
  await server.cli('HSET', 'hash', 'x', 'y')
  const keys = ['a', 'list', 'none', 'b', 'hash']
  const script = await client.bulkLookup('', keys, { strategy: 'script' })
  t.deepEqual(script.results, ['1', null, null, '2', null])
  t.like(script, { cacheHits: 2, cacheMisses: 1 })
  t.deepEqual(script.errors.map(({ index, key, code, applied, retryable }) => ({ index, key, code, applied, retryable })), [
    { index: 1, key: 'list', code: 'WRONGTYPE', applied: false, retryable: false },
    { index: 4, key: 'hash', code: 'WRONGTYPE', applied: false, retryable: false },
  ])
  t.regex(script.errors[0].message, /WRONGTYPE/)
  const mget = await client.bulkLookup('', keys)
  t.deepEqual(mget, { results: ['1', null, null, '2', null], cacheHits: 2, cacheMisses: 3, errors: [] })
  const json = await client.bulkLookup('', keys, { strategy: 'script', as: 'json' })
  t.deepEqual([json.results, json.errors.length], [[1, null, null, 2, null], 2])
  // Every item: still the items' errors, or the call's; never a value.
  const { value, error } = await timed(client.bulkLookup('', ['list', 'hash'], { strategy: 'script' }))
  t.is(error?.code ?? value?.errors[0]?.code, 'WRONGTYPE')
})

test('FAULTS 25: NOPERM for keys and commands is those items’ error', async (t) => {
  const server = await startServer(t)
  await server.cli('ACL', 'SETUSER', 'u', 'on', '>geheim', '~ok:*', '%R~read:*', '+@all', '-unlink', '-del')
  await server.cli('MSET', 'ok:1', '1', 'read:1', 'r', 'no:1', 'n')
  const client = openClient(t, { url: `redis://u:geheim@127.0.0.1:${server.port}`, clientName: unique() })
  for (const strategy of ['mget', 'script']) {
    const lookup = await client.bulkLookup('', ['ok:1', 'no:1', 'ok:none', ...(strategy === 'mget' ? ['read:1'] : [])], { strategy })
    t.deepEqual(lookup.results.slice(0, 3), ['1', null, null], strategy)
    if (strategy === 'mget') t.is(lookup.results[3], 'r')
    t.like(lookup, { cacheMisses: 1 }, strategy)
    t.deepEqual(lookup.errors.map(({ index, key, code, retryable, applied }) => ({ index, key, code, retryable, applied })), [{ index: 1, key: 'no:1', code: 'NOPERM', retryable: false, applied: false }], strategy)
  }
  const set = await client.pipelineSet([{ key: 'ok:2', data: '2' }, { key: 'no:2', data: '2' }, { key: 'read:1', data: '2', ttl: 9 }])
  t.like(set, { success: false, written: 1, failed: 2 })
  t.deepEqual(set.errors.map(({ index, code, applied }) => [index, code, applied]), [[1, 'NOPERM', false], [2, 'NOPERM', false]])
  t.is(await server.cli('GET', 'ok:2'), '2')
  const plain = await client.pipelineSet([{ key: 'ok:3', data: '3' }, { key: 'no:3', data: '3' }])
  t.deepEqual([plain.written, plain.errors.map(({ index, code }) => [index, code])], [1, [[1, 'NOPERM']]])

  // A command that is not allowed at all.
  const report = await client.batchDelete(['ok:1', 'ok:2'], { report: true })
  t.like(report, { deleted: 0, failed: 2 })
  t.deepEqual(report.errors.map(({ code, applied }) => [code, applied]), [['NOPERM', false], ['NOPERM', false]])
  const deleted = await timed(client.batchDelete(['ok:1']))
  t.true(deleted.error instanceof rb.BulkError)
  t.like(deleted.error, { code: 'NOPERM', retryable: false, applied: false })
  await server.cli('ACL', 'SETUSER', 'u', '-mget', '-get')
  const all = await timed(client.bulkLookup('', ['ok:1', 'ok:2']))
  t.true(all.error instanceof ReplyError, String(all.error))
  t.like(all.error, { code: 'NOPERM', retryable: false, applied: false })
  const command = await timed(client.sendCommand(['GET', 'ok:1']))
  t.true(command.error instanceof ReplyError)
  t.is(command.error.code, 'NOPERM')
})

test('FAULTS 25: a call’s outcome does not depend on who asks at the same time', async (t) => {
  const server = await startServer(t)
  await server.cli('ACL', 'SETUSER', 'u', 'on', '>geheim', '~ok:*', '+@all')
  await server.cli('SET', 'ok:1', '1')
  const client = openClient(t, { url: `redis://u:geheim@127.0.0.1:${server.port}`, clientName: unique() })
  const plain = ({ value, error }) => (error ? { code: error.code, message: error.message } : value)
  const alone = plain(await timed(client.bulkLookup('', ['no:1'])))
  const [together, allowed] = (await Promise.all([timed(client.bulkLookup('', ['no:1'])), timed(client.bulkLookup('', ['ok:1']))])).map(plain)
  t.deepEqual(allowed.results, ['1'])
  t.deepEqual(together, alone)
})

test('FAULTS 25: keys that one delete is not allowed do not spoil the others', async (t) => {
  const server = await startServer(t)
  await server.cli('ACL', 'SETUSER', 'u', 'on', '>geheim', '~ok:*', '+@all')
  await server.cli('MSET', 'ok:1', '1', 'ok:2', '1', 'no:1', '1')
  const client = openClient(t, { url: `redis://u:geheim@127.0.0.1:${server.port}`, clientName: unique() })
  const { error } = await timed(client.batchDelete(['ok:1', 'no:1', 'ok:2', 'ok:none']))
  t.true(error instanceof rb.BulkError)
  t.like(error, { code: 'NOPERM', applied: false })
  t.like(error.report, { deleted: 2, failed: 1 })
  t.like(error.report.errors[0], { index: 1, key: 'no:1', code: 'NOPERM' })
  t.deepEqual(await server.cli('MGET', 'ok:1', 'no:1', 'ok:2'), [null, '1', null])
})

test('FAULTS 25: a wrong password is AUTH at once, without a storm of connections, and in no message', async (t) => {
  const server = await startServer(t, { password: 'right-password' })
  const secret = 'wrong-pass%40word'
  for (const options of [{ url: `redis://:${secret}@127.0.0.1:${server.port}` }, { host: '127.0.0.1', port: server.port, username: 'nobody', password: 'wrong-pass@word' }, { host: '127.0.0.1', port: server.port }]) {
    const before = Number(await server.info('stats', 'total_connections_received'))
    const client = openClient(t, { ...options, clientName: unique(), retry: { attempts: 5 } })
    for (const call of [() => client.bulkLookup('', ['a']), () => client.connect(), () => client.sendCommand(['PING'])]) {
      const { error, ms } = await timed(call())
      t.true(error instanceof ConnectionError, String(error))
      t.like(error, { code: 'AUTH', retryable: false, applied: false })
      t.true(ms < 20_000, `${ms} ms`)
      const shown = [error.message, error.stack, String(error.cause), JSON.stringify(error), JSON.stringify(await client.health()), JSON.stringify(client.metrics())].join('\n')
      t.false(/wrong-pass/.test(shown), shown)
    }
    // One for each call and for each health().
    const made = Number(await server.info('stats', 'total_connections_received')) - before
    t.true(made <= 6, `${made} connections`)
  }
  const client = openClient(t, { url: server.url, clientName: unique() })
  t.is(await client.sendCommand(['PING']), 'PONG')
  await server.cli('CONFIG', 'SET', 'requirepass', 'other')
  t.is(await client.sendCommand(['PING']), 'PONG')
})

test('FAULTS 26: "max number of clients reached" is typed and retryable, and passes', async (t) => {
  const server = await startServer(t)
  await server.cli('CONFIG', 'SET', 'maxclients', '1')
  const client = openClient(t, { url: server.url, clientName: unique(), retry: { attempts: 2, baseDelayMs: 10 } })
  const { error, ms } = await timed(client.bulkLookup('', ['a']))
  t.true(error instanceof rb.RedisBulkError, String(error))
  t.is(error.retryable, true)
  t.is(error.applied, false)
  t.true(ms < 20_000, `${ms} ms`)
  await server.cli('CONFIG', 'SET', 'maxclients', '100')
  await until(async () => (await timed(client.bulkLookup('', ['a']))).value)
  t.pass()
})
