// The circuit breaker: what callers get in each of its states, and what the server sees of it.
import { setTimeout as delay } from 'node:timers/promises'
import test from 'ava'
import rb from '../../index.js'
import { startServer } from '../support/server.js'
import { handshake, startPeer } from '../support/peer.js'
import { openClient, timed, unique, until } from '../support/work.js'

const { ConnectionError } = rb

/** A peer that hangs up at once, holds back its answers, or answers GET with `fine`. */
async function moody(t, mood) {
  const held = []
  const peer = await startPeer(t, (command, reply, socket) => {
    if (peer.mood === 'hangs up') return socket.destroy()
    const answer = () => {
      if (!handshake(command, reply)) reply('fine')
    }
    if (peer.mood === 'holds') held.push(answer)
    else answer()
  })
  peer.mood = mood
  peer.answer = () => {
    peer.mood = 'answers'
    for (const answer of held.splice(0)) answer()
  }
  return peer
}

const get = (client) => client.sendCommand(['GET', 'a'])

/** Calls one after another until the breaker refuses one; the codes of those before it. */
async function trip(client, most = 20) {
  const codes = []
  for (let call = 0; call < most; call++) {
    const { error } = await timed(get(client))
    if (error?.code === 'CIRCUIT_OPEN') return codes
    codes.push(error?.code)
  }
  throw new Error(`${most} calls, none refused: ${codes}`)
}

test('opens after as many failed calls; then each call fails at once and nothing is sent', async (t) => {
  const peer = await moody(t, 'hangs up')
  const client = openClient(t, { url: peer.url, retry: { attempts: 1 }, circuitBreaker: { failures: 3, openMs: 600_000 } })
  t.deepEqual(await trip(client), ['CONNECTION_LOST', 'CONNECTION_LOST', 'CONNECTION_LOST'])
  t.is(peer.connections, 3)
  const calls = [
    () => get(client),
    () => client.bulkLookup('', ['a']),
    () => client.bulkLookup('', Array.from({ length: 3000 }, (_, index) => `c${index}`)),
    () => client.pipelineSet([{ key: 'a', data: '1' }]),
    () => client.scanAll('*'),
    () => client.batchDelete(['a']),
  ]
  for (const call of calls) {
    const { error } = await timed(call())
    t.true(error instanceof ConnectionError, String(error))
    t.like(error, { code: 'CIRCUIT_OPEN', retryable: true, applied: false })
    t.regex(error.message, /3 connection failures/)
    t.regex(error.cause.message, /closed the connection|broke/)
  }
  t.like(await client.health(), { status: 'down', breaker: 'open', latencyMs: null, servedFrom: 'redis' })
  t.is(peer.connections, 3)
  t.true(client.metrics().errors.CIRCUIT_OPEN >= calls.length)
})

test('counts calls after their repetitions, and 50 that fail together as one', async (t) => {
  const peer = await moody(t, 'hangs up')
  const client = openClient(t, { url: peer.url, retry: { attempts: 2, baseDelayMs: 1 }, circuitBreaker: { failures: 2, openMs: 600_000 } })
  const together = await Promise.all(Array.from({ length: 50 }, () => timed(get(client))))
  t.deepEqual(new Set(together.map(({ error }) => error?.code)), new Set(['CONNECTION_LOST']))
  t.is((await timed(get(client))).error.code, 'CONNECTION_LOST', 'one failure so far')
  t.is((await timed(get(client))).error.code, 'CIRCUIT_OPEN')
})

test('an answer between failures starts the count again', async (t) => {
  const peer = await moody(t, 'hangs up')
  const client = openClient(t, { url: peer.url, retry: { attempts: 3, baseDelayMs: 5 }, circuitBreaker: { failures: 3, openMs: 600_000 } })
  for (let round = 0; round < 3; round++) {
    peer.mood = 'hangs up'
    for (let call = 0; call < 2; call++) t.is((await timed(get(client))).error?.code, 'CONNECTION_LOST')
    peer.mood = 'answers'
    t.is(await get(client), 'fine')
  }
  t.is((await client.health()).breaker, 'closed')
})

