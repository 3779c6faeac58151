#!/usr/bin/env node
// npm run bench: redis-bulk beside its peers. See --help and docs/benchmarks.md.
import { execFileSync, spawn } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const here = path.dirname(fileURLToPath(import.meta.url))
const HELP = `Usage: npm run bench -- [options]

  --quick              every target with fewer samples, about two minutes
  --only SUBSTRING     workloads whose id contains it; several with commas
  --contenders A,B     only these (redis-bulk, ioredis, ioredis-auto, iovalkey, iovalkey-auto,
                       node-redis, node-redis-untimed, glide, naive, floor)
  --samples N          rounds for each workload (quick: 4, else 6)
  --list               prints the workloads' ids
  --out FILE           where the JSON goes (default: bench/results/latest.json for a whole run,
                       quick.json or partial.json beside it else)
  --strict             ends with status 1 when a target was missed
  --help

Environment: REDIS_SERVER_BIN (default: redis-server on the PATH),
BENCH_PACKAGE (another build of redis-bulk to measure).
A whole run also draws docs/img/*.svg and writes the figures into docs/benchmarks.md and README.md.
`

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    contenders: { type: 'string' },
    samples: { type: 'string' },
    list: { type: 'boolean', default: false },
    out: { type: 'string' },
    strict: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (options.help) {
  process.stdout.write(HELP)
  process.exit(0)
}

const say = (text) => process.stderr.write(`${text}\n`)
// The clients read none of these while they are measured.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(REDIS_|KV_|UPSTASH_)/.test(name) && name !== 'NODE_OPTIONS'))
env.NODE_ENV = 'production'

/* ------------------------------------------------------------------ what has to be there */

