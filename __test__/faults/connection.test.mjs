// FAULTS, connection and stream: what a network and a broken peer do.
import test from 'ava'
import rb from '../../index.js'
import { startServer } from '../support/server.js'
import { handshake, startPeer } from '../support/peer.js'
import { startProxy } from '../support/proxy.js'
import { codes, openClient, timed, unique, until } from '../support/work.js'

const { ConnectionError, TimeoutError } = rb

/** One call of each operation. */
const operations = {
  bulkLookup: (client) => client.bulkLookup('p:', ['a', 'b']),
  pipelineSet: (client) => client.pipelineSet([{ key: 'a', data: '1' }]),
  scanAll: (client) => client.scanAll('*'),
  batchDelete: (client) => client.batchDelete(['a']),
  sendCommand: (client) => client.sendCommand(['INCR', 'a']),
}

/** Answers look-ups with `v:` and the key. */
function echo(command, reply) {
  if (handshake(command, reply)) return true
  if (command[0] === 'MGET') reply(command.slice(1).map((key) => `v:${key}`))
  else reply(new Error(`ERR unknown command '${command[0]}'`))
  return false
}

test('FAULTS 1: a refused port is CONNECTION_REFUSED within connectTimeoutMs', async (t) => {
  // Nobody listens on port 1.
  const client = openClient(t, { host: '127.0.0.1', port: 1, connectTimeoutMs: 20_000, clientName: unique() })
  for (const [name, call] of [...Object.entries(operations), ['connect', (c) => c.connect()]]) {
    const { error, ms } = await timed(call(client))
    t.true(error instanceof ConnectionError, `${name}: ${error}`)
    t.is(error.code, 'CONNECTION_REFUSED', name)
    t.is(error.retryable, true, name)
    t.is(error.applied, false, name)
    t.true(error.cause instanceof Error, name)
    t.true(ms < 20_000, `${name} took ${ms} ms`)
  }
  const health = await client.health()
  t.like(health, { status: 'down', latencyMs: null, server: null })
})

test('FAULTS 2: a peer that never answers the handshake is CONNECT_TIMEOUT at connectTimeoutMs', async (t) => {
  const peer = await startPeer(t, () => {})
  const client = openClient(t, { url: peer.url, connectTimeoutMs: 300 })
  let calls = 0
  for (const [name, call] of [...Object.entries(operations), ['connect', (c) => c.connect()]]) {
    const { error, ms } = await timed(call(client))
    t.true(error instanceof TimeoutError, `${name}: ${error}`)
    t.like(error, { code: 'CONNECT_TIMEOUT', retryable: true, applied: false }, name)
    t.true(ms > 250 && ms < 15_000, `${name} took ${ms} ms`)
    calls++
  }
  // On a loaded machine a connection may be seen after the client has given it up.
  await peer.until((p) => p.connections >= calls)
  t.is(peer.connections, calls, 'one for each call')
})

test('FAULTS 3: silence after the handshake is TIMEOUT at commandTimeoutMs, and the next call gets a new connection', async (t) => {
  let silent = true
  const places = {}
  const peer = await startPeer(t, (command, reply, _socket, connection) => {
    ;(places[command[0]] ??= []).push(connection)
    if (command[0] === 'CLIENT' || !silent) echo(command, reply)
  })
  const client = openClient(t, { url: peer.url, commandTimeoutMs: 3000 })
  const lookup = await timed(client.bulkLookup('', ['a']))
  t.true(lookup.error instanceof TimeoutError, String(lookup.error))
  t.like(lookup.error, { code: 'TIMEOUT', retryable: true })
  t.true(lookup.ms > 2900 && lookup.ms < 15_000, `took ${lookup.ms} ms`)
  t.deepEqual(places.MGET, [0], 'a time limit is not extended by starting over')

  const write = await timed(client.sendCommand(['INCR', 'n']))
  t.like(write.error, { code: 'TIMEOUT', applied: 'unknown' })
  t.is(peer.count('INCR'), 1)
  t.deepEqual(places.INCR, [1], 'the silent connection was given up')

  silent = false
  t.deepEqual((await client.bulkLookup('', ['a', 'b'])).results, ['v:a', 'v:b'])
  t.deepEqual(places.MGET, [0, 2])
  await peer.until((p) => p.open === 1)
})

