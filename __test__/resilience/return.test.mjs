// The end of an outage: what was done without the server is done there, before anything else and exactly.
import test from 'ava'
import { handshake, startPeer } from '../support/peer.js'
import { startServer } from '../support/server.js'
import { startProxy } from '../support/proxy.js'
import { codes, openClient, randomFrom, timed, until } from '../support/work.js'

const isBack = (client) => until(async () => (await client.health()).servedFrom === 'redis', 60_000)

/** A client with a fallback behind a proxy, connected. */
async function setUp(t, options = {}, serverOptions = {}) {
  const server = await startServer(t, serverOptions)
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, fallback: true, retry: { baseDelayMs: 5 }, ...options })
  await client.connect()
  return {
    server,
    proxy,
    client,
    /** Takes the server away; the first call notices it. */
    async away() {
      proxy.refuse()
      proxy.cut()
      await client.bulkLookup('', ['nothing'])
      t.is((await client.health()).servedFrom, 'memory')
      proxy.commands.length = 0
    },
    async back() {
      proxy.accept()
      await isBack(client)
    },
  }
}

/** Everything that the server holds: `{ key: [value, ttl in ms or -1] }`. */
async function contents(server) {
  const keys = await server.cli('KEYS', '*')
  const held = {}
  for (const key of keys) held[key] = [await server.cli('GET', key), await server.cli('PTTL', key)]
  return held
}

test('writes and deletions of the outage, with the time to live that is left, and nothing that was deleted', async (t) => {
  const { server, client, away, back } = await setUp(t)
  await server.cli('MSET', 'deleted', 'old', 'written', 'old', 'untouched', 'old', 'both', 'old', 'brief', 'old', 'unmet', 'old')
  await away()
  const start = performance.now()
  await client.pipelineSet([
    { key: 'written', data: 'new' },
    { key: 'ttl', data: { a: 1 }, ttl: 500 },
    { key: 'brief', data: 'soon gone', ttl: 0.02 },
    { key: 'both', data: 'for a moment' },
    { key: 'binary', data: Buffer.from([0, 255, 13, 10, 0]) },
    { key: 'empty', data: '' },
    { key: 'unikey ☃\n', data: 'ü' },
  ])
  await client.batchDelete(['deleted', 'both', 'never there'])
  await client.pipelineSet([{ key: 'unmet', data: 'new' }], { condition: 'xx' })
  await client.pipelineSet([{ key: 'met', data: 'new' }], { condition: 'nx' })
  await client.sendCommand(['EXPIRE', 'untouched', 5])
  await until(async () => (await client.bulkLookup('', ['brief'])).results[0] === null)
  await back()
  const held = await contents(server)
  const passed = performance.now() - start
  const left = held.ttl?.[1]
  t.true(left <= 500_000 && left >= 500_000 - passed - 50, `${left} ms are left after ${passed}`)
  t.deepEqual(held, {
    written: ['new', -1],
    ttl: ['{"a":1}', left],
    binary: [held.binary?.[0], -1],
    empty: ['', -1],
    'unikey ☃\n': ['ü', -1],
    untouched: ['old', -1],
    unmet: ['old', -1],
    met: ['new', -1],
  })
  t.deepEqual(await server.cliBuffer('GET', 'binary'), Buffer.from([0, 255, 13, 10, 0]))
  t.deepEqual((await client.bulkLookup('', ['deleted', 'written', 'both', 'brief'])).results, [null, 'new', null, null])
})

test('in the order of time, and before the first ordinary command', async (t) => {
  const { server, proxy, client, away, back } = await setUp(t)
  await server.cli('MSET', 'a', 'old', 'b', 'old', 'c', 'old', 'd', 'old')
  await away()
  await client.pipelineSet([{ key: 'a', data: '1' }])
  await client.batchDelete(['b'])
  await client.pipelineSet([{ key: 'c', data: '1', ttl: 900 }])
  await client.batchDelete(['d'])
  await client.pipelineSet([{ key: 'a', data: '2' }])
  // Callers that ask all the time, so that one of them would be the first if it could.
  let asking = true
  const seen = []
  const callers = Array.from({ length: 20 }, async () => {
    while (asking) {
      const values = (await client.bulkLookup('', ['a', 'b', 'c', 'd'])).results
      if (String(values) !== '2,,1,') seen.push(values)
      await new Promise((resolve) => setImmediate(resolve))
    }
  })
  await back()
  await proxy.until((p) => p.count('MGET') > 20)
  asking = false
  await Promise.all(callers)
  t.deepEqual(seen, [], 'nobody saw anything older')
  const names = proxy.commands.map((command) => (command[0] === 'SET' || command[0] === 'UNLINK' ? `${command[0]} ${command[1]}` : command[0]))
  // INFO is what health() asks.
  const ordinary = names.findIndex((name) => name === 'MGET' || name === 'INFO')
  const before = names.slice(0, ordinary).filter((name) => name !== 'CLIENT' && name !== 'PING')
  t.deepEqual(before, ['UNLINK b', 'SET c', 'UNLINK d', 'SET a'])
  t.deepEqual(names.slice(ordinary).filter((name) => /^(SET|UNLINK)/.test(name)), [])
})