function installPeers() {
  const wanted = Object.keys(JSON.parse(readFileSync(path.join(here, 'package.json'), 'utf8')).dependencies)
  if (wanted.every((name) => existsSync(path.join(here, 'node_modules', name, 'package.json')))) return
  say('installing the peers (npm ci in bench/) …')
  execFileSync(process.platform === 'win32' ? 'npm.cmd' : 'npm', ['ci', '--no-audit', '--no-fund'], { cwd: here, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' })
}

const newest = (folder) =>
  Math.max(...readdirSync(folder, { withFileTypes: true }).map((item) => (item.isDirectory() ? newest(path.join(folder, item.name)) : item.name.endsWith('.node') ? 0 : statSync(path.join(folder, item.name)).mtimeMs)))

/** Builds a crate beside this file unless its artefact is newer than its sources; undefined when it cannot be built. */
function cargoBuild(crate, artefact, target) {
  const folder = path.join(here, crate)
  const out = path.join(here, target)
  if (existsSync(out) && statSync(out).mtimeMs >= newest(folder)) return out
  const targetDir = process.env.CARGO_TARGET_DIR || path.join(here, 'target')
  say(`building bench/${crate} …`)
  try {
    execFileSync('cargo', ['build', '--release', '--locked', '--quiet', '--target-dir', targetDir], { cwd: folder, stdio: ['ignore', 2, 2] })
  } catch (error) {
    say(`bench/${crate} was not built (${error.code === 'ENOENT' ? 'cargo was not found' : 'see above'}); going on without it`)
    return existsSync(out) ? out : undefined
  }
  mkdirSync(path.dirname(out), { recursive: true })
  copyFileSync(path.join(targetDir, 'release', artefact), out)
  return out
}

installPeers()
const exe = process.platform === 'win32' ? '.exe' : ''
const library = { win32: 'naive.dll', darwin: 'libnaive.dylib' }[process.platform] ?? 'libnaive.so'
const floorBin = cargoBuild('floor', `floor${exe}`, `bin/floor${exe}`)
const naiveBin = cargoBuild('naive', library, 'naive/naive.node')

// Only now, as the contenders' packages may just have been installed.
const { CONTENDERS } = await import('./contenders/index.mjs')
const { WORKLOADS } = await import('./workloads/index.mjs')
const { isMiss, key, object, range, stored } = await import('./data.mjs')
const { pack, packChunks, packFill } = await import('./resp.mjs')
const { Floor, startServer } = await import('./server.mjs')
const { openCluster } = await import('./cluster.mjs')
const { median, quantile, sorted, summarise } = await import('./measure.mjs')
const report = await import('./report.mjs')

const matches = (id) => !options.only || options.only.split(',').some((part) => id.includes(part))
const workloads = WORKLOADS.filter((w) => (options.quick ? w.quick : true) && matches(w.id))
if (options.list) {
  for (const w of workloads) console.log(w.id)
  process.exit(0)
}
if (workloads.length === 0) {
  say('no workload has such an id; see --list')
  process.exit(2)
}

const asked = options.contenders?.split(',').map((name) => name.trim())
for (const name of asked ?? []) {
  if (!CONTENDERS[name] && name !== 'floor') {
    say(`no contender is called ${name}`)
    process.exit(2)
  }
}
let names = Object.keys(CONTENDERS).filter((name) => !asked || asked.includes(name))
if (!naiveBin) names = names.filter((name) => name !== 'naive')
// For learning; it has no part in any target.
if (options.quick && !asked) names = names.filter((name) => name !== 'naive')
const withFloor = Boolean(floorBin) && (!asked || asked.includes('floor'))
if (names.includes('redis-bulk')) {
  try {
    execFileSync(process.execPath, ['-e', `if (typeof require(${JSON.stringify(process.env.BENCH_PACKAGE || path.join(here, '..'))}).createClient !== 'function') throw new Error('no createClient')`], { cwd: here, env, stdio: ['ignore', 'ignore', 'pipe'] })
  } catch (error) {
    const cause = String(error.stderr).split('\n').find((line) => /^\w*Error/.test(line)) ?? 'unknown'
    say(`redis-bulk cannot be loaded yet (${cause}); measuring the peers and the floor alone`)
    names = names.filter((name) => name !== 'redis-bulk')
  }
}

const pace = options.quick
  ? { rounds: 4, minRounds: 2, visitMs: 30, warmMs: 80, stalls: 3, memories: 1, budgetMs: 5000, probeMs: 300, probeRounds: 2, startups: 4 }
  : { rounds: 6, minRounds: 3, visitMs: 60, warmMs: 150, stalls: 5, memories: 2, budgetMs: 6000, probeMs: 2000, probeRounds: 3, startups: 12 }
if (options.samples !== undefined) {
  const n = Number(options.samples)
  if (!Number.isInteger(n) || n < 1) {
    say('--samples takes a positive integer')
    process.exit(2)
  }
  Object.assign(pace, { rounds: n, minRounds: Math.min(n, pace.minRounds), stalls: Math.max(1, Math.ceil(n / 2)), memories: Math.min(n, pace.memories), budgetMs: 120_000 })
}

/* ------------------------------------------------------------------ children */

const children = new Set()
class Child {
  #process
  #waiting = new Map()
  #next = 0

  /** `seeds`: of the cluster that it works on, in the place of the server. */
  static async open(name, seeds) {
    const child = new Child()
    child.name = name
    child.#process = spawn(process.execPath, ['--expose-gc', path.join(here, 'child.mjs'), name], { cwd: here, env, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    children.add(child)
    await new Promise((resolve, reject) => {
      const fail = (error) => {
        children.delete(child)
        const gone = new Error(`${name}: the process ended (${error?.message ?? error})`)
        reject(gone)
        for (const waiter of child.#waiting.values()) waiter.reject(gone)
        child.#waiting.clear()
      }
      child.#process.once('error', fail)
      child.#process.once('exit', (status, signal) => fail(status ?? signal))
      child.#process.on('message', ({ ready, id, result, error }) => {
        if (ready) return resolve()
        const waiter = child.#waiting.get(id)
        child.#waiting.delete(id)
        clearTimeout(waiter?.timer)
        if (error) waiter?.reject(new Error(`${name}: ${error}`))
        else waiter?.resolve(result)
      })
    })
    await child.ask('open', { url: server.url, seeds })
    return child
  }

  ask(command, options) {
    const id = this.#next++
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id)
        reject(new Error(`${this.name}: no answer to ${command} within two minutes`))
        this.kill()
      }, 120_000)
      this.#waiting.set(id, { resolve, reject, timer })
      this.#process.send({ id, command, options }, (error) => error && reject(error))
    })
  }

  kill() {
    this.#process.kill('SIGKILL')
  }

  async close() {
    const gone = this.#process.exitCode !== null || this.#process.signalCode !== null ? null : new Promise((resolve) => this.#process.once('exit', resolve))
    const timer = setTimeout(() => this.kill(), 2000)
    await this.ask('close').catch(() => {})
    await gone
    clearTimeout(timer)
  }
}