test('FAULTS 3: a write of many entries is accounted for when the server falls silent', async (t) => {
  let silent = false
  const peer = await startPeer(t, (command, reply) => {
    if (handshake(command, reply)) return
    if (!silent) reply({ simple: 'OK' })
    if (command[1] === 'k10') silent = true
  })
  const client = openClient(t, { url: peer.url, commandTimeoutMs: 3000 })
  const entries = codes(5000, 'k').map((key) => ({ key, data: key, ttl: 60 }))
  const { value: result, ms } = await timed(client.pipelineSet(entries))
  t.is(result.written, 11)
  t.is(result.failed, 4989)
  t.is(result.success, false)
  t.is(result.errors.length, 4989)
  t.is(new Set(result.errors.map((each) => each.index)).size, 4989)
  for (const each of result.errors) {
    if (each.code !== 'TIMEOUT' || each.key !== `k${each.index}`) t.fail(JSON.stringify(each))
  }
  const seen = new Set(peer.commands.filter((command) => command[0] === 'SET').map((command) => command[1]))
  const wrong = result.errors.filter((each) => each.applied !== 'unknown' && seen.has(each.key))
  t.deepEqual(wrong, [], 'what was sent is unknown')
  t.true(result.errors.some((each) => each.applied === false), 'what was never sent is known not to be applied')
  t.true(ms > 2900 && ms < 20_000, `${ms} ms`)
})

for (const attempts of [1, 3]) {
  test(`FAULTS 4: a peer that closes on each command is given up after retry.attempts = ${attempts}, with backoff`, async (t) => {
    const times = []
    const peer = await startPeer(t, (command, reply, socket) => {
      if (handshake(command, reply)) return
      times.push(performance.now())
      socket.destroy()
    })
    const client = openClient(t, { url: peer.url, retry: { attempts, baseDelayMs: 40, maxDelayMs: 200 } })
    const { error, ms } = await timed(client.bulkLookup('', ['a']))
    t.true(error instanceof ConnectionError, String(error))
    t.like(error, { code: 'CONNECTION_LOST', retryable: true })
    t.is(peer.count('MGET'), attempts)
    // One more may have been made for the next call already.
    t.true(peer.connections >= attempts && peer.connections <= attempts + 1, `${peer.connections} connections`)
    // Half of each wait is fixed, half random.
    times.slice(1).forEach((time, index) => t.true(time - times[index] >= 20 * 2 ** index - 2, `wait ${index}: ${time - times[index]} ms`))
    t.true(ms < 20_000)
    t.is(client.metrics().retries, attempts - 1)
  })
}

test('FAULTS 4: attempts count from the first one also on a connection that was up', async (t) => {
  let answering = true
  const peer = await startPeer(t, (command, reply, socket) => {
    if (answering || command[0] === 'CLIENT') echo(command, reply)
    else socket.destroy()
  })
  const client = openClient(t, { url: peer.url, retry: { attempts: 3, baseDelayMs: 5 } })
  t.deepEqual((await client.bulkLookup('', ['a'])).results, ['v:a'])
  answering = false
  const { error } = await timed(client.bulkLookup('', ['b']))
  t.is(error.code, 'CONNECTION_LOST')
  t.is(peer.commands.filter((command) => command[0] === 'MGET' && command[1] === 'b').length, 3)
})