test('100,000 changes, while 20 callers go on reading and writing', async (t) => {
  const { server, client, away, back } = await setUp(t, { commandTimeoutMs: 60_000 })
  await away()
  const keys = codes(100_000, 'k')
  for (const key of ['x', 'y']) await client.pipelineSet([{ key, data: '1' }])
  await client.pipelineSet(keys.map((key) => ({ key, data: key, ttl: 1000 })))
  await client.batchDelete(keys.filter((_, index) => index % 4 === 0))
  let writing = true
  const last = []
  const callers = Array.from({ length: 20 }, async (_, caller) => {
    for (let count = 0; writing; count++) {
      await client.pipelineSet([{ key: `caller${caller}`, data: String(count) }])
      last[caller] = String(count)
      const [value] = (await client.bulkLookup('', [`caller${caller}`])).results
      if (value !== String(count)) t.fail(`wrote ${count}, read ${value}`)
      await new Promise((resolve) => setImmediate(resolve))
    }
  })
  await back()
  writing = false
  await Promise.all(callers)
  t.deepEqual(await server.cli('MGET', ...callers.map((_, caller) => `caller${caller}`)), last)
  t.is(await server.cli('DBSIZE'), 75_000 + 22)
  for (let from = 0; from < keys.length; from += 10_000) {
    const there = await server.cli('MGET', ...keys.slice(from, from + 10_000))
    t.true(there.every((value, index) => value === ((from + index) % 4 === 0 ? null : keys[from + index])))
  }
})

test('a way back that breaks off is gone again from where it was', async (t) => {
  const { server, proxy, client, away, back } = await setUp(t)
  const keys = codes(3000, 'k')
  await server.cli('MSET', ...keys.flatMap((key) => [key, 'old']))
  await away()
  await client.pipelineSet(keys.slice(0, 2000).map((key) => ({ key, data: 'new', ttl: 1000 })))
  await client.batchDelete(keys.slice(2000))
  let cuts = 0
  let sets = 0
  proxy.onCommand = (command) => {
    if ((command[0] === 'SET' || command[0] === 'UNLINK') && ++sets % 700 === 0 && cuts < 4) {
      cuts++
      // Carried out, but the answer is lost.
      setImmediate(() => proxy.cut())
    }
    return command.raw
  }
  const meanwhile = keys[0]
  proxy.accept()
  await proxy.until(() => cuts === 2)
  await client.pipelineSet([{ key: meanwhile, data: 'newest' }])
  await client.batchDelete([keys[1]])
  await back()
  t.is(cuts, 4)
  const there = await server.cli('MGET', ...keys)
  t.deepEqual(there, keys.map((_, index) => (index === 0 ? 'newest' : index === 1 || index >= 2000 ? null : 'new')))
})

test('more keys than are remembered: those that are forgotten are gone, no other is', async (t) => {
  const { server, client, away, back } = await setUp(t, { fallback: { maxBytes: 64 * 1024 } })
  const keys = codes(5000, 'user:')
  await server.cli('MSET', ...keys.flatMap((key) => [key, 'old']), 'user:else', 'old', 'other', 'old')
  await server.cli('MSET', ...codes(3000, 'user:untouched').flatMap((key) => [key, 'old']))
  await away()
  await client.pipelineSet(keys.slice(0, 4000).map((key) => ({ key, data: 'new' })))
  await client.batchDelete(keys.slice(4000))
  await back()
  const there = await server.cli('MGET', ...keys)
  const stale = keys.filter((_, index) => there[index] === 'old')
  t.deepEqual(stale, [])
  t.deepEqual(there.slice(4000), Array(1000).fill(null))
  t.deepEqual(await server.cli('MGET', 'user:else', 'other'), ['old', 'old'])
  const others = await server.cli('MGET', ...codes(3000, 'user:untouched'))
  t.true(others.filter((value) => value === 'old').length >= 2990, 'hardly another is taken for one of them')
})