/* ------------------------------------------------------------------ the server and what it holds */

const started = Date.now()
const server = await startServer()
let floor = withFloor ? await Floor.open(floorBin, server.port) : null
let probe = null
let cluster = null
const stopAll = async () => {
  await cluster?.stop()
  for (const child of children) child.kill()
  floor?.close()
  probe?.close()
  await server.stop()
}
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stopAll().finally(() => process.exit(130)))

let filled = null
let packed = null
async function fill(workload, again = false) {
  if (workload.cluster) return cluster.fill(workload.fill.pairs())
  if (workload.fill.id === filled && !again) return
  if (packed?.id !== workload.fill.id) packed = { id: workload.fill.id, ...packFill(workload.fill.pairs()) }
  await server.admin.command('FLUSHALL', 'SYNC')
  if (packed.replies) await server.admin.send(packed.buffer, packed.replies)
  filled = workload.fill.id
}

/** Reads back what a contender wrote: the first and the last thousand values, their times to live, and the count. */
async function checkWritten({ params, cluster: spread }) {
  const size = spread ? await cluster.size() : await server.admin.command('DBSIZE')
  if (size !== params.n) throw new Error(`${size} keys on the server, not ${params.n}`)
  const all = range(params.n)
  const some = params.n <= 2000 ? all : [...all.slice(0, 1000), ...all.slice(-1000)]
  const values = spread ? await cluster.each(some.map(key), (name) => ['GET', name]) : await server.admin.command('MGET', ...some.map(key))
  some.forEach((i, at) => {
    // An object's JSON may order or space itself as it likes.
    const right = params.objects ? JSON.stringify(JSON.parse(values[at])) === JSON.stringify(object(i)) : values[at] === stored(params, i)
    if (!right) throw new Error(`a wrong value was written at ${i}: ${String(values[at]).slice(0, 60)}`)
  })
  const sample = some.slice(0, 10)
  const ttls = spread ? await cluster.each(sample.map(key), (name) => ['TTL', name]) : await server.admin.send(Buffer.concat(sample.map((i) => pack(['TTL', key(i)]))), sample.length)
  for (const ttl of ttls) if (params.ttl ? ttl < params.ttl - 60 || ttl > params.ttl : ttl !== -1) throw new Error(`a wrong time to live: ${ttl}`)
}

/* ------------------------------------------------------------------ one workload */

const rotated = (list, by) => list.map((_, i) => list[(i + by) % list.length])
const loaded = []
function loadFloor(workload) {
  const ways = floor ? workload.floor?.() ?? [] : []
  return Promise.all(
    ways.map(async (way, at) => {
      const name = `w${at}`
      if (way.chunks) {
        const file = path.join(server.dir, `${name}.bin`)
        writeFileSync(file, packChunks(way.chunks))
        await floor.ask('load', name, file)
        loaded.push(name)
      }
      return { floor: true, name: way.name, id: name, window: way.window, scan: way.scan, divide: way.divide ?? 1, visits: [] }
    }),
  )
}