test('FAULTS 4: attempts are for the call, not for each of its chunks', async (t) => {
  const peer = await startPeer(t, (command, reply, socket) => {
    if (!handshake(command, reply)) socket.destroy()
  })
  const client = openClient(t, { url: peer.url, retry: { attempts: 3, baseDelayMs: 5 } })
  const { error } = await timed(client.bulkLookup('', codes(10_000)))
  t.is(error.code, 'CONNECTION_LOST')
  t.true(peer.connections <= 4, `${peer.connections} connections were made`)
})

test('FAULTS 4: a peer that hangs up after each handshake is met with growing pauses, and found again when it stays', async (t) => {
  let stays = true
  const peer = await startPeer(t, (command, reply, socket) => {
    if (stays || command[2] !== 'LIB-VER') return echo(command, reply)
    reply({ simple: 'OK' })
    socket.end()
  })
  const client = openClient(t, { url: peer.url, retry: { baseDelayMs: 100 }, circuitBreaker: false })
  t.deepEqual((await client.bulkLookup('', ['a'])).results, ['v:a'])
  stays = false
  const before = peer.connections
  const start = performance.now()
  peer.drop()
  await peer.until((p) => p.connections >= before + 5)
  // Half of each wait is fixed, half random: 50, 100, 200, 400 and 500 ms at least. From the first one each time it is 500 at most.
  const ms = performance.now() - start
  t.true(ms >= 1200, `${ms} ms`)
  stays = true
  await until(async () => (await client.health()).state === 'ready')
  t.deepEqual((await client.bulkLookup('', ['a'])).results, ['v:a'])
})

test('FAULTS 5: a bulk string cut short, then closed, is CONNECTION_LOST; a write is unknown', async (t) => {
  const peer = await startPeer(t, (command, reply, socket) => {
    if (handshake(command, reply)) return
    if (command[0] === 'MGET') reply.raw('*2\r\n$1\r\na\r\n$5\r\nhel')
    else if (command[0] === 'SET' || command[0] === 'MSET') reply.raw('+O')
    else reply.raw('$5\r\nhel')
    socket.end()
  })
  const client = openClient(t, { url: peer.url, retry: { attempts: 1 } })
  const lookup = await timed(client.bulkLookup('', ['a', 'b']))
  t.true(lookup.error instanceof ConnectionError, String(lookup.error))
  t.like(lookup.error, { code: 'CONNECTION_LOST', retryable: true })
  const command = await timed(client.sendCommand(['GETSET', 'a', '1']))
  t.like(command.error, { code: 'CONNECTION_LOST', applied: 'unknown' })
  for (const ttl of [undefined, 60]) {
    const set = await client.pipelineSet([{ key: 'a', data: '1', ttl }])
    t.like(set, { success: false, written: 0, failed: 1 })
    t.like(set.errors[0], { index: 0, key: 'a', code: 'CONNECTION_LOST', applied: 'unknown', retryable: true })
  }
  t.is(peer.count('GETSET'), 1)
  const partial = await client.bulkLookup('', ['a', 'b'], { partial: true })
  t.deepEqual(partial.results, [null, null])
  t.is(partial.errors.length + partial.cacheHits + partial.cacheMisses, 2)
})

/** Each is an answer to MGET of one key, or to GET, that no server gives. */
const nonsense = {
  6: { title: 'a type byte that does not exist', answer: '!oops\r\n' },
  7: { title: '$abc as a length', answer: '$abc\r\n' },
  8: { title: 'an array nested 200,000 deep', answer: '*1\r\n'.repeat(200_000) },
}

