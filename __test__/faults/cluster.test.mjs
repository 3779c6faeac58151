// FAULTS, the state of a cluster: slots on the move, a primary that dies, its replica that takes over.
import test from 'ava'
import rb from '../../index.js'
import { startCluster } from '../support/cluster.js'
import { codes, openClient, randomFrom, timed, unique, until } from '../support/work.js'

const { BulkError } = rb

/** For how long callers and migrations run against each other. A soak takes more. */
const loadMs = Number(process.env.RB_CLUSTER_LOAD_MS ?? 4000)

let cluster
test.before(async () => {
  cluster = await startCluster({ replicas: 1 })
})
test.after.always(() => cluster?.stop())

function connected(t, options) {
  return openClient(t, { cluster: { nodes: cluster.seeds }, clientName: unique(), ...options })
}

/** Codes below a tag, all in one slot, and that slot. */
async function tagged(tag, count) {
  return { slot: await cluster.slot(`{${tag}}`), keys: codes(count, `{${tag}}:`) }
}

test.serial('FAULTS 19: a slot half moved answers for each key, whoever has it', async (t) => {
  const client = connected(t)
  const { slot, keys } = await tagged('half', 200)
  const [from, to] = [cluster.home(slot), cluster.primaries.find((server) => server !== cluster.home(slot))]
  await client.pipelineSet(keys.map((key) => ({ key, data: key })))
  await cluster.open(slot, from, to)
  t.is(await cluster.moveKeys(slot, from, to, 80), 80)
  for (const options of [{}, { strategy: 'script' }, { as: 'buffer' }]) {
    // 40 of them nobody has.
    const { results, cacheMisses, errors } = await client.bulkLookup('', [...keys, ...codes(40, '{half}none')], options)
    t.deepEqual(
      results.slice(0, 200).map(String),
      keys,
    )
    t.like({ cacheMisses, errors }, { cacheMisses: 40, errors: [] })
  }
  t.deepEqual((await client.scanAll('{half}*')).sort(), [...keys].sort())
  t.is(await client.sendCommand(['APPEND', keys[0], '!']), keys[0].length + 1)
  const set = await client.pipelineSet(keys.map((key, at) => ({ key, data: `${at}`, ttl: at % 2 === 0 ? 100 : undefined })))
  t.like(set, { written: 200, failed: 0 })
  const nx = await client.pipelineSet([...keys.slice(0, 100), ...codes(50, '{half}new')].map((key) => ({ key, data: 'nx' })), { condition: 'nx' })
  t.is(nx.written, 50)
  t.true(nx.errors.every(({ code }) => code === 'NOT_SET'))
  const report = await client.batchDelete([...keys.slice(50), ...codes(50, '{half}none')], { report: true })
  t.deepEqual(report.existed, [...Array(150).fill(true), ...Array(50).fill(false)])
  t.is(report.failed, 0)
  // A command of several keys of which one is here and one there is answered when they are together again.
  const mget = client.sendCommand(['MGET', ...keys.slice(0, 50)])
  while ((await cluster.moveKeys(slot, from, to)) > 0);
  await cluster.close(slot, from, to)
  t.deepEqual(
    await mget,
    keys.slice(0, 50).map((_, at) => `${at}`),
  )
  await cluster.migrate(slot, to, from)
})