async function runFloor(entry, workload, times) {
  const answer = entry.scan ? await floor.ask('scan', entry.scan.pattern, entry.scan.count, times) : await floor.ask('run', entry.id, entry.window, times)
  if (entry.scan && answer.keys < workload.params.n) throw new Error(`the floor's SCAN saw ${answer.keys} keys`)
  return answer.wallNs.map((value) => value / entry.divide)
}

/** Starts a child for each contender that has a way for the workload; an entry for each way. */
async function openEntries(workload) {
  const opened = await Promise.all(
    names.map(async (name) => {
      try {
        const child = await Child.open(name, workload.cluster ? cluster.seeds : undefined)
        const ways = await child.ask('ways', { kind: workload.kind, params: workload.params })
        if (ways.length === 0) {
          await child.close()
          return []
        }
        return ways.map((way) => ({ contender: name, kind: CONTENDERS[name].kind, way, child, visits: [], stalls: [], memories: [] }))
      } catch (error) {
        return [{ contender: name, kind: CONTENDERS[name].kind, way: '?', error: error.message }]
      }
    }),
  )
  return opened.flat()
}

const drop = (entry, error) => {
  entry.error = error.message
  say(`  ! ${entry.contender} (${entry.way}): ${error.message}`)
}

/**
 * In a quick run: leaves out what is clearly slower than another way of the same package, and where calls take long,
 * what is far behind the best peer. Neither can be the best one. The table says so and shows the one call that was made.
 */
function prune(entries) {
  const family = (entry) => CONTENDERS[entry.contender].family ?? entry.contender
  const best = (list) => Math.min(...list.map((entry) => entry.estimate))
  const peers = entries.filter((entry) => entry.kind === 'peer')
  for (const entry of peers) {
    const kin = best(peers.filter((other) => family(other) === family(entry)))
    if ((entry.estimate > 1 && entry.estimate > 1.25 * kin) || (entry.estimate > 200 && entry.estimate > 1.6 * best(peers))) entry.pruned = true
  }
}