for (const [row, { title, answer }] of Object.entries(nonsense)) {
  test(`FAULTS ${row}: ${title} is PROTOCOL, the connection is dropped, and the next call works`, async (t) => {
    const broken = new Set([0, 1, 2])
    const peer = await startPeer(t, (command, reply, _socket, connection) => {
      if (handshake(command, reply)) return
      if (broken.has(connection)) reply.raw(answer)
      else if (command[0] === 'MGET') reply(['fine'])
      else reply('fine')
    })
    const client = openClient(t, { url: peer.url, retry: { attempts: 1 }, commandTimeoutMs: 60_000 })
    for (const call of [() => client.sendCommand(['GET', 'a']), () => client.bulkLookup('', ['a']), () => client.bulkLookup('', ['a'], { strategy: 'script' })]) {
      const { error, ms } = await timed(call())
      t.true(error instanceof ConnectionError, String(error))
      t.is(error.code, 'PROTOCOL')
      t.true(ms < 30_000, 'by what came, not by the time limit')
    }
    t.deepEqual((await client.bulkLookup('', ['a'])).results, ['fine'])
    t.is(await client.sendCommand(['GET', 'a']), 'fine')
    t.is(peer.connections, 4, 'each broken one was dropped, the fine one was kept')
    await peer.until((p) => p.open === 1)
  })
}

for (const claim of ['$9223372036854775807\r\n', '*2147483647\r\n', '$4294967290\r\n', '*2147483647\r\n$4294967290\r\n', '*1\r\n$4294967290\r\n']) {
  test(`FAULTS 9: ${JSON.stringify(claim)} does not take the memory it claims`, async (t) => {
    let broken = true
    const peer = await startPeer(t, (command, reply) => {
      if (command[0] === 'CLIENT' || !broken) echo(command, reply)
      else reply.raw(claim)
    })
    const client = openClient(t, { url: peer.url, retry: { attempts: 1 }, commandTimeoutMs: 2000 })
    const before = process.memoryUsage.rss()
    for (const call of [() => client.sendCommand(['GET', 'a']), () => client.bulkLookup('', ['a']), () => client.scanAll('*')]) {
      const { error } = await timed(call())
      t.true(['PROTOCOL', 'TIMEOUT'].includes(error?.code), String(error))
    }
    const grown = process.memoryUsage.rss() - before
    // Other tests of this file run meanwhile; a claim believed would be gigabytes.
    t.true(grown < 300e6, `${grown / 1e6} MB`)
    broken = false
    t.deepEqual((await client.bulkLookup('', ['a'])).results, ['v:a'])
  })
}

test('FAULTS 10: one reply too many in the same packet never shifts later replies', async (t) => {
  const peer = await startPeer(t, (command, reply) => {
    if (handshake(command, reply)) return
    reply.raw(`*1\r\n$${command[1].length}\r\n${command[1]}\r\n*1\r\n$5\r\nwrong\r\n`)
  })
  const client = openClient(t, { url: peer.url, retry: { attempts: 1 } })
  for (let i = 0; i < 200; i++) {
    const { value, error } = await timed(client.bulkLookup('', [`code${i}`]))
    // A call that was sent just before the surplus was noticed may fail; it may not be given the surplus.
    if (error) t.is(error.code, 'PROTOCOL')
    else t.deepEqual(value.results, [`code${i}`])
  }
  t.true(peer.connections > 50, `${peer.connections} connections`)
})

test('FAULTS 10: a reply that came before the question was asked is never its answer', async (t) => {
  // All answers and one surplus in one packet: whoever is told of the first answer while the others are still being
  // read, and asks again at once, must not be given the surplus.
  const keys = codes(100)
  const batch = 40
  const array = (values) => `*${values.length}\r\n${values.map((value) => `$${value.length}\r\n${value}\r\n`).join('')}`
  const held = []
  const peer = await startPeer(t, (command, reply) => {
    if (handshake(command, reply)) return
    const answer = array(command.slice(1))
    if (command[1] !== 'c0' || command.length < 101) return void reply.raw(answer)
    held.push(answer)
    if (held.length === batch) reply.raw(held.splice(0).join('') + array(keys.map(() => 'wrong')))
  })
  let wrong = 0
  let surpluses = 0
  for (let round = 0; round < 40; round++) {
    const client = openClient(t, { url: peer.url, retry: { attempts: 1 }, clientName: unique() })
    await client.connect()
    const next = []
    await Promise.allSettled(
      Array.from({ length: batch }, async () => {
        await client.bulkLookup('', keys, { as: 'string' })
        next.push(timed(client.bulkLookup('next', keys, { as: 'string' })))
      }),
    )
    if (next.length === batch) surpluses++
    for (const { value } of await Promise.all(next)) if (value?.results.includes('wrong')) wrong++
    held.length = 0
    await client.close()
  }
  t.true(surpluses > 20, `${surpluses} rounds came to the surplus`)
  t.is(wrong, 0, `${wrong} look-ups were given a reply that nobody asked for`)
})

