// What calls do to each other: order of writes, closing against connecting, waiting for room, commands that would shift
// the answers of others.
import test from 'ava'
import rb from '../../index.js'
import { startServer } from '../support/server.js'
import { startProxy } from '../support/proxy.js'
import { handshake, startPeer } from '../support/peer.js'
import { codes, openClient, timed, unique } from '../support/work.js'

test('the later of two writes stands also when the batch of the earlier one is refused', async (t) => {
  const server = await startServer(t)
  await server.cli('ACL', 'SETUSER', 'only-a', 'on', '>pw', '~a*', '+@all')
  const client = openClient(t, { url: server.url.replace('redis://', 'redis://only-a:pw@') })
  const result = await client.pipelineSet(
    [{ key: 'x1', data: 'no' }, { key: 'a1', data: 'old' }, { key: 'a1', data: 'new' }, { key: 'a2', data: 'yes' }],
    { batchSize: 2 },
  )
  t.is(await server.cli('GET', 'a1'), 'new')
  t.deepEqual(result.errors.map(({ index, code }) => [index, code]), [[0, 'NOPERM']])
  t.is(result.written, 3)
})

test('commands without exactly one reply, and those that block, are refused before they are sent', async (t) => {
  const server = await startServer(t)
  const client = openClient(t, { url: server.url, clientName: unique() })
  await client.pipelineSet([{ key: 'k', data: 'value' }])
  const refused = [['UNSUBSCRIBE', 'x', 'y'], ['punsubscribe', 'x'], ['SUNSUBSCRIBE', 'x'], ['WAIT', '1', '0'], ['WAITAOF', '1', '0', '0'], ['CLIENT', 'TRACKING', 'ON'], ['client', 'reply', 'off'], ['BLPOP', 'a', '0'], ['SELECT', '1'], ['MULTI']]
  const outcomes = await Promise.all([
    ...refused.map((args) => timed(client.sendCommand(args))),
    timed(client.sendCommand(['GET', 'k'])),
    timed(client.sendCommand(['ECHO', 'hello'])),
  ])
  for (const [index, args] of refused.entries()) t.is(outcomes[index].error?.code, 'INVALID_ARGUMENT', args.join(' '))
  t.deepEqual(outcomes.slice(-2).map(({ value }) => value), ['value', 'hello'])
})

test('connect() while close() waits opens the client, and it stays open', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url })
  await client.connect()
  proxy.hold()
  const pending = timed(client.sendCommand(['PING']))
  await proxy.until((p) => p.count('PING') === 1)
  const closing = client.close()
  const connecting = client.connect()
  proxy.release()
  await Promise.all([closing, connecting])
  t.is((await pending).value, 'PONG')
  t.is(await client.sendCommand(['ECHO', 'open']), 'open')
})

test('closing one client leaves the connect() of its equal alone, and its state', async (t) => {
  const peer = await startPeer(t, (command, reply) => void handshake(command, reply))
  const options = { url: peer.url, clientName: unique(), connectTimeoutMs: 10_000 }
  const [one, other] = [openClient(t, options), openClient(t, options)]
  const states = []
  other.on('state', ({ to }) => states.push(to))
  const connecting = timed(other.connect())
  await one.close()
  t.is((await connecting).error, undefined)
  await one.connect()
  await one.close()
  t.false(states.includes('closed'), states.join())
})

test('timeoutMs holds also while a call waits for room in memory', async (t) => {
  let answer
  const peer = await startPeer(t, (command, reply) => {
    if (!handshake(command, reply)) answer = () => reply({ simple: 'OK' })
  })
  const client = openClient(t, { url: peer.url, maxBufferedBytes: 65_536, commandTimeoutMs: 60_000 })
  await client.connect()
  const first = timed(client.pipelineSet([{ key: 'large', data: 'x'.repeat(200_000) }]))
  await peer.until((p) => p.count('MSET') === 1)
  const [set, lookup] = await Promise.all([
    timed(client.pipelineSet([{ key: 'a', data: '1' }], { timeoutMs: 200 })),
    timed(client.bulkLookup('', codes(10), { timeoutMs: 200 })),
  ])
  for (const { error, ms } of [set, lookup]) {
    t.is(error?.code, 'TIMEOUT')
    t.is(error?.applied, false)
    t.true(ms > 150 && ms < 30_000, `${ms} ms`)
  }
  t.true(client.metrics().bufferedBytes >= 200_000)
  answer()
  t.is((await first).value?.written, 1)
})