test.serial('FAULTS 19: slots move back and forth under load: no error, no item lost or answered wrongly', async (t) => {
  // A scan is long while others keep the machine busy, and each of its passes must come between two moves.
  const client = connected(t, { commandTimeoutMs: 60_000 })
  const end = performance.now() + loadMs
  let running = true
  let failed = false
  const random = randomFrom(7)
  // Keys in the slots that move, and others.
  const tags = ['m0', 'm1', 'm2', 'm3']
  const still = codes(500, 'still:')
  await client.pipelineSet(still.map((key) => ({ key, data: key })))
  let moves = 0
  const mover = (async () => {
    const slots = await Promise.all(tags.map((tag) => cluster.slot(`{${tag}}`)))
    const owners = new Map(slots.map((slot) => [slot, cluster.home(slot)]))
    const homes = new Map(owners)
    const move = async (slot, to) => {
      await cluster.migrate(slot, owners.get(slot), to, 20)
      owners.set(slot, to)
      moves++
    }
    while (running) {
      const slot = slots[Math.floor(random() * slots.length)]
      const others = cluster.primaries.filter((server) => server !== owners.get(slot))
      await move(slot, others[Math.floor(random() * others.length)])
    }
    for (const slot of slots) if (owners.get(slot) !== homes.get(slot)) await move(slot, homes.get(slot))
  })()
  let calls = 0
  // On a slow machine it takes longer until enough has happened.
  const isUnderLoad = () => !failed && (performance.now() < end || moves <= 3 || calls <= 100)
  const caller = async (id) => {
    /** What must be there. */
    const model = new Map()
    const mine = [...tags.flatMap((tag) => codes(15, `{${tag}}:${id}:`)), ...codes(15, `${id}:`)]
    let counted = 0
    for (let round = 0; isUnderLoad(); round++) {
      const some = mine.filter((_, at) => (at + round) % 3 !== 0)
      const set = await client.pipelineSet(some.map((key) => ({ key, data: `${round}:${key}`, ttl: round % 2 ? 1000 : undefined })))
      t.deepEqual([set.written, set.errors], [some.length, []])
      for (const key of some) model.set(key, `${round}:${key}`)
      const gone = mine.filter((_, at) => (at + round) % 5 === 0)
      const report = await client.batchDelete(gone, { report: true })
      t.deepEqual(report.errors, [])
      t.deepEqual(
        report.existed,
        gone.map((key) => model.delete(key)),
      )
      counted++
      t.is(await client.sendCommand(['INCR', `{${tags[round % 4]}}:count:${id}`]), Math.floor(round / 4) + 1)
      const { results, errors } = await client.bulkLookup('', mine, { strategy: round % 4 === 3 ? 'script' : 'mget' })
      t.deepEqual(errors, [])
      t.deepEqual(
        results,
        mine.map((key) => model.get(key) ?? null),
      )
      calls += 4
    }
    return counted
  }
  const scanner = async () => {
    while (isUnderLoad()) {
      const found = await client.scanAll('*still:*', { count: 50 })
      t.deepEqual([...found].sort(), [...still].sort())
    }
  }
  const callers = await Promise.allSettled(
    [...Array.from({ length: 20 }, (_, id) => caller(id)), scanner()].map((work) => work.catch((error) => {
      failed = true
      throw error
    })),
  )
  running = false
  await mover
  for (const outcome of callers) if (outcome.status === 'rejected') throw outcome.reason
  t.log(`${calls} calls, ${moves} moves of slots`)
  t.true(moves > 3 && calls > 100, `${calls} calls, ${moves} moves`)
})

test.serial('FAULTS 38: a scan during moves finds what was there all along', async (t) => {
  const client = connected(t, { commandTimeoutMs: 60_000 })
  const tags = Array.from({ length: 12 }, (_, at) => `scan${at}`)
  const keys = tags.flatMap((tag) => codes(60, `{${tag}}:`))
  await client.pipelineSet(keys.map((key) => ({ key, data: '1' })))
  const slots = await Promise.all(tags.map((tag) => cluster.slot(`{${tag}}`)))
  // All go to one node and then home again, slot after slot, while scans run.
  for (const target of cluster.primaries.slice(0, 2)) {
    let moving = true
    const moves = (async () => {
      for (const slot of slots) if (cluster.home(slot) !== target) await cluster.migrate(slot, cluster.home(slot), target, 10)
      moving = false
    })()
    let scans = 0
    while (moving) {
      const found = await client.scanAll('{scan*', { count: 20 })
      t.is(new Set(found).size, found.length)
      t.deepEqual([...found].sort(), [...keys].sort())
      const steps = new Set()
      for await (const some of client.scanIterator('{scan*', { count: 20 })) for (const key of some) steps.add(key)
      t.is(steps.size, keys.length)
      scans++
    }
    await moves
    t.true(scans > 0)
    for (const slot of slots) if (cluster.home(slot) !== target) await cluster.migrate(slot, target, cluster.home(slot), 100)
  }
  t.like(await client.deleteByPattern('{scan*'), { deleted: keys.length, failed: 0 })
})

