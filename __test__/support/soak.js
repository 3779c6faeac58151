'use strict'

// Long runs: many callers, mixed work, and a look at memory and outcomes meanwhile. `npm run soak` and the tests use it.

const rb = require('../../index.js')
const { randomFrom } = require('./work.js')

const MB = 1024 * 1024
/** Keys that the mixed work reads and writes. */
const KEYS = 5_000
/** Keys of each caller in `killed`. */
const OWN_KEYS = 200
/** No call may be pending for longer, whatever happens to the server: far beyond every limit below. */
const LONGEST_CALL_MS = 60_000

const gc = () => /** @type {any} */ (globalThis).gc?.()

/** Watches memory and what is pending, once a second. */
class Watch {
  #timer
  /** @type {{ seconds: number, calls: number, rss: number, heap: number, external: number }[]} */
  samples = []
  calls = 0
  /** When each call that has not settled began. @type {Map<symbol, number>} */
  pending = new Map()
  longestMs = 0
  start = performance.now()
  /** What must not be. @type {string[]} */
  wrong = []

  /** @param {(line: string) => void} report */
  constructor(report) {
    let last = 0
    this.#timer = setInterval(() => {
      const sample = this.sample()
      if (sample.seconds - last < 10) return
      last = sample.seconds
      report(line(sample))
    }, 1000)
  }

  sample() {
    gc()
    const { rss, heapUsed, external } = process.memoryUsage()
    const sample = { seconds: (performance.now() - this.start) / 1000, calls: this.calls, rss: rss / MB, heap: heapUsed / MB, external: external / MB }
    this.samples.push(sample)
    for (const began of this.pending.values()) {
      if (performance.now() - began > LONGEST_CALL_MS) this.fail(`a call has been pending for ${Math.round(performance.now() - began)} ms`)
    }
    return sample
  }

  /** @param {string} what */
  fail(what) {
    if (this.wrong.length < 20) this.wrong.push(what)
  }

  /**
   * What the call comes to; never rejects.
   * @param {Promise<any>} call
   */
  async settled(call) {
    const id = Symbol('call')
    const began = performance.now()
    this.pending.set(id, began)
    this.calls++
    try {
      return { value: await call }
    } catch (error) {
      return { error: /** @type {any} */ (error) }
    } finally {
      this.pending.delete(id)
      this.longestMs = Math.max(this.longestMs, performance.now() - began)
    }
  }

  stop() {
    clearInterval(this.#timer)
  }

  /** Medians of memory after the warm-up and at the end, each over a part of the run. */
  memory() {
    const at = (/** @type {number} */ from, /** @type {number} */ to) => {
      const part = this.samples.slice(Math.floor(this.samples.length * from), Math.max(Math.ceil(this.samples.length * to), Math.floor(this.samples.length * from) + 1))
      const median = (/** @type {'rss' | 'heap' | 'external'} */ name) => part.map((sample) => sample[name]).sort((a, b) => a - b)[Math.floor(part.length / 2)]
      return { rss: median('rss'), heap: median('heap'), external: median('external') }
    }
    return { warm: at(0.25, 0.4), end: at(0.85, 1), peak: Math.max(...this.samples.map((sample) => sample.rss)) }
  }
}

/**
 * A call is counted off just after its promise has settled.
 * @param {any} client
 */
async function settledMetrics(client) {
  for (let look = 0; look < 200 && client.metrics().inFlight > 0; look++) await new Promise((resolve) => setTimeout(resolve, 25))
  return client.metrics()
}

/** @param {Watch['samples'][0]} sample */
function line({ seconds, calls, rss, heap, external }) {
  return `${seconds.toFixed(0).padStart(5)} s  ${String(calls).padStart(9)} calls  resident ${rss.toFixed(1)} MB  heap ${heap.toFixed(1)} MB  external ${external.toFixed(1)} MB`
}

/**
 * Every operation, in all forms, from `callers` at once, until `seconds` have passed or `calls` were made. Each value
 * names its key, so that an answer to another question is seen.
 * @param {{ url: string, seconds?: number, calls?: number, callers?: number, seed?: number, report?: (line: string) => void }} options
 */