test('FAULTS 10: a reply out of the blue on an idle connection drops it', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url })
  await client.pipelineSet([{ key: 'a', data: 'right' }])
  proxy.inject('*1\r\n$5\r\nwrong\r\n')
  // The next connection is made at once.
  await proxy.until((p) => p.connections === 2 && p.open === 1)
  t.deepEqual((await client.bulkLookup('', ['a'])).results, ['right'])
  t.is(proxy.connections, 2)
})

test('FAULTS 11: replies byte by byte', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  proxy.fragment = 1
  const client = openClient(t, { url: proxy.url, db: 1, clientName: unique(), commandTimeoutMs: 60_000 })
  const entries = codes(60).map((key, index) => ({ key, data: index % 3 === 0 ? '' : `wert ${'ü☃😀'.repeat(index % 5)}\r\n${index}`, ttl: index % 2 ? 100 : undefined }))
  t.like(await client.pipelineSet(entries), { success: true, written: 60 })
  for (const strategy of ['mget', 'script']) {
    const lookup = await client.bulkLookup('', [...entries.map(({ key }) => key), 'missing'], { strategy, batchSize: 7 })
    t.deepEqual(lookup.results, [...entries.map(({ data }) => data), null], strategy)
  }
  t.deepEqual((await client.scanAll('c*', 10)).sort(), entries.map(({ key }) => key).sort())
  t.deepEqual(await client.sendCommand(['GET', 'c1']), entries[1].data)
  t.is(await client.batchDelete(entries.map(({ key }) => key), 9), 60)
  t.is(proxy.connections, 1)
})

test('FAULTS 12: a command that was carried out and lost its reply is not sent again', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, retry: { attempts: 5, baseDelayMs: 5 } })
  await client.connect()
  // Every reply to what counts or has a condition is lost, and the connection with it.
  const lose = (value) => typeof value === 'number' || value === 'OK'
  proxy.onReply = (reply) => {
    if (!lose(reply.value) || reply.index < 2) return reply.raw
    proxy.cut()
    return null
  }
  const incr = await timed(client.sendCommand(['INCR', 'n']))
  t.true(incr.error instanceof ConnectionError, String(incr.error))
  t.like(incr.error, { code: 'CONNECTION_LOST', applied: 'unknown' })

  const nx = await client.pipelineSet([{ key: 'nx', data: '1' }], { condition: 'nx' })
  t.like(nx, { success: false, written: 0, failed: 1 })
  t.like(nx.errors[0], { code: 'CONNECTION_LOST', applied: 'unknown' })

  await server.cli('MSET', 'd1', '1', 'd2', '1')
  const report = await client.batchDelete(['d1', 'd2'], { report: true })
  t.like(report, { deleted: 0, failed: 2 })
  t.deepEqual(report.errors.map((each) => each.applied), ['unknown', 'unknown'])
  await server.cli('MSET', 'd1', '1', 'd2', '1')
  const deleted = await timed(client.batchDelete(['d1', 'd2']))
  t.true(deleted.error instanceof rb.BulkError, String(deleted.error))
  t.like(deleted.error, { code: 'CONNECTION_LOST', applied: 'unknown' })
  t.is(deleted.error.report.failed, 2)

  proxy.onReply = null
  t.is(await client.sendCommand(['GET', 'n']), '1')
  t.is(proxy.count('INCR'), 1)
  t.is(proxy.commands.filter((command) => command[0] === 'SET' && command[1] === 'nx').length, 1)
  t.is(await server.cli('GET', 'n'), '1')
})

