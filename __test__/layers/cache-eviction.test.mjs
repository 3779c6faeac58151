// Entries that are evicted while others write, read and close: nothing that was written again goes, nothing stays behind.
import test from 'ava'
import embeddedAccount from '../../lib/cache/embedded-account.js'
import evictedIds from '../../lib/cache/evicted.js'
import { clientOf, collect, deferred, onAll, startServer, until } from './support.mjs'

const { EmbeddedAccount } = embeddedAccount
const { Evicted } = evictedIds

const numbered = (count, from = 0) => Array.from({ length: count }, (_, index) => ({ id: `${from + index}`, value: index }))

/**
 * What the client answers to calls of `method`, kept back until each call's `release()`. The calls go out as always; `done`
 * resolves when the server has answered. `stop()` keeps back no further ones.
 */
function holdAnswers(client, method) {
  const original = client[method].bind(client)
  const calls = []
  client[method] = (...args) => {
    const gate = deferred()
    const outcome = original(...args)
    calls.push({ done: outcome.then(() => {}, () => {}), release: () => gate.resolve() })
    const held = gate.promise.then(() => outcome)
    outcome.catch(() => {})
    return held
  }
  return { calls, stop: () => (client[method] = original) }
}

/** Access times are whole milliseconds. */
const nextMillisecond = () => {
  const now = Date.now()
  return until(() => Date.now() > now + 1)
}

/** When all that follows from what is settled now has run. */
const turn = () => new Promise((resolve) => setImmediate(resolve))

test('what a later write of the account is noting is not evicted by the answer of an earlier one', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url })
  const cache = client.createCache('a', { maxEntries: 1 })
  await cache.set('x', 1)
  await nextMillisecond()
  const account = holdAnswers(client, 'sendCommand')
  const evicting = cache.set('y', 1)
  await until(() => account.calls.length === 1)
  await account.calls[0].done
  await nextMillisecond()
  const again = cache.set('x', 2)
  await until(() => account.calls.length === 2)
  await account.calls[1].done
  // The server has noted x again. The client hears only now that it was evicted before.
  account.stop()
  account.calls[0].release()
  await evicting
  account.calls[1].release()
  await again
  t.is(await cache.get('x'), 2)
  t.deepEqual(await collect(cache.keys()), ['x'])
  t.is(await cache.size(), 1)
  t.is(cache.stats().errors, 0)
})

test('what is written again while its eviction waits stays', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url })
  const cache = client.createCache('a', { maxEntries: 1 })
  await cache.set('x', 1)
  await nextMillisecond()
  const account = holdAnswers(client, 'sendCommand')
  const writes = holdAnswers(client, 'pipelineSet')
  const evicting = cache.set('y', 1)
  await until(() => account.calls.length === 1)
  await account.calls[0].done
  account.calls[0].release()
  await turn()
  // x has left the account, and its deletion waits for the write of y.
  await nextMillisecond()
  const again = cache.set('x', 2)
  account.stop()
  writes.stop()
  for (const call of writes.calls) call.release()
  await Promise.all([evicting, again])
  t.is(await cache.get('x'), 2)
  t.deepEqual(await collect(cache.keys()), ['x'])
})

test('of many evicted ids a chunk is taken at a time, just before it is deleted', async (t) => {
  const evicted = new Evicted()
  for (let id = 0; id < 2500; id++) evicted.add(`${id}`)
  const taken = []
  await evicted.discard(async (take) => {
    taken.push(take())
    await turn()
    evicted.keep('2400')
  })
  t.deepEqual(taken.map((ids) => ids.length), [1000, 1000, 499])
  t.false(taken.flat().includes('2400'))
  t.is(evicted.size, 0)
})

onAll(test, 'what is written again while thousands are being evicted stays', async (t, client) => {
  const cache = client.createCache('a', { maxEntries: 10 })
  const deletion = client.batchDelete.bind(client)
  const again = []
  client.batchDelete = (keys, options) => {
    const outcome = deletion(keys, options)
    // Later ones of the same eviction are written again while the first go, and at a later moment than the ten that stay.
    for (const now = Date.now(); Date.now() <= now + 1; );
    if (again.length === 0) for (const { id } of numbered(5, 4000)) again.push(cache.set(id, 'again'))
    return outcome
  }
  await cache.setMany(numbered(5000))
  await Promise.all(again)
  t.is(again.length, 5)
  t.deepEqual(await cache.getMany(numbered(5, 4000).map(({ id }) => id)), Array(5).fill('again'))
  t.deepEqual([(await collect(cache.keys())).length, await cache.size()], [10, 10])
})

test('what could not be deleted waits, but for what was written meanwhile; of two deletions each has its own', async (t) => {
  const evicted = new Evicted()
  const gates = [deferred(), deferred()]
  const discard = (at) => evicted.discard(async (take) => {
    take()
    await gates[at].promise
  })
  for (const id of ['a', 'b']) evicted.add(id)
  const first = discard(0)
  evicted.keep('b')
  evicted.add('a')
  const second = discard(1)
  t.is(evicted.size, 0)
  gates[0].resolve()
  await first
  gates[1].reject(new Error('lost'))
  await t.throwsAsync(second, { message: 'lost' })
  const left = []
  await evicted.discard(async (take) => void left.push(...take()))
  t.deepEqual(left, ['a'])

  for (const id of ['c', 'd']) evicted.add(id)
  const failing = evicted.discard(async (take) => {
    take()
    evicted.keep('c')
    throw new Error('lost again')
  })
  await t.throwsAsync(failing, { message: 'lost again' })
  t.is(evicted.size, 1)
})