async function measureWorkload(workload) {
  const { params } = workload
  const begin = Date.now()
  if (workload.cluster) cluster ??= await openCluster()
  const entries = await openEntries(workload)
  const floors = await loadFloor(workload)
  const live = () => entries.filter((entry) => !entry.error && !entry.pruned)
  const empty = () => (workload.cluster ? cluster.clear() : server.admin.command('FLUSHALL', 'SYNC'))

  const visit = async (entry, { ms, min, max }) => {
    if (workload.refill) await fill(workload, true)
    if (entry.floor) return { wallNs: await runFloor(entry, workload, workload.refill ? 1 : Math.max(1, Math.min(500, Math.round(ms / (entry.estimate ?? ms))))), calls: 1 }
    if (params.callers) return entry.child.ask('visitCallers', { way: entry.way, callers: params.callers, each: Math.max(2, Math.round(ms / ((entry.estimate ?? 0.1) * params.callers))) })
    return entry.child.ask('visit', { way: entry.way, ms, min: workload.refill ? 1 : min, max: workload.refill ? 1 : max })
  }

  // Right answers first, then speed.
  await fill(workload)
  for (const entry of live()) {
    try {
      await entry.child.ask('prepare', { kind: workload.kind, params, way: entry.way })
      if (workload.kind === 'set') await empty()
      if (workload.refill) await fill(workload, true)
      const at = Date.now()
      await entry.child.ask('verify', { way: entry.way })
      if (workload.kind === 'set') entry.estimate = Date.now() - at
      if (workload.kind === 'set') await checkWritten(workload)
    } catch (error) {
      drop(entry, error)
    }
  }
  for (const entry of live()) {
    try {
      // A single long call is warm-up enough for a quick run.
      if (options.quick && entry.estimate > 300) continue
      if (workload.refill) entry.estimate = median((await visit(entry, { ms: 0, min: 1, max: 1 })).wallNs) / 1e6
      else if (params.callers) {
        // Twice, the second time as long as was asked for.
        for (const share of [0.2, 1]) entry.estimate = (await visit(entry, { ms: pace.warmMs * share, min: 1, max: 1 })).wallNs[0] / 1e6
      } else entry.estimate = (await entry.child.ask('warm', { way: entry.way, ms: pace.warmMs, min: options.quick ? 1 : 3, max: 5000 })).ms
    } catch (error) {
      drop(entry, error)
    }
  }
  for (const entry of floors) {
    if (workload.refill) await fill(workload, true)
    entry.estimate = (median(await runFloor(entry, workload, workload.refill ? 1 : 2)) * entry.divide) / 1e6
  }

  if (options.quick && !params.callers) prune(live())
  const all = [...entries.filter((entry) => !entry.pruned), ...floors]
  const from = Date.now()
  let rounds = 0
  // A visit with many callers gives one figure: so twice as many.
  const wanted = params.callers ? 2 * pace.rounds : pace.rounds
  for (; rounds < wanted; rounds++) {
    if (rounds >= pace.minRounds && Date.now() - from > pace.budgetMs) break
    for (const entry of rotated(all, rounds)) {
      if (entry.error) continue
      try {
        entry.visits.push(await visit(entry, { ms: pace.visitMs, min: 1, max: 20_000 }))
      } catch (error) {
        drop(entry, error)
      }
    }
  }

  // A quick run takes the separate samples only where a target asks for them.
  if (options.quick ? workload.target?.stallMs : workload.stall) {
    const stallFrom = Date.now()
    for (let i = 0; i < pace.stalls; i++) {
      if (i > 0 && Date.now() - stallFrom > pace.budgetMs / 3) break
      for (const entry of rotated(live(), i)) {
        if (workload.refill) await fill(workload, true)
        entry.stalls.push(await entry.child.ask('stall', { way: entry.way }).catch((error) => void drop(entry, error)))
      }
    }
  }
  await Promise.all([...new Set(entries.map((entry) => entry.child).filter(Boolean))].map((child) => child.close()))

  if ((options.quick ? workload.target?.memory : workload.memory) && process.platform === 'linux') {
    const memoryFrom = Date.now()
    for (let i = 0; i < pace.memories; i++) {
      if (i > 0 && Date.now() - memoryFrom > pace.budgetMs / 2) break
      for (const entry of rotated(live(), i)) {
        try {
          // A process of its own, so that nothing that earlier calls left behind is counted as idle.
          if (workload.refill) await fill(workload, true)
          const child = await Child.open(entry.contender)
          await child.ask('prepare', { kind: workload.kind, params, way: entry.way })
          entry.memories.push(await child.ask('memory', { way: entry.way, calls: workload.refill || (options.quick && entry.estimate > 200) ? 1 : 3 }))
          await child.close()
        } catch (error) {
          drop(entry, error)
        }
      }
    }
  }
  for (const name of loaded.splice(0)) await floor.ask('unload', name)
  if (workload.kind === 'set' || workload.refill) filled = null

  const done = (entry) => {
    const stalls = (entry.stalls ?? []).filter(Boolean)
    const memories = (entry.memories ?? []).filter(Boolean)
    return {
      contender: entry.contender,
      kind: entry.kind,
      way: entry.way,
      ...(entry.error ? { error: entry.error } : entry.pruned ? { leftOut: true, onceMs: entry.estimate } : summarise(entry.visits)),
      ...(stalls.length ? { stall: { medianMs: median(stalls.map((s) => s.stallMs)), idleMs: median(stalls.map((s) => s.idleMs)), samples: stalls.length } } : {}),
      ...(memories.length ? { memory: { aboveMb: median(memories.map((m) => m.aboveMb)), idleMb: median(memories.map((m) => m.idleMb)), samples: memories.length } } : {}),
    }
  }
  return {
    seconds: (Date.now() - begin) / 1000,
    entries: entries.map(done),
    floor: floors.map(({ name, visits }) => ({ name, ...floorFigures(visits) })),
  }
}