test('half-open: of 50 callers one tries, the others are refused; its answer closes the breaker', async (t) => {
  const peer = await moody(t, 'hangs up')
  const client = openClient(t, { url: peer.url, retry: { attempts: 1 }, circuitBreaker: { failures: 2, openMs: 2000 } })
  await trip(client)
  const before = peer.connections
  peer.mood = 'holds'
  await delay(2100)
  const callers = Array.from({ length: 50 }, () => timed(get(client)))
  await peer.until((p) => p.connections === before + 1 && p.commands.length > 0)
  const refused = await Promise.all(callers.slice(1))
  t.deepEqual(new Set(refused.map(({ error }) => error?.code)), new Set(['CIRCUIT_OPEN']))
  t.is((await client.health()).breaker, 'half-open')
  t.is(peer.connections, before + 1)
  peer.answer()
  t.is((await callers[0]).value, 'fine')
  t.like(await client.health(), { status: 'up', breaker: 'closed' })
  const all = await Promise.all(Array.from({ length: 50 }, () => get(client)))
  t.deepEqual(new Set(all), new Set(['fine']))
  t.is(peer.connections, before + 1)
})

test('half-open: a probe that fails opens it for as long again', async (t) => {
  const peer = await moody(t, 'hangs up')
  const client = openClient(t, { url: peer.url, retry: { attempts: 1 }, circuitBreaker: { failures: 2, openMs: 2000 } })
  await trip(client)
  await delay(2100)
  const before = peer.connections
  t.is((await timed(get(client))).error?.code, 'CONNECTION_LOST', 'the probe')
  t.is((await timed(get(client))).error?.code, 'CIRCUIT_OPEN')
  t.is(peer.connections, before + 1)
})

test('half-open: a probe that is given up leaves its place to the next call', async (t) => {
  const peer = await moody(t, 'hangs up')
  const client = openClient(t, { url: peer.url, retry: { attempts: 1 }, circuitBreaker: { failures: 1, openMs: 2000 } })
  await trip(client)
  peer.mood = 'holds'
  await delay(2100)
  const { error } = await timed(client.sendCommand(['GET', 'a'], { timeoutMs: 300 }))
  t.is(error?.code, 'TIMEOUT')
  peer.answer()
  t.is(await until(() => get(client).catch(() => undefined)), 'fine')
})

test('a server that is back is noticed before openMs is over', async (t) => {
  const server = await startServer(t)
  const client = openClient(t, { url: server.url, clientName: unique(), retry: { attempts: 1 }, circuitBreaker: { failures: 2, openMs: 600_000 } })
  await client.connect()
  await server.restart(async () => {
    t.true((await trip(client)).length >= 2)
    t.is((await client.health()).breaker, 'open')
  })
  await until(async () => (await timed(client.bulkLookup('', ['a']))).error === undefined)
  t.like(await client.health(), { status: 'up', breaker: 'closed', state: 'ready' })
})

test('connect() tries although the breaker is open', async (t) => {
  const peer = await moody(t, 'hangs up')
  const client = openClient(t, { url: peer.url, retry: { attempts: 1 }, circuitBreaker: { failures: 1, openMs: 600_000 } })
  await trip(client)
  t.is((await timed(client.connect())).error?.code, 'CONNECTION_LOST')
  t.is((await timed(get(client))).error?.code, 'CIRCUIT_OPEN')
  peer.mood = 'answers'
  await client.connect()
  t.is(await get(client), 'fine')
})

test('a wrong password and what the server refuses never open it', async (t) => {
  const server = await startServer(t, { password: 'right' })
  const wrong = openClient(t, { host: server.host, port: server.port, password: 'wrong', circuitBreaker: { failures: 1 } })
  for (let call = 0; call < 4; call++) t.is((await timed(get(wrong))).error?.code, 'AUTH')
  const client = openClient(t, { url: server.url, circuitBreaker: { failures: 1 } })
  for (let call = 0; call < 4; call++) t.is((await timed(client.sendCommand(['NONSENSE']))).error?.code, 'ERR')
  t.is((await client.health()).breaker, 'closed')
})

test('switched off, every call tries', async (t) => {
  const peer = await moody(t, 'hangs up')
  const client = openClient(t, { url: peer.url, retry: { attempts: 1 }, circuitBreaker: false })
  for (let call = 0; call < 12; call++) t.is((await timed(get(client))).error?.code, 'CONNECTION_LOST')
  t.is(peer.connections, 12)
  t.is((await client.health()).breaker, 'closed')
})