onAll(test, 'a local copy lets go of what was evicted, also of what was read while it was being deleted', async (t, client) => {
  const cache = client.createCache('a', { maxEntries: 1, local: { ttl: 600 } })
  await cache.set('x', 1)
  await nextMillisecond()
  const deletion = client.batchDelete.bind(client)
  const read = []
  client.batchDelete = async (keys, options) => {
    // It is there still, and so the local copy keeps it.
    read.push(await cache.get('x'))
    return deletion(keys, options)
  }
  await cache.set('y', 2)
  t.deepEqual(read, [1])
  t.is(await cache.get('x'), undefined)
  t.is(await cache.get('y'), 2)
})

test('the embedded store evicts once for all writes of one turn, which all wait for it', async (t) => {
  let begun = 0
  let ended = 0
  const left = []
  const discard = async (take) => {
    begun++
    left.push(...take())
    await turn()
    ended++
  }
  const account = new EmbeddedAccount(10, discard, async function* () {})
  await account.flush()
  const flushes = numbered(100).map(({ id }) => {
    account.add(id, 0)
    return account.flush().then(() => ended)
  })
  t.deepEqual(await Promise.all(flushes), Array(100).fill(1))
  t.is(begun, 1)
  t.deepEqual(left, numbered(90).map(({ id }) => id))
})

test('the embedded store looks again for the entries that were there where that failed', async (t) => {
  let scans = 0
  const left = []
  const scan = async function* () {
    yield ['old', 'gone']
    if (++scans === 1) throw new Error('closed')
  }
  const account = new EmbeddedAccount(2, async (take) => void left.push(...take()), scan)
  account.add('1', 0)
  await t.throwsAsync(account.flush(), { message: 'closed' })
  account.add('2', 0)
  await account.flush()
  t.deepEqual(left.sort(), ['gone', 'old'])
})

onAll(test, 'a client that closes evicts what is too much', async (t, client) => {
  const cache = client.createCache('a', { maxEntries: 10 })
  const calls = numbered(300).map(({ id, value }) => cache.set(id, value))
  await client.close()
  await Promise.all(calls)
  t.like(cache.stats(), { sets: 300, evictions: 290, errors: 0 })
  await client.connect()
  t.is((await collect(client.createCache('a').keys())).length, 10)
  t.is(await client.createCache('a').size(), 10)
})

onAll(test, 'a client that closes waits for its caches that close', async (t, client) => {
  const cache = client.createCache('a', { maxEntries: 10 })
  const calls = numbered(300).map(({ id, value }) => cache.set(id, value))
  await Promise.all([cache.close(), client.close(), ...calls])
  t.like(cache.stats(), { sets: 300, evictions: 290, errors: 0 })
  await client.connect()
  t.is((await collect(client.createCache('a').keys())).length, 10)
})

test('a client that closes waits for the eviction of an account that was written before', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url, keyPrefix: '', commandTimeoutMs: 60_000 })
  const cache = client.createCache('a', { maxEntries: 1 })
  await cache.set('x', 1)
  await nextMillisecond()
  const account = holdAnswers(client, 'sendCommand')
  const evicting = cache.set('y', 1)
  await until(() => account.calls.length === 1)
  await account.calls[0].done
  account.stop()
  const closing = client.close()
  await turn()
  await t.throwsAsync(client.sendCommand(['PING']), { code: 'CLOSED' })
  await t.throwsAsync(client.batchDelete(['cache:a:v1:y']), { code: 'CLOSED' })
  await cache.set('z', 1)
  account.calls[0].release()
  await Promise.all([closing, evicting])
  t.deepEqual(await server.cli('KEYS', 'cache:a:v1:*'), ['cache:a:v1:y'])
  t.deepEqual(await server.cli('ZRANGE', 'cache:{a:v1}#expiry', 0, -1), ['y'])
})

test('a client that closes notes and gives back also where the server has lost its scripts', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url, keyPrefix: '' })
  const cache = client.createCache('a', { maxEntries: 10, lockMs: 600_000 })
  // All scripts are with the server, and leave it.
  t.is(await cache.getOrSet('1', async () => 1), 1)
  await until(async () => (await server.cli('KEYS', '*#lock:*')).length === 0)
  const gate = deferred()
  const loading = cache.getOrSet('2', () => gate.promise)
  await until(async () => (await server.cli('KEYS', '*#lock:2')).length === 1)
  await server.cli('SCRIPT', 'FLUSH')
  const written = cache.set('3', 3)
  await client.close()
  await written
  t.deepEqual((await server.cli('ZRANGE', 'cache:{a:v1}#expiry', 0, -1)).sort(), ['1', '3'])
  t.deepEqual(await server.cli('KEYS', '*#lock:*'), [])
  t.is(cache.stats().errors, 0)
  gate.resolve(2)
  t.is(await loading, 2)
})

test('close() has its limit where the server does not answer, and the closed cache tries nothing more', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url, commandTimeoutMs: 500 })
  const cache = client.createCache('a', { maxEntries: 1, flushIntervalMs: 5 })
  await cache.set('x', 1)
  server.pause()
  try {
    const calls = [cache.set('y', 1), cache.set('z', 1)]
    await client.close()
    await Promise.all(calls)
  } finally {
    server.resume()
  }
  const { errors } = cache.stats()
  t.true(errors > 0)
  // Timers of 5 ms that are set by now have run before this one does.
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.is(cache.stats().errors, errors)
})
