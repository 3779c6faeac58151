// What real nodes say rarely or never: endless redirects, addresses that lead nowhere, a command torn from its ASKING.
import test from 'ava'
import rb from '../../index.js'
import { handshake, startPeer } from '../support/peer.js'
import { connect } from '../support/resp.js'
import { codes, openClient, timed, unique, until } from '../support/work.js'

const { ReplyError } = rb

/** In the upper half. */
const slotOfA = 15495

/**
 * Peers that call themselves a cluster, the slots shared out evenly; `answer(at, command, reply)` plays node `at`, and says
 * whether it did. Keys are `v:` and their name.
 */
async function startPeers(t, count, answer = () => false, announce = (peer) => [peer.host, peer.port]) {
  const peers = []
  const slots = () => peers.map((peer, at) => [Math.ceil((at * 16384) / count), Math.ceil(((at + 1) * 16384) / count) - 1, [...announce(peer), `id${at}`]])
  for (let at = 0; at < count; at++) {
    peers.push(
      await startPeer(t, (command, reply) => {
        if (answer(at, command, reply) || handshake(command, reply)) return
        if (command[0] === 'CLUSTER' && command[1] === 'SLOTS') reply(slots())
        else if (command[0] === 'MGET') reply(command.slice(1).map((key) => `v:${key}`))
        else if (command[0] === 'SET') reply({ simple: 'OK' })
        else if (command[0] === 'ASKING') reply({ simple: 'OK' })
        else reply(new Error(`ERR unknown command '${command[0]}'`))
      }),
    )
  }
  return peers
}

const seeds = (peers) => peers.map((peer) => `${peer.host}:${peer.port}`)

function connected(t, peers, { cluster, ...options } = {}) {
  return openClient(t, { cluster: { nodes: seeds(peers), ...cluster }, clientName: unique(), ...options })
}

/** Connections to `peers`, whatever they announce, stay with them. */
const at = (peer) => `${peer.host}:${peer.port}`

test('FAULTS 19: nodes that send a key to each other: 16 hops, then the server’s error stands', async (t) => {
  const peers = await startPeers(t, 2, (node, command, reply) => {
    if (!['MGET', 'SET', 'INCR', 'UNLINK'].includes(command[0])) return false
    reply(new Error(`MOVED ${slotOfA} ${at(peers[1 - node])}`))
    return true
  })
  const count = (name) => peers[0].count(name) + peers[1].count(name)
  const client = connected(t, peers)
  const error = await t.throwsAsync(client.sendCommand(['INCR', 'a']), { instanceOf: ReplyError })
  t.like(error, { code: 'MOVED', applied: false })
  t.is(count('INCR'), 17)
  const lookup = await t.throwsAsync(client.bulkLookup('', ['a']), { instanceOf: ReplyError })
  t.is(lookup.code, 'MOVED')
  t.true(count('MGET') <= 17, `${count('MGET')} times`)
  const set = await client.pipelineSet([{ key: 'a', data: 1 }])
  t.like(set, { written: 0, failed: 1 })
  t.like(set.errors[0], { code: 'MOVED', applied: false })
  t.true(count('SET') <= 17, `${count('SET')} times`)
  const report = await client.batchDelete(['a'], { report: true })
  t.like(report.errors[0], { code: 'MOVED', applied: false })
  t.true(count('UNLINK') <= 17, `${count('UNLINK')} times`)
  const { error: late, ms } = await timed(client.bulkLookup('', codes(300), { timeoutMs: 300 }))
  t.truthy(late)
  t.true(ms < 10_000, `${ms} ms`)
})

test('FAULTS 19: ASKING stands right before its command, whoever else writes meanwhile', async (t) => {
  let follows
  const peers = await startPeers(t, 2, (node, command, reply) => {
    if (command[0] !== 'SET' && command[0] !== 'MGET') return false
    if (node === 1 && command[1].startsWith('{a}')) {
      // The slot of the tag is on its way.
      reply(new Error(`ASK ${slotOfA} ${at(peers[0])}`))
      return true
    }
    if (command[1].startsWith('{a}')) {
      const before = peers[0].commands.at(-2)
      follows ??= true
      follows &&= before[0] === 'ASKING'
    }
    return false
  })
  const client = connected(t, peers)
  const all = [...codes(200, '{a}'), ...codes(200)]
  for (let round = 0; round < 5; round++) {
    const [set, found] = await Promise.all([
      client.pipelineSet(all.map((key) => ({ key, data: 'x', ttl: 10 }))),
      client.bulkLookup('', all),
      ...codes(50).map((code) => client.bulkLookup('', [code])),
    ])
    t.like(set, { written: 400, failed: 0 })
    t.deepEqual(
      found.results,
      all.map((key) => `v:${key}`),
    )
  }
  t.is(follows, true)
})