async function mixed({ url, seconds = Infinity, calls = Infinity, callers = 20, seed = Date.now(), report = () => {} }) {
  const watch = new Watch(report)
  const client = rb.createClient({ url, clientName: 'soak', commandTimeoutMs: 30_000 })
  const random = randomFrom(seed)
  const below = (/** @type {number} */ n) => Math.floor(random() * n)
  const key = () => `s:${below(KEYS)}`
  const some = (/** @type {number} */ count) => Array.from({ length: count }, key)
  const value = (/** @type {string} */ name) => `${name}=${'x'.repeat(below(400))}${below(4) === 0 ? 'ü' : ''}${below(8) === 0 ? '€' : ''}`
  const check = (/** @type {string[]} */ names, /** @type {any} */ { value: found, error }, /** @type {(item: any) => any} */ read = (item) => item) => {
    if (error !== undefined) return watch.fail(`a look-up failed: ${error.stack}`)
    found.results.forEach((/** @type {any} */ item, /** @type {number} */ index) => {
      if (item !== null && !String(read(item)).startsWith(`${names[index]}=`)) watch.fail(`${names[index]} was answered with ${String(read(item)).slice(0, 40)}`)
    })
    if (found.cacheHits + found.cacheMisses + found.errors.length !== names.length) watch.fail('an account that does not add up')
  }
  const fine = (/** @type {any} */ { error }, /** @type {string} */ what) => error !== undefined && watch.fail(`${what} failed: ${error.stack}`)
  /** How often of 1,000, and what. @type {[number, () => Promise<unknown>][]} */
  const work = [
    [560, async () => { const names = some(1 + below(5)); check(names, await watch.settled(client.bulkLookup('', names))) }],
    [100, async () => { const names = some(50); check(names, await watch.settled(client.bulkLookup('', names, { as: 'buffer' }))) }],
    [30, async () => { const names = some(200); check(names, await watch.settled(client.bulkLookup('', names, { strategy: 'script' }))) }],
    [12, async () => { const names = some(1000); check(names, await watch.settled(client.bulkLookup('', names))) }],
    [2, async () => { const names = some(5000); check(names, await watch.settled(client.bulkLookup('', names, { batchSize: 100 }))) }],
    [40, async () => { const names = some(20).map((name) => `j${name}`); check(names, await watch.settled(client.bulkLookup('', names, { as: 'json' })), (item) => item.of) }],
    [80, async () => fine(await watch.settled(client.pipelineSet(some(1 + below(20)).map((name) => ({ key: name, data: value(name), ttl: 60 })))), 'pipelineSet')],
    [20, async () => fine(await watch.settled(client.pipelineSet(some(100).map((name) => ({ key: name, data: value(name) })))), 'pipelineSet')],
    [30, async () => fine(await watch.settled(client.pipelineSet(some(30).map((name) => ({ key: `j${name}`, data: { of: `j${value(name)}`, at: [1, { two: 2 }] } })))), 'pipelineSet of objects')],
    [10, async () => fine(await watch.settled(client.pipelineSet(some(10).map((name) => ({ key: name, data: value(name) })), { condition: 'nx' })), 'pipelineSet nx')],
    [30, async () => fine(await watch.settled(client.batchDelete(some(20))), 'batchDelete')],
    [10, async () => fine(await watch.settled(client.batchDelete(some(20), { report: true })), 'batchDelete with a report')],
    [40, async () => fine(await watch.settled(client.sendCommand(['INCR', 'counter'])), 'sendCommand')],
    [4, async () => fine(await watch.settled(client.scanAll('s:1*', { limit: 200 })), 'scanAll')],
    // What goes wrong must leave nothing behind either.
    [10, async () => { await watch.settled(client.bulkLookup('', some(500), { timeoutMs: 1, partial: true })) }],
    [10, async () => { const abort = new AbortController(); const call = watch.settled(client.bulkLookup('', some(500), { signal: abort.signal })); abort.abort(); await call }],
    [5, async () => { const { error } = await watch.settled(client.sendCommand(['NOSUCHCOMMAND'])); if (error?.code !== 'ERR') watch.fail(`an unknown command: ${error}`) }],
    [3, async () => { const { error } = await watch.settled(client.bulkLookup('', /** @type {any} */ ([1]))); if (error?.code !== 'INVALID_ARGUMENT') watch.fail(`a wrong argument: ${error}`) }],
    [3, async () => { client.metrics(); fine(await watch.settled(client.health()), 'health') }],
    [1, async () => {
      const own = rb.createClient({ url, clientName: `soak-${below(1000)}`, commandTimeoutMs: 30_000 })
      fine(await watch.settled(own.bulkLookup('', some(3))), 'a client of its own')
      fine(await watch.settled(own.close()), 'close')
    }],
  ]
  const total = work.reduce((sum, [weight]) => sum + weight, 0)
  const pick = () => {
    let at = below(total)
    for (const [weight, act] of work) if ((at -= weight) < 0) return act
    return work[0][1]
  }
  const end = performance.now() + seconds * 1000
  await Promise.all(Array.from({ length: callers }, async () => {
    while (performance.now() < end && watch.calls < calls && watch.wrong.length === 0) await pick()()
  }))
  watch.sample()
  watch.stop()
  const { inFlight, bufferedBytes } = await settledMetrics(client)
  if (inFlight !== 0 || bufferedBytes !== 0) watch.fail(`in the end ${inFlight} calls are in flight and ${bufferedBytes} bytes buffered`)
  await client.close()
  return { seed, seconds: (performance.now() - watch.start) / 1000, calls: watch.calls, longestMs: watch.longestMs, pending: watch.pending.size, wrong: watch.wrong, ...watch.memory() }
}

