// What a client does when the server it writes to is the primary no more.
import test from 'ava'
import { startPeer } from '../support/peer.js'
import { startProxy } from '../support/proxy.js'
import { startServer } from '../support/server.js'
import { openClient, timed } from '../support/work.js'

/** A primary and another server; `demote` makes the first a replica of the second, with its connections kept. */
async function startPair(t) {
  const args = ['--repl-diskless-sync-delay', '0']
  const [first, second] = await Promise.all([startServer(t, { args }), startServer(t, { args })])
  const demote = async () => {
    await first.cli('REPLICAOF', '127.0.0.1', second.port)
    t.is((await first.cli('ROLE'))[0], 'slave')
  }
  return { first, second, demote }
}

/** A sentinel by a script; `sentinel.named` is the server that it names as the primary. */
async function startScriptedSentinel(t, named) {
  const peer = await startPeer(t, (command, reply) => {
    const [name, what] = command.map((word) => word.toUpperCase())
    if (name === 'SENTINEL' && what === 'GET-MASTER-ADDR-BY-NAME') {
      reply(command[2] === 'mymaster' && peer.named ? ['127.0.0.1', String(peer.named.port)] : null)
    } else reply(new Error(`ERR unknown command '${command[0]}'`))
  })
  peer.named = named
  peer.node = `127.0.0.1:${peer.port}`
  return peer
}

const throughSentinel = (peer, more) => ({ sentinel: { nodes: [peer.node], master: 'mymaster' }, retry: { baseDelayMs: 5 }, ...more })

test('FAULTS 18: READONLY leads to a new look-up and one repetition', async (t) => {
  const { first, second, demote } = await startPair(t)
  const sentinel = await startScriptedSentinel(t, first)
  const client = openClient(t, throughSentinel(sentinel))
  await client.pipelineSet([{ key: 'before', data: '1' }])
  t.is(await first.cli('GET', 'before'), '1')
  const asked = sentinel.count('SENTINEL')

  await demote()
  sentinel.named = second
  const written = await client.pipelineSet([
    { key: 'a', data: '1' },
    { key: 'b', data: '2', ttl: 100 },
  ])
  t.like(written, { success: true, written: 2 })
  t.is(await second.cli('GET', 'b'), '2')
  t.is(sentinel.count('SENTINEL'), asked + 1, 'one look-up')
  t.is(client.metrics().retries, 1)
})

test('FAULTS 18: what counts or has a condition is carried out once', async (t) => {
  for (const [command, expected] of [
    [(client) => client.sendCommand(['INCR', 'n']), 1],
    [(client) => client.batchDelete(['gone', 'never']), 1],
    [(client) => client.pipelineSet([{ key: 'new', data: '1' }], { condition: 'nx' }).then((report) => report.written), 1],
  ]) {
    const { first, second, demote } = await startPair(t)
    await second.cli('SET', 'gone', '1')
    const sentinel = await startScriptedSentinel(t, first)
    const client = openClient(t, throughSentinel(sentinel))
    await client.connect()
    await demote()
    sentinel.named = second
    t.is(await command(client), expected)
  }
})

test('FAULTS 18: a server behind a name that has moved', async (t) => {
  const { first, second, demote } = await startPair(t)
  const target = { host: '127.0.0.1', port: first.port }
  const proxy = await startProxy(t, target)
  const client = openClient(t, { url: proxy.url, retry: { baseDelayMs: 5 } })
  await client.pipelineSet([{ key: 'a', data: '1' }])
  await demote()
  target.port = second.port
  t.like(await client.pipelineSet([{ key: 'a', data: '2' }]), { success: true, written: 1 })
  t.is(await second.cli('GET', 'a'), '2')
  t.is(proxy.connections, 2)
})

test('FAULTS 18: a server that stays a replica is asked twice, and its refusal reaches the caller', async (t) => {
  const { first, second, demote } = await startPair(t)
  await second.cli('SET', 'kept', '1')
  const proxy = await startProxy(t, first)
  const client = openClient(t, { url: proxy.url, retry: { baseDelayMs: 5 } })
  await client.connect()
  await demote()
  const report = await client.pipelineSet([{ key: 'a', data: '1' }])
  t.like(report, { written: 0, failed: 1 })
  t.like(report.errors[0], { code: 'READONLY', retryable: true, applied: false })
  t.is(proxy.count('SET'), 2)
  const { error } = await timed(client.sendCommand(['INCR', 'n']))
  t.is(error?.code, 'READONLY')
  t.is(proxy.count('INCR'), 2)
  // Reading goes on.
  t.is((await client.bulkLookup('', ['a'])).cacheMisses, 1)
})

test('a server that the sentinels name is used only once it is a primary', async (t) => {
  const { first, second, demote } = await startPair(t)
  await demote()
  const proxy = await startProxy(t, first)
  const sentinel = await startScriptedSentinel(t, proxy)
  const client = openClient(t, throughSentinel(sentinel))
  const writing = client.pipelineSet([{ key: 'a', data: '1' }])
  await sentinel.until((peer) => peer.count('SENTINEL') >= 3)
  t.is(proxy.count('SET'), 0)
  sentinel.named = second
  t.like(await writing, { success: true, written: 1 })
  t.is(await second.cli('GET', 'a'), '1')
})

test('without a primary a call settles at the connect timeout, with the reason', async (t) => {
  const { first, demote } = await startPair(t)
  await demote()
  const sentinel = await startScriptedSentinel(t, first)
  const { error, ms } = await timed(openClient(t, throughSentinel(sentinel, { connectTimeoutMs: 3000 })).bulkLookup('', ['a']))
  t.is(error?.code, 'CONNECTION_REFUSED')
  t.regex(error.message, /is a slave at the moment/)
  t.true(ms > 1500, `${ms} ms`)
})

test('sentinels that are silent, gone or ignorant are passed over, and the one that answered is asked first', async (t) => {
  const server = await startServer(t)
  const silent = await startPeer(t, () => {})
  const ignorant = await startScriptedSentinel(t, undefined)
  const good = await startScriptedSentinel(t, server)
  const nodes = [`127.0.0.1:${silent.port}`, '127.0.0.1:1', ignorant.node, good.node]
  const client = openClient(t, { sentinel: { nodes, master: 'mymaster' }, connectTimeoutMs: 10_000, retry: { baseDelayMs: 5 } })
  await client.pipelineSet([{ key: 'a', data: '1' }])
  t.is(await server.cli('GET', 'a'), '1')
  const before = [silent.connections, ignorant.connections]
  const [own] = await server.clients()
  await server.cli('CLIENT', 'KILL', 'ID', own.id)
  await good.until((peer) => peer.count('SENTINEL') === 2)
  t.is((await client.bulkLookup('', ['a'])).cacheHits, 1)
  t.deepEqual([silent.connections, ignorant.connections], before)
})

test('a primary that no sentinel knows is a mistake in the configuration, told at once', async (t) => {
  const sentinel = await startScriptedSentinel(t, undefined)
  const { error } = await timed(openClient(t, throughSentinel(sentinel)).bulkLookup('', ['a']))
  t.is(error?.code, 'INVALID_CONFIG')
  t.regex(error.message, /knows no primary of the name mymaster/)
  t.is(sentinel.count('SENTINEL'), 1)
})