test('without room in time a call is OVERLOADED, and nothing of it was sent', async (t) => {
  // A server that works through its commands one by one, each well within the time for a round trip, but all of them
  // not within the time that others wait for room. Once that is up, it answers at once.
  const answers = []
  let fast = false
  const peer = await startPeer(t, (command, reply) => {
    if (handshake(command, reply)) return
    if (fast) reply({ simple: 'OK' })
    else answers.push(() => reply({ simple: 'OK' }))
  })
  const pace = setInterval(() => answers.shift()?.(), 500)
  t.teardown(() => clearInterval(pace))
  const client = openClient(t, { url: peer.url, maxBufferedBytes: 65_536, commandTimeoutMs: 5000 })
  await client.connect()
  const large = Array.from({ length: 40 }, (_, index) => ({ key: `large${index}`, data: 'x'.repeat(20_000) }))
  const writing = timed(client.pipelineSet(large, { batchSize: 1 }))
  const second = await timed(client.pipelineSet([{ key: 'second', data: '1' }]))
  fast = true
  for (const answer of answers.splice(0)) answer()
  const first = await writing
  t.true(second.ms > 4900, `${second.ms} ms`)
  t.is(first.value?.written, 40, String(first.error ?? first.value?.errors[0]?.message))
  t.true(second.error instanceof rb.RedisBulkError)
  t.like(second.error, { code: 'OVERLOADED', applied: false, retryable: true })
  t.false(peer.commands.some((command) => command.includes('second')))
  t.is((await client.pipelineSet([{ key: 'third', data: '1' }])).written, 1)
})

test('a look-up whose text cannot be joined harms nobody beside it', async (t) => {
  const client = openClient(t, { url: 'memory:', keyPrefix: unique() })
  await client.pipelineSet([{ key: 'other:k', data: 'v' }])
  const large = Array.from({ length: 200 }, () => 'x'.repeat(3_000_000))
  const [huge, small] = await Promise.all([timed(client.bulkLookup('p:', large)), timed(client.bulkLookup('other:', ['k']))])
  t.deepEqual(small.value?.results, ['v'])
  t.is(huge.value?.cacheMisses, 200, String(huge.error))
})

for (const ttl of [60, undefined]) {
  const command = ttl === undefined ? 'MSET' : 'SET'
  test(`an earlier ${command} is repeated and lost: of what was written after it, the same key’s outcome is unknown`, async (t) => {
    let seen = 0
    const peer = await startPeer(t, (command, reply, socket) => {
      if (!/^M?SET$/.test(command[0])) return void handshake(command, reply)
      seen++
      const [refused, done] = ttl === undefined ? [1, 3] : [2, 5]
      if (seen <= refused) reply(new Error('LOADING for a moment'))
      else if (seen <= done) reply({ simple: 'OK' })
      else socket.destroy()
    })
    const client = openClient(t, { url: peer.url, retry: { attempts: 2, baseDelayMs: 1, maxDelayMs: 1 } })
    await client.connect()
    const keys = ['k', 'a', 'b', 'k', 'c']
    const result = await client.pipelineSet(keys.map((key, index) => ({ key, data: `${index}`, ttl })), { batchSize: 2 })
    t.deepEqual(result.errors.map(({ index, applied }) => [index, applied]), [[0, 'unknown'], [1, 'unknown'], [3, 'unknown']])
    t.is(result.written, 2)
  })
}