test('a connection whose server has become a replica is left for one to the primary', async (t) => {
  // The address leads to the old primary first, which follows another one by now.
  let away = false
  let replica
  const peer = await startPeer(t, (command, reply, socket, connection) => {
    if (away) return socket.destroy()
    if (handshake(command, reply)) return
    if (command[0] === 'MGET') return reply(command.slice(1).map(() => null))
    replica ??= connection
    if (connection === replica) return reply(new Error("READONLY You can't write against a read only replica."))
    reply({ simple: 'OK' })
  })
  const client = openClient(t, { url: peer.url, fallback: true, circuitBreaker: false, retry: { baseDelayMs: 20, attempts: 1 } })
  await client.connect()
  away = true
  peer.drop()
  await until(async () => {
    await client.bulkLookup('', ['a'])
    return (await client.health()).servedFrom === 'memory'
  })
  t.true((await client.pipelineSet([{ key: 'a', data: '1' }])).success)
  away = false
  await isBack(client)
  const writes = peer.commands.filter((command) => command[0] === 'SET')
  t.true(writes.length >= 2, 'once to the replica, once to the primary')
  t.not(replica, undefined)
})

test('FLUSHDB during the outage empties the database on return, and what came after it stays', async (t) => {
  const { server, client, away, back } = await setUp(t)
  await server.cli('MSET', 'a', 'old', 'b', 'old')
  await away()
  await client.pipelineSet([{ key: 'c', data: 'before' }])
  await client.sendCommand(['FLUSHDB'])
  await client.pipelineSet([{ key: 'a', data: 'after' }])
  await back()
  t.deepEqual(await contents(server), { a: ['after', -1] })
})

test('what the server does not take is deleted there rather than left as it was', async (t) => {
  const { server, client, away, back } = await setUp(t)
  const changes = []
  client.on('state', (change) => changes.push(change))
  await server.cli('MSET', 'a', 'old', 'b', 'old')
  await away()
  await client.pipelineSet([{ key: 'a', data: 'new' }])
  await client.batchDelete(['b'])
  await server.cli('CONFIG', 'SET', 'maxmemory', '1')
  await back()
  await server.cli('CONFIG', 'SET', 'maxmemory', '0')
  t.deepEqual(await contents(server), {})

  await server.cli('MSET', 'a', 'old', 'b', 'old')
  await away()
  await client.pipelineSet([{ key: 'a', data: 'new' }, { key: 'free', data: 'new' }])
  await server.cli('ACL', 'SETUSER', 'default', 'resetkeys', '~free')
  await back()
  await server.cli('ACL', 'SETUSER', 'default', 'allkeys')
  t.deepEqual(await contents(server), { a: ['old', -1], b: ['old', -1], free: ['new', -1] })
  await until(() => changes.some(({ to, reason }) => to === 'ready' && /did not take 1 of the changes: NOPERM/.test(reason ?? '')))
})

test('random work during outages: afterwards the server holds what a model says', async (t) => {
  const { server, client, away, back } = await setUp(t)
  const random = randomFrom(20_261_120)
  const pick = (count) => Math.floor(random() * count)
  /** Key → [value, expires]. */
  const model = new Map()
  const apply = async () => {
    const key = `k${pick(40)}`
    const value = `v${pick(1e6)}`
    const ttl = pick(3) === 0 ? 100 + pick(1000) : undefined
    const condition = [undefined, undefined, 'nx', 'xx'][pick(4)]
    switch (pick(8)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const { written } = await client.pipelineSet([{ key, data: value, ttl }], { condition })
        if (written) model.set(key, [value, ttl !== undefined])
        break
      }
      case 4:
        await client.batchDelete([key, `k${pick(40)}`].map((each) => (model.delete(each), each)))
        break
      case 5: {
        const n = await client.sendCommand(['INCRBY', `n${pick(3)}`, pick(10)])
        if (typeof n !== 'number') t.fail(String(n))
        break
      }
      case 6:
        if ((await client.sendCommand(['PERSIST', key])) === 1) model.set(key, [model.get(key)[0], false])
        break
      default: {
        const [read] = (await client.bulkLookup('', [key])).results
        // What was there before the outage is a miss in it.
        if (read !== null && read !== model.get(key)?.[0]) t.fail(`${key}: ${read}, the model says ${model.get(key)}`)
      }
    }
  }
  for (let outage = 0; outage < 8; outage++) {
    for (let step = 0; step < 60; step++) await apply()
    await away()
    for (let step = 0; step < 250; step++) await apply()
    await back()
    const held = await contents(server)
    for (const key of Object.keys(held)) if (key.startsWith('n')) delete held[key]
    const expected = Object.fromEntries([...model].map(([key, [value, expires]]) => [key, [value, expires]]))
    t.deepEqual(Object.fromEntries(Object.entries(held).map(([key, [value, ttl]]) => [key, [value, ttl !== -1]])), expected, `outage ${outage}`)
  }
})