test('FAULTS 12: the same with a reply that never comes: TIMEOUT, unknown, once', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, commandTimeoutMs: 3000 })
  await client.connect()
  proxy.onReply = (reply) => (typeof reply.value === 'number' ? null : reply.raw)
  const incr = await timed(client.sendCommand(['INCR', 'n']))
  t.true(incr.error instanceof TimeoutError, String(incr.error))
  t.like(incr.error, { code: 'TIMEOUT', applied: 'unknown' })
  proxy.onReply = null
  t.is(await client.sendCommand(['GET', 'n']), '1')
  t.is(proxy.count('INCR'), 1)
})

test('FAULTS 12: a plain SET and a look-up whose reply is lost are repeated, and callers see nothing', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, retry: { attempts: 3, baseDelayMs: 5 } })
  await client.connect()
  let lose = 1
  proxy.onReply = (reply) => {
    if (reply.index < 2 || lose === 0) return reply.raw
    lose--
    proxy.cut()
    return null
  }
  t.like(await client.pipelineSet([{ key: 'a', data: '1', ttl: 60 }]), { success: true, written: 1 })
  lose = 1
  t.deepEqual((await client.bulkLookup('', ['a'])).results, ['1'])
  t.is(lose, 0)
  t.is(client.metrics().reconnects, 2)
})

for (const condition of [undefined, 'nx']) {
  test(`FAULTS 13: CLIENT KILL in the middle of 10,000 SETs${condition ? ` with ${condition}` : ''}`, async (t) => {
    const server = await startServer(t)
    const proxy = await startProxy(t, server)
    const client = openClient(t, { url: proxy.url, retry: { attempts: 5, baseDelayMs: 10 } })
    await client.connect()
    let sets = 0
    let killed
    proxy.onCommand = (command) => {
      if (command[0] === 'SET' && ++sets === 3500) killed = server.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      return command.raw
    }
    // However fast the server is, some of what it did by then is not known: the first connection’s later replies are lost.
    proxy.onReply = (reply, connection) => (connection === 0 && sets >= 3500 ? null : reply.raw)
    const entries = codes(10_000, 'k').map((key) => ({ key, data: `v${key}`, ttl: 1000 }))
    const result = await client.pipelineSet(entries, { condition })
    t.true((await killed) >= 1)
    t.is(result.written + result.failed, 10_000)
    t.is(result.errors.length, result.failed)
    t.is(new Set(result.errors.map((each) => each.index)).size, result.failed)
    t.deepEqual(new Set(result.errors.map((each) => each.applied).filter((applied) => applied !== 'unknown' && applied !== false)), new Set())
    if (condition) t.true(result.failed > 0, 'something was lost on the way')
    else t.is(result.failed, 0, 'plain SETs are repeated')
    const failed = new Map(result.errors.map((each) => [each.index, each]))
    const there = await server.cli('MGET', ...entries.map(({ key }) => key))
    const missing = entries.filter(({ data }, index) => !failed.has(index) && there[index] !== data)
    t.deepEqual(missing, [], 'all that count as done are there')
    const impossible = entries.filter((_, index) => failed.get(index)?.applied === false && there[index] !== null)
    t.deepEqual(impossible, [], 'nothing that counts as not applied is there')
    t.deepEqual((await client.bulkLookup('', ['k9999'])).results, [there[9999]])
  })
}