test.serial('replicas answer reads where the option asks for it, and primaries where no replica does', async (t) => {
  // Servers name a replica once gossip has told them how far it is.
  const client = connected(t, { cluster: { nodes: cluster.seeds, readFrom: 'replica', refreshIntervalMs: 200 } })
  const all = codes(3000, 'r')
  await client.pipelineSet(all.map((key) => ({ key, data: key })))
  for (const server of cluster.primaries) {
    // What comes behind them has arrived: so have they.
    const connection = await server.connect()
    const mine = (await cluster.layout()).find((range) => range.server === server)
    const key = await until(async () => {
      const name = unique('mark')
      const slot = await cluster.slot(name)
      return mine.first <= slot && slot <= mine.last && name
    })
    await connection.command('SET', key, '1')
    t.true((await connection.command('WAIT', 1, 30_000)) >= 1)
    connection.close()
  }
  const reads = async (server) => Number(/calls=(\d+)/.exec((await server.info('commandstats', 'cmdstat_mget')) ?? '')?.[1] ?? 0)
  const counts = (servers) => Promise.all(servers.map(reads))
  // The connections to replicas are made in the background.
  await until(async () => {
    await client.bulkLookup('', all)
    return (await counts(cluster.replicas)).every((count) => count > 0)
  })
  const before = await counts(cluster.primaries)
  t.deepEqual((await client.bulkLookup('', all)).results, all)
  t.deepEqual((await client.bulkLookup('', all, { strategy: 'script' })).results, all)
  t.deepEqual(await counts(cluster.primaries), before)
  const health = await client.health()
  t.is(health.nodes.filter(({ role, up }) => role === 'replica' && up).length, 3)
  await Promise.all(cluster.replicas.map((server) => server.kill()))
  t.deepEqual((await client.bulkLookup('', all)).results, all)
  await Promise.all(cluster.replicas.map((server) => server.restart()))
  await cluster.inSync()
})

test.serial('a node that stands still: its items are unknown, the others are answered', async (t) => {
  const client = connected(t, { commandTimeoutMs: 5000, retry: { attempts: 1 } })
  const all = codes(3000)
  await client.pipelineSet(all.map((key) => ({ key, data: key })))
  const [frozen] = cluster.primaries
  const slots = await Promise.all(all.map((key) => cluster.slot(key)))
  const isLost = slots.map((slot) => cluster.home(slot) === frozen)
  frozen.pause()
  try {
    const set = await client.pipelineSet(all.map((key) => ({ key, data: 'new', ttl: 100 })))
    t.is(set.written + set.failed, 3000)
    t.deepEqual(
      set.errors.map(({ index }) => index),
      isLost.flatMap((lost, at) => (lost ? [at] : [])),
    )
    t.true(set.errors.every(({ code, applied }) => code === 'TIMEOUT' && applied === 'unknown'))
  } finally {
    frozen.resume()
  }
  await until(async () => (await client.bulkLookup('', all, { partial: true })).errors.length === 0)
  const { results } = await client.bulkLookup('', all)
  // What was unknown may have been written, or not; the others were.
  t.true(results.every((value, at) => value === 'new' || (isLost[at] && value === all[at])))
})

test.serial('FAULTS 21: a primary is killed under load: the other slots go on, the lost ones settle, then work', async (t) => {
  await cluster.inSync()
  const client = connected(t)
  const states = []
  client.on('state', ({ to }) => states.push(to))
  const all = codes(3000, 'f')
  const slots = await Promise.all(all.map((key) => cluster.slot(key)))
  const victim = cluster.primaries[1]
  const lost = all.filter((_, at) => cluster.home(slots[at]) === victim)
  const others = all.filter((_, at) => cluster.home(slots[at]) !== victim)
  await client.pipelineSet(all.map((key) => ({ key, data: 'before' })))

  /** Writes that the replica has: they must outlive the primary. */
  const kept = new Map()
  let running = true
  const ownConnection = await victim.connect()
  const writer = (async () => {
    for (let round = 0; running; round++) {
      const { value: set, error } = await timed(client.pipelineSet(lost.slice(0, 300).map((key) => ({ key: `w:{${key}}`, data: `${round}` }))))
      if (error) {
        t.is(error.applied, false)
        t.true(error.retryable, String(error))
        continue
      }
      t.is(set.written + set.failed, 300)
      const failed = new Set(set.errors.map(({ index }) => index))
      t.true(set.errors.every(({ applied, code }) => applied !== true && code !== undefined))
      // What comes after them on the way to the replica was acknowledged: so were they.
      const mark = ownConnection.command('SET', `{${lost[0]}}:mark`, String(round))
      const marked = await mark.then(() => ownConnection.command('WAIT', 1, 1000)).catch(() => 0)
      if (marked < 1) continue
      for (let at = 0; at < 300; at++) if (!failed.has(at)) kept.set(`w:{${lost[at]}}`, round)
    }
  })()
  let readings = 0
  const reader = (async () => {
    while (running) {
      const { results, errors } = await client.bulkLookup('', others)
      t.true(errors.length === 0 && results.every((value) => value === 'before'))
      const { value, error, ms } = await timed(client.bulkLookup('', all, { partial: true }))
      t.is(error, undefined)
      t.is(value.cacheHits + value.cacheMisses + value.errors.length, all.length)
      t.true(value.errors.every(({ index, retryable }) => lost.includes(all[index]) && retryable))
      t.true(ms < 30_000, `${ms} ms`)
      readings++
    }
  })()
  await until(() => kept.size > 0 && readings > 2)
  await cluster.setNodeTimeout(3000)
  await victim.kill()
  const successor = await cluster.promoted(slots[all.indexOf(lost[0])])
  await cluster.setNodeTimeout(60_000)
  t.not(successor, victim)
  const promoted = performance.now()
  const back = await until(async () => {
    const { errors } = await client.bulkLookup('', all, { partial: true })
    return errors.length === 0 && performance.now() - promoted
  })
  running = false
  await Promise.all([writer, reader])
  ownConnection.close()
  t.log(`all keys are read ${Math.round(back)} ms after the promotion was seen`)
  const names = [...kept.keys()]
  const { results } = await client.bulkLookup('', names)
  t.true(results.every((value, at) => Number(value) >= kept.get(names[at])), 'acknowledged writes are there')
  await until(() => states.at(-1) === 'ready')
  t.true(states.includes('reconnecting'))
  const { nodes } = await until(async () => {
    const health = await client.health()
    return health.status === 'up' && health
  })
  t.deepEqual(
    nodes.find(({ address }) => address === `${successor.host}:${successor.port}`),
    { address: `${successor.host}:${successor.port}`, role: 'primary', up: true },
  )
  // It comes back as a replica.
  await victim.restart()
  await until(async () => (await client.health()).nodes.some(({ address, role, up }) => address === `${victim.host}:${victim.port}` && role === 'replica' && up))
  const set = await client.pipelineSet(all.map((key) => ({ key, data: 'after' })))
  t.is(set.written, all.length)
})