test('a server that is killed and started again under 50 callers: nobody is rejected, and nothing differs from the model', async (t) => {
  const server = await startServer(t, { args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  const client = openClient(t, { url: server.url, fallback: true, clientName: `killed-${process.pid}`, retry: { baseDelayMs: 10 } })
  await client.connect()
  const random = randomFrom(15)
  const rejected = []
  const wrong = []
  let working = true
  const models = Array.from({ length: 50 }, () => new Map())
  const callers = models.map(async (model, caller) => {
    const key = () => `c${caller}:${Math.floor(random() * 20)}`
    for (let count = 0; working; count++) {
      try {
        switch (Math.floor(random() * 4)) {
          case 0: {
            const entries = Array.from({ length: 5 }, () => ({ key: key(), data: `${count}`, ttl: random() < 0.5 ? 1000 : undefined }))
            const result = await client.pipelineSet(entries)
            if (!result.success) wrong.push(result.errors)
            for (const { key, data } of entries) model.set(key, data)
            break
          }
          case 1: {
            const keys = [key(), key()]
            await client.batchDelete(keys)
            for (const each of keys) model.delete(each)
            break
          }
          case 2: {
            const keys = [...model.keys()]
            const { results } = await client.bulkLookup('', keys)
            results.forEach((value, index) => {
              // A miss may be one of the memory's; another value may not.
              if (value !== null && value !== model.get(keys[index])) wrong.push([keys[index], value, model.get(keys[index])])
            })
            break
          }
          default:
            await client.scanAll(`c${caller}:*`)
        }
      } catch (error) {
        rejected.push(error)
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
  })
  // RB_KILL_MS: a longer run by hand.
  const end = Date.now() + Number(process.env.RB_KILL_MS ?? 0)
  for (let round = 0; round < 3 || Date.now() < end; round++) {
    await server.kill()
    await until(async () => (await client.health()).servedFrom === 'memory', 60_000)
    const { commands } = client.metrics()
    await until(() => client.metrics().commands > commands + 200, 60_000)
    await server.start()
    await isBack(client)
    const after = client.metrics().commands
    await until(() => client.metrics().commands > after + 200, 60_000)
  }
  working = false
  await Promise.all(callers)
  t.deepEqual(rejected, [])
  t.deepEqual(wrong, [])
  const held = await contents(server)
  const expected = Object.fromEntries(models.flatMap((model) => [...model]))
  t.deepEqual(Object.fromEntries(Object.entries(held).map(([key, [value]]) => [key, value])), expected)
})

test('connections cut at random under load: nobody is rejected, and nothing differs from the model', async (t) => {
  const { server, proxy, client } = await setUp(t)
  const random = randomFrom(16)
  const rejected = []
  let working = true
  const models = Array.from({ length: 20 }, () => new Map())
  const callers = models.map(async (model, caller) => {
    for (let count = 0; working; count++) {
      const entries = codes(1 + Math.floor(random() * 50), `c${caller}:`).map((key) => ({ key, data: `${count}`, ttl: 1000 }))
      const { value, error } = await timed(client.pipelineSet(entries))
      if (error || !value.success) rejected.push(error ?? value.errors)
      for (const { key, data } of entries) model.set(key, data)
      const gone = [entries[0].key]
      const deleted = await timed(client.batchDelete(gone))
      if (deleted.error) rejected.push(deleted.error)
      model.delete(gone[0])
      await new Promise((resolve) => setImmediate(resolve))
    }
  })
  for (let cut = 0; cut < 15; cut++) {
    const { commands } = client.metrics()
    await until(() => client.metrics().commands > commands + 40, 60_000)
    if (cut % 5 === 4) {
      proxy.refuse()
      proxy.cut()
      await until(async () => (await client.health()).servedFrom === 'memory', 60_000)
      proxy.accept()
    } else {
      proxy.cut()
    }
  }
  await isBack(client)
  working = false
  await Promise.all(callers)
  await isBack(client)
  t.deepEqual(rejected, [])
  const held = await contents(server)
  const expected = Object.fromEntries(models.flatMap((model) => [...model]))
  t.deepEqual(Object.fromEntries(Object.entries(held).map(([key, [value]]) => [key, value])), expected)
})