test('TRYAGAIN and CLUSTERDOWN are waited for, item by item; what was answered is not asked again', async (t) => {
  let refusals = 6
  const peers = await startPeers(t, 2, (node, command, reply) => {
    if (node === 1 && (command[0] === 'MGET' || command[0] === 'SET') && refusals-- > 0) {
      reply(new Error(refusals % 2 ? 'TRYAGAIN Multiple keys request during rehashing of slot' : 'CLUSTERDOWN The cluster is down'))
      return true
    }
    return false
  })
  const client = connected(t, peers, { retry: { baseDelayMs: 5, maxDelayMs: 20 } })
  const all = codes(300)
  const set = await client.pipelineSet(all.map((key) => ({ key, data: 'x', ttl: 5 })))
  t.is(set.written, 300)
  refusals = 6
  t.deepEqual(
    (await client.bulkLookup('', all)).results,
    all.map((key) => `v:${key}`),
  )
  const sets = [...peers[0].commands, ...peers[1].commands].filter(([name]) => name === 'SET')
  t.true(sets.length <= 300 + 6, `${sets.length} SETs`)
  // For as long as a round trip may take, and no longer.
  refusals = Infinity
  const short = connected(t, peers, { commandTimeoutMs: 3000, retry: { baseDelayMs: 5, maxDelayMs: 20 } })
  const partial = await short.bulkLookup('', all, { partial: true })
  t.true(partial.errors.length > 50 && partial.errors.every(({ code, retryable }) => /TRYAGAIN|CLUSTERDOWN/.test(code) && retryable))
  t.is(partial.cacheHits + partial.errors.length, 300)
  const whole = await t.throwsAsync(short.bulkLookup('', all), { instanceOf: ReplyError })
  t.true(whole.retryable)
})

test('announced addresses that lead nowhere from here are mapped by natMap', async (t) => {
  const peers = await startPeers(t, 3, undefined, (peer) => ['10.255.255.1', peer.port])
  const natMap = Object.fromEntries(peers.map((peer) => [`10.255.255.1:${peer.port}`, at(peer)]))
  const client = connected(t, peers.slice(0, 1), { cluster: { nodes: [at(peers[0])], natMap } })
  const all = codes(300)
  t.deepEqual(
    (await client.bulkLookup('', all)).results,
    all.map((key) => `v:${key}`),
  )
  t.true(peers.every((peer) => peer.count('MGET') > 0))
  t.deepEqual(
    (await client.health()).nodes.map(({ address, role }) => [address, role]),
    seeds(peers).sort().map((address) => [address, 'primary']),
  )
  // A redirect names an announced address as well.
  const [, second] = peers
  const led = await startPeers(t, 1, (_, command, reply) => {
    if (command[0] !== 'MGET') return false
    reply(new Error(`MOVED ${slotOfA} 10.255.255.1:${second.port}`))
    return true
  })
  const moved = connected(t, led, { cluster: { nodes: [at(led[0])], natMap } })
  t.deepEqual((await moved.bulkLookup('', ['a'])).results, ['v:a'])
})

test('the layout is looked at again while the cluster is in use, not while it is idle', async (t) => {
  const peers = await startPeers(t, 2)
  const looks = () => peers.reduce((sum, peer) => sum + peer.commands.filter(([, word]) => word === 'SLOTS').length, 0)
  const client = connected(t, peers, { cluster: { refreshIntervalMs: 100 } })
  await client.connect()
  // A node that has not answered soon is not waited for alone.
  t.true(looks() >= 1 && looks() <= 2, `${looks()} looks`)
  await until(async () => {
    await client.bulkLookup('', codes(10))
    return looks() >= 3
  })
  // What was under way ends; then ten times the interval goes by without a look.
  await until(async () => {
    const before = looks()
    await new Promise((resolve) => setTimeout(resolve, 1000))
    return looks() === before
  })
  t.true(looks() >= 3)
})

test('nodes that come and go are followed, their connections closed', async (t) => {
  let count = 2
  const all = []
  const slots = () => Array.from({ length: count }, (_, node) => [Math.ceil((node * 16384) / count), Math.ceil(((node + 1) * 16384) / count) - 1, [all[node].host, all[node].port, `id${node}`]])
  for (const node of [0, 1, 2, 3]) {
    all[node] = (await startPeers(t, 1, (_, command, reply) => command[1] === 'SLOTS' && (reply(slots()), true)))[0]
  }
  const client = openClient(t, { cluster: { nodes: [at(all[0])], refreshIntervalMs: 50 }, clientName: unique() })
  const lookup = async () => {
    const { results } = await client.bulkLookup('', codes(200))
    t.true(results.every((value, code) => value === `v:c${code}`))
  }
  await lookup()
  t.is(all[3].count('MGET'), 0)
  count = 4
  await until(async () => {
    await lookup()
    return all.every((peer) => peer.count('MGET') > 0)
  })
  count = 2
  await until(async () => {
    await lookup()
    return all[2].open === 0 && all[3].open === 0
  })
  await lookup()
})