/**
 * Mixed work while the server is killed and started again every `every` seconds and connections are cut at random. In the
 * end the server is asked for everything that was reported: written is there, deleted and refused is not, unknown is
 * either, and a counter stands between what was acknowledged and what may have been.
 * @param {{ server: any, proxy: any, seconds: number, every?: number, callers?: number, seed?: number, report?: (line: string) => void }} options
 */
async function killed({ server, proxy, seconds, every = 5, callers = 50, seed = Date.now(), report = () => {} }) {
  const watch = new Watch(report)
  const client = rb.createClient({ url: proxy.url, clientName: 'killed', connectTimeoutMs: 2000, commandTimeoutMs: 2000, circuitBreaker: false, retry: { attempts: 3, baseDelayMs: 20, maxDelayMs: 200 } })
  const random = randomFrom(seed)
  const below = (/** @type {number} */ n) => Math.floor(random() * n)
  /** What each key must be: its value, null, or undefined where nobody can know. @type {Map<string, string | null | undefined>} */
  const model = new Map()
  const counters = Array.from({ length: callers }, () => ({ acknowledged: 0, unknown: 0 }))
  const tally = { written: 0, deleted: 0, refused: 0, unknown: 0, rejected: 0, read: 0, kills: 0, cuts: 0 }
  const end = performance.now() + seconds * 1000

  /**
   * Notes what a bulk call says of its items.
   * @param {string[]} keys
   * @param {{ value?: any, error?: any }} outcome
   * @param {(key: string) => string | null} after what the key is when it was carried out
   */
  const note = (keys, { value, error }, after) => {
    const failed = new Map((value?.errors ?? error?.report?.errors ?? []).map((/** @type {any} */ item) => [item.index, item.applied]))
    const whole = error !== undefined && error.report === undefined
    if (whole) tally.rejected++
    keys.forEach((key, index) => {
      const applied = whole ? error.applied : failed.has(index) ? failed.get(index) : true
      if (applied === 'unknown') {
        tally.unknown++
        model.set(key, undefined)
      } else if (applied === true) {
        tally[after(key) === null ? 'deleted' : 'written']++
        model.set(key, after(key))
      } else {
        tally.refused++
      }
    })
  }

  const caller = async (/** @type {number} */ number) => {
    // Each caller has keys of its own. One of which nobody knows any more gives way to a new name.
    const names = Array.from({ length: OWN_KEYS }, (_, slot) => `k:${number}:${slot}`)
    for (const name of names) model.set(name, null)
    let generation = 0
    const pick = (/** @type {number} */ count) => [...new Set(Array.from({ length: count }, () => names[below(OWN_KEYS)]))]
    while (performance.now() < end && watch.wrong.length === 0) {
      const act = below(10)
      if (act < 4) {
        const entries = pick(1 + below(30)).map((key) => ({ key, data: `v${below(1e9)}` }))
        const options = below(3) === 0 ? { ttl: 3600 } : below(3) === 0 ? /** @type {const} */ ({ condition: 'nx' }) : {}
        const values = new Map(entries.map(({ key, data }) => [key, data]))
        note([...values.keys()], await watch.settled(client.pipelineSet(entries, options)), (key) => /** @type {string} */ (values.get(key)))
      } else if (act < 6) {
        const keys = pick(10)
        note(keys, await watch.settled(client.batchDelete(keys, { report: true })), () => null)
      } else if (act < 7) {
        const { value, error } = await watch.settled(client.sendCommand(['INCR', `n:${number}`]))
        if (value !== undefined) counters[number].acknowledged++
        else if (error.applied === 'unknown') counters[number].unknown++
      } else {
        const keys = pick(20)
        const { value } = await watch.settled(client.bulkLookup('', keys, below(2) === 0 ? {} : { partial: true }))
        tally.read += keys.length
        const failed = new Set(value?.errors.map((/** @type {any} */ item) => item.index))
        value?.results.forEach((/** @type {any} */ item, /** @type {number} */ index) => {
          if (!failed.has(index) && item !== model.get(keys[index])) watch.fail(`${keys[index]} was read as ${item}, it is ${model.get(keys[index])}`)
        })
      }
      for (let slot = 0; slot < OWN_KEYS; slot++) {
        if (model.get(names[slot]) !== undefined) continue
        model.delete(names[slot])
        model.set((names[slot] = `k:${number}:${slot}:${++generation}`), null)
      }
      // The server syncs its file for every write: a turn for the others, and for the timers of this run.
      if (below(4) === 0) await new Promise((resolve) => setTimeout(resolve, below(5)))
    }
  }

  let over = false
  const trouble = (async () => {
    let next = performance.now() + every * 1000
    while (!over) {
      await new Promise((resolve) => setTimeout(resolve, 100 + below(900)))
      if (over) break
      // The proxy keeps what it saw for tests that ask.
      proxy.commands.length = 0
      if (performance.now() < next) {
        tally.cuts++
        proxy.cut()
        continue
      }
      next = performance.now() + every * 1000
      tally.kills++
      await server.kill('SIGKILL')
      await new Promise((resolve) => setTimeout(resolve, below(600)))
      await server.restart()
    }
  })()

  await Promise.all(Array.from({ length: callers }, (_, number) => caller(number)))
  over = true
  await trouble
  // The server is up: everything that is left settles now.
  watch.sample()
  watch.stop()

  const lost = []
  const keys = [...model]
  for (let at = 0; at < keys.length; at += 1000) {
    const part = keys.slice(at, at + 1000)
    const found = await server.cli('MGET', ...part.map(([key]) => key))
    part.forEach(([key, expected], index) => {
      if (found[index] !== expected) lost.push(`${key} is ${found[index]}, reported was ${expected}`)
    })
  }
  for (const [number, { acknowledged, unknown }] of counters.entries()) {
    const count = Number((await server.cli('GET', `n:${number}`)) ?? 0)
    if (count < acknowledged || count > acknowledged + unknown) lost.push(`counter ${number} is ${count}, acknowledged were ${acknowledged}, unknown ${unknown}`)
  }
  for (const each of lost) watch.fail(each)
  const { retries, reconnects, inFlight, bufferedBytes } = await settledMetrics(client)
  if (inFlight !== 0 || bufferedBytes !== 0) watch.fail(`in the end ${inFlight} calls are in flight and ${bufferedBytes} bytes buffered`)
  await client.close()
  return {
    seed, seconds: (performance.now() - watch.start) / 1000, calls: watch.calls, longestMs: watch.longestMs, pending: watch.pending.size, checked: keys.length, lost: lost.length, ...tally, retries, reconnects,
    wrong: watch.wrong, ...watch.memory(),
  }
}

module.exports = { LONGEST_CALL_MS, killed, mixed }