test.serial('a primary that is gone without a successor: an exact account, and all is well when it is back', async (t) => {
  const all = codes(3000, 'g')
  const slots = await Promise.all(all.map((key) => cluster.slot(key)))
  const victim = await cluster.owner(0)
  const layout = await cluster.layout()
  const ours = layout.filter(({ server }) => server === victim)
  const isLost = slots.map((slot) => ours.some(({ first, last }) => first <= slot && slot <= last))
  t.true(isLost.includes(true) && isLost.includes(false))
  const client = connected(t)
  await client.pipelineSet(all.map((key) => ({ key, data: 'g' })))
  // Without its replica nobody takes over.
  const replicas = ours.flatMap((range) => range.replicas)
  for (const server of new Set(replicas)) await server.kill()
  await victim.kill()
  const expected = isLost.flatMap((lost, at) => (lost ? [at] : []))
  const found = await client.bulkLookup('', all, { partial: true })
  t.deepEqual(
    found.errors.map(({ index }) => index),
    expected,
  )
  t.true(found.errors.every(({ code, retryable }) => /^CONNECTION_/.test(code) && retryable))
  t.is(found.cacheHits, all.length - expected.length)
  const whole = await t.throwsAsync(client.bulkLookup('', all))
  t.regex(whole.code, /^CONNECTION_/)
  const set = await client.pipelineSet(all.map((key) => ({ key, data: 'h' })))
  t.deepEqual(
    set.errors.map(({ index, applied }) => [index, applied]),
    expected.map((index) => [index, false]),
  )
  const deleted = await client.batchDelete(all, { report: true })
  t.is(deleted.deleted, all.length - expected.length)
  t.deepEqual(
    deleted.errors.map(({ index, applied }) => [index, applied]),
    expected.map((index) => [index, false]),
  )
  await t.throwsAsync(client.batchDelete(all), { instanceOf: BulkError })
  t.regex((await t.throwsAsync(client.scanAll('*'))).code, /^CONNECTION_/)
  t.is((await client.health()).status, 'degraded')
  // Calls of one turn that ask for different slots: only those fail that ask for the lost ones.
  const outcomes = await Promise.allSettled(all.slice(0, 40).map((code) => client.bulkLookup('', [code])))
  t.deepEqual(
    outcomes.map(({ status }) => status === 'rejected'),
    isLost.slice(0, 40),
  )
  await victim.restart()
  const back = await until(async () => {
    const { value } = await timed(client.pipelineSet(all.map((key) => ({ key, data: 'i' }))))
    return value?.failed === 0 && value
  })
  t.is(back.written, all.length)
})