const floorFigures = (visits) => {
  const { samples, rounds, wallMs, roundWallMs } = summarise(visits)
  return { samples, rounds, wallMs, roundWallMs }
}

/* ------------------------------------------------------------------ what a neighbour feels */

async function measureNeighbour(workload) {
  if (!floor) return { skipped: 'needs the floor program' }
  await fill(workload)
  probe ??= await Floor.open(floorBin, server.port)
  let entries = await openEntries(workload)
  // The target compares with one MGET.
  if (options.quick) entries = entries.filter((entry) => entry.kind === 'self' || entry.way === 'mget')
  const floors = await loadFloor(workload)
  for (const entry of entries) {
    if (entry.error) continue
    try {
      await entry.child.ask('prepare', { kind: workload.kind, params: workload.params, way: entry.way })
      await entry.child.ask('warm', { way: entry.way, ms: 100, min: 2, max: 10 })
    } catch (error) {
      drop(entry, error)
    }
  }
  for (const entry of floors) entry.estimate = median(await runFloor(entry, workload, 2)) / 1e6
  const quiet = { quiet: true, latencies: [], kind: 'quiet' }
  const all = [quiet, ...entries, ...floors]
  for (let round = 0; round < pace.probeRounds; round++) {
    for (const entry of rotated(all, round)) {
      if (entry.error) continue
      entry.latencies ??= []
      entry.calls ??= []
      try {
        const busy = entry.quiet ? null : entry.floor ? runFloor(entry, workload, Math.max(1, Math.round((pace.probeMs + 200) / entry.estimate))) : entry.child.ask('busy', { way: entry.way, ms: pace.probeMs + 200 })
        // A GET is due every millisecond.
        await new Promise((resolve) => setTimeout(resolve, 100))
        const answer = await probe.ask('probe', key(0), 1000, pace.probeMs)
        entry.latencies.push(...answer.wallNs)
        const load = await busy
        if (load?.meanMs) entry.calls.push(load.meanMs)
      } catch (error) {
        drop(entry, error)
      }
    }
  }
  await Promise.all([...new Set(entries.map((entry) => entry.child).filter(Boolean))].map((child) => child.close()))
  for (const name of loaded.splice(0)) await floor.ask('unload', name)
  const figures = (entry) => {
    const latencies = sorted(entry.latencies ?? []).map((value) => value / 1e6)
    return entry.error
      ? { error: entry.error }
      : { samples: latencies.length, getMs: { median: quantile(latencies, 0.5), p99: quantile(latencies, 0.99), max: latencies.at(-1) }, ...(entry.calls?.length ? { callMs: median(entry.calls) } : {}) }
  }
  return {
    quiet: figures(quiet),
    entries: entries.map((entry) => ({ contender: entry.contender, kind: entry.kind, way: entry.way, ...figures(entry) })),
    floor: floors.map((entry) => ({ name: entry.name, ...figures(entry) })),
  }
}

/* ------------------------------------------------------------------ a fresh process */

async function measureStartup(workload) {
  await fill(workload)
  // The others are options of the same modules.
  const list = names.filter((name) => !CONTENDERS[name].family).map((contender) => ({ contender, kind: CONTENDERS[contender].kind, way: 'fresh process', runs: [] }))
  // One unmeasured start each, so that the files are in the page cache for all.
  for (let round = -1; round < pace.startups; round++) {
    for (const entry of rotated(list, Math.max(0, round))) {
      if (entry.error) continue
      try {
        const out = await new Promise((resolve, reject) => {
          const child = spawn(process.execPath, [path.join(here, 'startup.cjs'), entry.contender, server.url], { cwd: here, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: 20_000 })
          const text = { stdout: '', stderr: '' }
          for (const stream of ['stdout', 'stderr']) child[stream].on('data', (chunk) => (text[stream] += chunk))
          child.once('error', reject)
          child.once('close', (status) => (status === 0 ? resolve(text.stdout) : reject(new Error(text.stderr.slice(0, 400)))))
        })
        if (round >= 0) entry.runs.push(JSON.parse(out))
      } catch (error) {
        drop(entry, error)
      }
    }
  }
  return {
    entries: list.map(({ contender, kind, way, runs, error }) =>
      error ? { contender, kind, way, error } : { contender, kind, way, samples: runs.length, requireMs: median(runs.map((run) => run.requireMs)), firstMs: median(runs.map((run) => run.firstMs)), totalMs: median(runs.map((run) => run.totalMs)) },
    ),
  }
}