test('a node that dies in the middle of a call: what it did not answer is told item by item', async (t) => {
  let dies = false
  const peers = await startPeers(t, 2, (node, command, reply) => {
    if (!dies || node !== 1 || !['SET', 'MGET', 'UNLINK'].includes(command[0])) return false
    if (peers[1].count(command[0]) === 20) {
      peers[1].drop()
      return true
    }
    return peers[1].count(command[0]) > 20
  })
  const client = connected(t, peers, { retry: { attempts: 1 } })
  const all = codes(300)
  await client.bulkLookup('', all)
  dies = true
  // Conditions are not repeated: nobody knows whether they were met.
  const set = await client.pipelineSet(all.map((key) => ({ key, data: 'x' })), { condition: 'nx' })
  t.is(set.written + set.failed, 300)
  t.true(set.failed > 50)
  t.true(set.errors.every(({ code, applied }) => code === 'CONNECTION_LOST' && applied === 'unknown'))
  t.is(peers[0].count('SET') + 19, set.written)
  t.is(peers[0].count('SET'), new Set(peers[0].commands.filter(([name]) => name === 'SET').map(([, key]) => key)).size)
})

/** A store behind `answer` of startPeers: SET with its flags, as one key space for all nodes; `writes` is what arrived. */
function keySpace() {
  const values = new Map()
  const writes = []
  const set = ([, key, value, ...flags], reply) => {
    const met = flags.includes('NX') ? !values.has(key) : !flags.includes('XX') || values.has(key)
    if (met) values.set(key, value)
    reply(met ? { simple: 'OK' } : null)
    return true
  }
  return { values, writes, set }
}

test('FAULTS 19: of two writes to one key the later stands, whichever of them the server refuses at first', async (t) => {
  const space = keySpace()
  let refusals = []
  const peers = await startPeers(t, 2, (node, command, reply) => {
    if (command[0] !== 'SET') return false
    space.writes.push(command[2])
    const refusal = command[1] === 'a' && refusals.shift()
    if (refusal) return reply(new Error(refusal)), true
    return space.set(command, reply)
  })
  const client = connected(t, peers, { retry: { baseDelayMs: 5, maxDelayMs: 20 } })
  await client.connect()
  const down = 'CLUSTERDOWN The cluster is down'
  const again = 'TRYAGAIN Multiple keys request during rehashing of slot'
  const moved = `MOVED ${slotOfA} ${at(peers[1])}`
  const cases = [
    // What was refused has been overtaken, and is not sent any more.
    [[down], ['EARLIER', 'LATER']],
    [[again], ['EARLIER', 'LATER']],
    [[moved], ['EARLIER', 'LATER']],
    [['READONLY You cannot write against a read only replica.'], ['EARLIER', 'LATER']],
    [[null, moved], ['EARLIER', 'LATER', 'LATER']],
    [[moved, moved], ['EARLIER', 'LATER', 'EARLIER', 'LATER']],
    // The later one may go on at once, the earlier one must wait.
    [[down, moved], ['EARLIER', 'LATER', 'LATER']],
    [[moved, again], undefined],
  ]
  for (const condition of [undefined, 'xx']) {
    for (const [replies, expected] of cases) {
      space.values.set('a', 'before')
      space.writes.length = 0
      refusals = [...replies]
      const entries = [
        { key: 'a', data: 'EARLIER', ttl: 100 },
        { key: 'a', data: 'LATER' },
      ]
      const label = `${condition} ${JSON.stringify(replies)}`
      t.like(await client.pipelineSet(entries, { condition }), { written: 2, failed: 0, errors: [] }, label)
      t.is(space.values.get('a'), 'LATER', label)
      if (expected) t.deepEqual(space.writes, expected, label)
    }
  }
  // What is refused for good is told, whatever came after it.
  refusals = ['OOM command not allowed']
  const oom = await client.pipelineSet([{ key: 'a', data: 'EARLIER' }, { key: 'a', data: 'LATER' }])
  t.like(oom, { written: 1, failed: 1 })
  t.like(oom.errors[0], { index: 0, code: 'OOM', applied: false })
  // Of two with a condition that only one can meet each has its own answer, and what was done is not done again.
  space.values.delete('a')
  space.writes.length = 0
  refusals = [moved]
  const nx = await client.pipelineSet([{ key: 'a', data: 'EARLIER' }, { key: 'a', data: 'LATER' }], { condition: 'nx' })
  t.like(nx, { written: 1, failed: 1 })
  t.like(nx.errors[0], { index: 0, code: 'NOT_SET' })
  t.is(space.values.get('a'), 'LATER')
  t.deepEqual(space.writes, ['EARLIER', 'LATER', 'EARLIER'])
})