test('FAULTS 14: a server that stands still is TIMEOUT on time, and late answers reach nobody', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, commandTimeoutMs: 60_000 })
  await client.pipelineSet(codes(100).map((key) => ({ key, data: `v:${key}` })))
  server.pause()
  const late = await Promise.all(codes(50).map((code) => timed(client.bulkLookup('', [code], { timeoutMs: 200 }))))
  for (const { error, ms } of late) {
    t.true(error instanceof TimeoutError, String(error))
    t.is(error.code, 'TIMEOUT')
    t.true(ms > 150 && ms < 15_000, `${ms} ms`)
  }
  // These wait behind the ones that were given up, on the same connection.
  const waiting = codes(100).slice(50).map((code) => client.bulkLookup('', [code]))
  const counted = client.sendCommand(['STRLEN', 'c7'])
  server.resume()
  t.deepEqual((await Promise.all(waiting)).map(({ results }) => results[0]), codes(100).slice(50).map((code) => `v:${code}`))
  t.is(await counted, 4)
  t.is(proxy.connections, 1, 'each late answer was dropped by count')
})

test('FAULTS 14: CLIENT PAUSE ends in TIMEOUT at commandTimeoutMs', async (t) => {
  const server = await startServer(t)
  const client = openClient(t, { url: server.url, commandTimeoutMs: 3000 })
  await client.pipelineSet([{ key: 'a', data: '1' }])
  await server.cli('CLIENT', 'PAUSE', '100000', 'WRITE')
  t.deepEqual((await client.bulkLookup('', ['a'])).results, ['1'])
  const { error, ms } = await timed(client.sendCommand(['INCR', 'a']))
  t.like(error, { code: 'TIMEOUT', applied: 'unknown' })
  t.true(ms > 2900 && ms < 20_000, `${ms} ms`)
  await server.cli('CLIENT', 'UNPAUSE')
  t.deepEqual((await client.bulkLookup('', ['b'])).results, [null])
})

test('FAULTS 3: on a connection that was up, TIMEOUT comes once, at commandTimeoutMs', async (t) => {
  let silent = false
  const peer = await startPeer(t, (command, reply) => {
    if (command[0] === 'CLIENT' || !silent) echo(command, reply)
  })
  const client = openClient(t, { url: peer.url, commandTimeoutMs: 5000 })
  await client.bulkLookup('', ['a'])
  silent = true
  const { error, ms } = await timed(client.bulkLookup('', ['b']))
  t.is(error?.code, 'TIMEOUT')
  t.is(peer.commands.filter((command) => command[0] === 'MGET' && command[1] === 'b').length, 1)
  t.true(ms > 4900 && ms < 9900, `${ms} ms: a time limit is not extended by starting over`)
})

test('FAULTS 14: timeoutMs bounds a small look-up on a connection that was up', async (t) => {
  let silent = false
  const peer = await startPeer(t, (command, reply) => {
    if (command[0] === 'CLIENT' || !silent) echo(command, reply)
  })
  const client = openClient(t, { url: peer.url, commandTimeoutMs: 30_000 })
  await client.bulkLookup('', ['a'])
  silent = true
  const { error, ms } = await timed(client.bulkLookup('', ['b'], { timeoutMs: 1500 }))
  t.is(error?.code, 'TIMEOUT')
  t.is(peer.commands.filter((command) => command[0] === 'MGET' && command[1] === 'b').length, 1)
  t.true(ms > 1400 && ms < 15_000, `${ms} ms`)
  peer.drop()
})

test('FAULTS 16: a half-open connection is noticed by its timeout', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, commandTimeoutMs: 3000 })
  t.is((await client.pipelineSet([{ key: 'a', data: '1' }])).written, 1)
  // From now on nothing passes on the first connection, in either direction.
  const half = proxy.connections - 1
  proxy.onCommand = (command, connection) => (connection <= half ? null : command.raw)
  const { error, ms } = await timed(client.bulkLookup('', ['a']))
  t.is(error?.code, 'TIMEOUT')
  t.true(ms > 2900 && ms < 20_000, `${ms} ms`)
  t.deepEqual((await client.bulkLookup('', ['a'])).results, ['1'])
  t.is(proxy.connections, half + 2)
})