/* ------------------------------------------------------------------ all of it */

function versions() {
  const require = createRequire(import.meta.url)
  const found = {}
  for (const name of ['ioredis', 'iovalkey', 'redis', '@valkey/valkey-glide']) found[name] = JSON.parse(readFileSync(path.join(here, 'node_modules', name, 'package.json'), 'utf8')).version
  if (names.includes('redis-bulk') && !process.env.BENCH_PACKAGE) found['redis-bulk'] = require('../package.json').version
  return found
}

const results = {
  meta: {
    date: new Date().toISOString().slice(0, 10),
    mode: options.quick ? 'quick' : options.only || options.contenders || options.samples ? 'partial' : 'full',
    node: process.version,
    server: server.version,
    platform: `${os.type()} ${os.release().split('-')[0]} ${os.arch()}`,
    cpu: os.cpus()[0]?.model.trim() || 'unknown',
    cores: os.availableParallelism?.() ?? os.cpus().length,
    memoryGb: Math.round(os.totalmem() / 2 ** 30),
    versions: versions(),
    pace: { ...pace },
  },
  workloads: [],
}

let failed = false
try {
  say(`${results.meta.server}, Node ${process.version}, ${results.meta.cores} cores; ${workloads.length} workloads`)
  for (const [at, workload] of workloads.entries()) {
    const begin = Date.now()
    // Two minutes in all on a slow machine too: what is left is shared among what is to come.
    if (options.quick && !options.samples) pace.budgetMs = Math.max(600, Math.min(5000, (0.4 * (100_000 - (begin - started))) / (workloads.length - at)))
    const measureIt = { neighbour: measureNeighbour, startup: measureStartup }[workload.special] ?? measureWorkload
    const { id, group, title, special, params, target } = workload
    const figures = await measureIt(workload)
    results.workloads.push({ id, group, title, special, params, target, ...figures })
    say(`[${at + 1}/${workloads.length}] ${title} (${id}) ${((Date.now() - begin) / 1000).toFixed(1)} s`)
  }
} catch (error) {
  failed = true
  console.error(error)
} finally {
  await stopAll()
}
results.meta.seconds = Math.round((Date.now() - started) / 1000)

mkdirSync(path.join(here, 'results'), { recursive: true })
const whole = results.meta.mode === 'full' && !failed
const out = options.out ? path.resolve(options.out) : path.join(here, 'results', `${failed ? 'partial' : { full: 'latest', quick: 'quick', partial: 'partial' }[results.meta.mode]}.json`)
writeFileSync(out, `${JSON.stringify(results, null, 1)}\n`)
process.stdout.write(report.text(results))
say(`\nwritten: ${path.relative(process.cwd(), out)}`)
const images = whole && names.includes('redis-bulk') ? path.join(here, '..', 'docs', 'img') : path.join(here, 'results', 'img')
for (const file of report.charts(results, images)) say(`written: ${path.relative(process.cwd(), file)}`)
if (whole && names.includes('redis-bulk') && !options.out) {
  report.updateMarkdown(results)
  report.updateReadme(results)
}
const missed = report.targets(results).some((target) => target.met === false)
process.exitCode = failed || (options.strict && missed) ? 1 : 0