test('FAULTS 19: two writes to one key that are led on in two ways stay in order', async (t) => {
  const space = keySpace()
  const peers = await startPeers(t, 2, (node, command, reply) => {
    if (command[0] !== 'SET') return false
    if (node === 0 || !command[1].startsWith('{a}')) return space.set(command, reply)
    // The slot is moved between the two.
    const way = command[2] === 'EARLIER' ? 'ASK' : 'MOVED'
    return reply(new Error(`${way} ${slotOfA} ${at(peers[0])}`)), true
  })
  const client = connected(t, peers)
  await client.connect()
  const entries = ['EARLIER', 'LATER'].map((data) => ({ key: '{a}', data }))
  // One that goes the later one's way, ahead of both.
  t.like(await client.pipelineSet([{ key: '{a}first', data: 'first' }, ...entries]), { written: 3, failed: 0 })
  t.is(space.values.get('{a}'), 'LATER')
})

test('calls that wait for a cluster that does not answer share the outcome, and nothing goes on after close()', async (t) => {
  const silent = await startPeer(t, () => {})
  const client = connected(t, [silent], { connectTimeoutMs: 300, commandTimeoutMs: 10_000, circuitBreaker: false })
  const outcomes = await Promise.allSettled(codes(40).map((key) => client.sendCommand(['GET', key])))
  t.true(outcomes.every(({ reason }) => reason?.code === 'CONNECT_TIMEOUT' && reason.applied === false))
  // One after another they would have been 40.
  t.true(silent.connections < 10, `${silent.connections} attempts`)
  // Limits of their own end the wait; attempts that nobody waits for are not made.
  const before = silent.connections
  await Promise.allSettled(codes(40).map((key) => client.sendCommand(['GET', key], { timeoutMs: 50 })))
  t.true(silent.connections < before + 10, `${silent.connections - before} attempts`)
  const last = client.sendCommand(['GET', 'a'], { timeoutMs: 50 }).catch((error) => error)
  await client.close()
  t.truthy((await last).code)
  // Connections are taken in their order: those of the client have come before this one.
  const behind = await connect(silent)
  const asked = behind.command('LAST').catch(() => {})
  await silent.until((peer) => peer.count('LAST') > 0)
  behind.close()
  await asked
  await until(() => silent.open === 0)
  const closed = silent.connections
  await new Promise((resolve) => setTimeout(resolve, 1200))
  t.is(silent.connections, closed)
})

test('what every primary is to do: done by one and not by another, nobody says that it was not', async (t) => {
  let refuses = () => false
  const peers = await startPeers(t, 2, (node, command, reply) => {
    if (!['FLUSHALL', 'DBSIZE', 'SCRIPT'].includes(command[0])) return false
    if (refuses(node)) reply(new Error('NOPERM this user has no permissions'))
    else reply(command[0] === 'DBSIZE' ? 1 : { simple: 'OK' })
    return true
  })
  const client = connected(t, peers, { connectTimeoutMs: 20_000, retry: { attempts: 2, baseDelayMs: 5, maxDelayMs: 10 } })
  t.is(await client.sendCommand(['DBSIZE']), 2)
  const failure = (...command) => t.throwsAsync(client.sendCommand(command))
  for (const lacking of [0, 1]) {
    refuses = (node) => node === lacking
    t.like(await failure('FLUSHALL'), { code: 'NOPERM', applied: 'unknown' })
    t.like(await failure('SCRIPT', 'FLUSH'), { code: 'NOPERM', applied: 'unknown' })
    // A question changes nothing.
    t.like(await failure('DBSIZE'), { code: 'NOPERM', applied: false })
  }
  refuses = () => true
  t.like(await failure('FLUSHALL'), { code: 'NOPERM', applied: false })
  refuses = () => false
  await peers[1].stop()
  const flushed = peers[0].count('FLUSHALL')
  const away = await failure('FLUSHALL')
  t.regex(away.code, /^CONNECTION_/)
  t.is(away.applied, 'unknown')
  t.true(peers[0].count('FLUSHALL') > flushed)
})
