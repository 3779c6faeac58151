// How things are measured. The first half runs in a contender's process, the second in the parent.
import { readFileSync, writeFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'

const now = () => process.hrtime.bigint()
const ns = (from, to) => Number(to - from)

/**
 * CPU time of the JS thread in ns, by the scheduler's own count (Linux; undefined elsewhere).
 *
 * The kernel adds a running stretch when the thread leaves the CPU or at a tick. So let the thread sleep first; then
 * at most the stretch since it woke is missing, some tens of microseconds.
 */
async function threadCpuNs() {
  await sleep(2)
  try {
    return Number(readFileSync('/proc/self/schedstat', 'latin1').split(' ')[0])
  } catch {
    return undefined
  }
}

/** Calls `op` for about `ms`, at least `min` and at most `max` times. Figures per call. */
export async function visit(op, { ms, min, max }) {
  const wall = []
  const cpu0 = await threadCpuNs()
  const usage0 = process.cpuUsage()
  const loop0 = performance.eventLoopUtilization()
  const start = now()
  const end = start + BigInt(Math.round(ms * 1e6))
  let last = start
  while (wall.length < max && (wall.length < min || last < end)) {
    const begin = now()
    await op()
    last = now()
    wall.push(ns(begin, last))
  }
  const loop = performance.eventLoopUtilization(loop0)
  const usage = process.cpuUsage(usage0)
  const cpu1 = await threadCpuNs()
  const calls = wall.length
  return {
    calls,
    wallNs: wall,
    // Time in which the loop did not wait for events: what other work of the thread has to wait for.
    jsMs: loop.active / calls,
    // The same by CPU time: less where the thread was ready but had no core.
    jsCpuMs: cpu0 === undefined ? null : (cpu1 - cpu0) / 1e6 / calls,
    cpuMs: (usage.user + usage.system) / 1000 / calls,
  }
}

/** `callers` loops at once, each calling `op` `each` times. Figures per call. */
export async function visitCallers(op, { callers, each }) {
  const latency = []
  const cpu0 = await threadCpuNs()
  const usage0 = process.cpuUsage()
  const loop0 = performance.eventLoopUtilization()
  const start = now()
  const caller = async () => {
    for (let i = 0; i < each; i++) {
      const begin = performance.now()
      await op()
      latency.push(performance.now() - begin)
    }
  }
  await Promise.all(Array.from({ length: callers }, caller))
  const wall = ns(start, now())
  const loop = performance.eventLoopUtilization(loop0)
  const usage = process.cpuUsage(usage0)
  const cpu1 = await threadCpuNs()
  const calls = callers * each
  latency.sort((a, b) => a - b)
  return {
    calls,
    wallNs: [wall / calls],
    jsMs: loop.active / calls,
    jsCpuMs: cpu0 === undefined ? null : (cpu1 - cpu0) / 1e6 / calls,
    cpuMs: (usage.user + usage.system) / 1000 / calls,
    latencyMs: { p50: quantile(latency, 0.5), p99: quantile(latency, 0.99) },
  }
}

/**
 * The longest time between two turns of the loop during one call. A chain of setImmediate turns the loop all the time,
 * which costs CPU: so these are samples of their own, and the same chain beside a sleeping process of the same length
 * shows what of it is the machine's.
 */
export async function stall(op) {
  let last
  let longest
  let running = true
  const turn = () => {
    const at = now()
    const gap = ns(last, at)
    if (gap > longest) longest = gap
    last = at
    if (running) setImmediate(turn)
  }
  const start = async () => {
    last = now()
    longest = 0
    setImmediate(turn)
    await sleep(5)
    longest = 0
  }
  const nextTurn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  await start()
  const begin = performance.now()
  await op()
  const took = performance.now() - begin
  await nextTurn()
  const stallMs = longest / 1e6
  longest = 0
  await sleep(Math.max(1, took))
  await nextTurn()
  running = false
  return { stallMs, idleMs: longest / 1e6 }
}

const status = (field) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'latin1'))?.[1] ?? NaN) / 1024

/** Peak resident memory (MiB) during `calls` calls, above what the process held before (Linux). */
export async function memory(op, { calls }) {
  for (let i = 0; i < 2; i++) {
    globalThis.gc?.()
    await sleep(30)
  }
  try {
    const idle = status('VmRSS')
    writeFileSync('/proc/self/clear_refs', '5')
    for (let i = 0; i < calls; i++) await op()
    return { idleMb: idle, peakMb: status('VmHWM'), aboveMb: status('VmHWM') - idle }
  } catch {
    return null
  }
}

/** Without a bound: turns `op` into a load for `ms`. */
export async function keepBusy(op, ms) {
  const start = performance.now()
  let calls = 0
  while (performance.now() - start < ms) {
    await op()
    calls++
  }
  return { calls, meanMs: (performance.now() - start) / calls }
}

/* ------------------------------------------------------------------ figures */

export function quantile(sorted, q) {
  if (sorted.length === 0) return null
  const at = (sorted.length - 1) * q
  const low = Math.floor(at)
  const high = Math.ceil(at)
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low)
}
export const sorted = (values) => [...values].sort((a, b) => a - b)
export const median = (values) => quantile(sorted(values.filter((value) => value !== null && value !== undefined)), 0.5)

/** One entry's visits → its figures. Wall time: over all calls. The rest: median of the visits' means, so that garbage collection counts. */
export function summarise(visits) {
  const wall = sorted(visits.flatMap((v) => v.wallNs)).map((value) => value / 1e6)
  const latency = visits.filter((v) => v.latencyMs)
  return {
    samples: wall.length,
    rounds: visits.length,
    wallMs: { median: quantile(wall, 0.5), p99: quantile(wall, 0.99), mean: wall.reduce((a, b) => a + b, 0) / wall.length, min: wall[0] },
    // One median for each round: shows how steady the machine was.
    roundWallMs: visits.map((v) => quantile(sorted(v.wallNs), 0.5) / 1e6),
    jsMs: median(visits.map((v) => v.jsMs)),
    jsCpuMs: median(visits.map((v) => v.jsCpuMs)),
    cpuMs: median(visits.map((v) => v.cpuMs)),
    ...(latency.length ? { latencyMs: { p50: median(latency.map((v) => v.latencyMs.p50)), p99: median(latency.map((v) => v.latencyMs.p99)) } } : {}),
  }
}
