'use strict'

// Loading what a cache does not have: once for all who ask in this process, and under a lock on the server for those
// who ask in others.

const { setTimeout: pause } = require('node:timers/promises')
const { RedisBulkError } = require('../errors.js')
const { loadedReader } = require('../fetch.js')
const { acquire } = require('./lock.js')

/** Between two looks at what another process loads: at first, and at most. Milliseconds. */
const FIRST_LOOK = 5
const LONGEST_LOOK = 250

/** After so long a wait a process loads by itself, whatever the lock says. Milliseconds. */
const MOST_WAIT = 60_000

/** @typedef {import('../client.js').Client} Client */
/** @typedef {import('./entries.js').Entries} Entries */
/** What a load comes to; not found: it gave nothing for this id. @typedef {{ found: boolean, value?: any }} Loaded */
/** @typedef {Map<string, Promise<Loaded>>} Flights */

/** Loads under way, by key: caches of one name on one client share them. @type {WeakMap<Client, Flights>} */
const flightsOf = new WeakMap()

class Loading {
  #entries
  #flights
  /** Stale ids that are being loaded anew. @type {Set<string>} */
  #refreshing = new Set()

  /**
   * @param {Entries} entries
   * @param {string} lockPrefix in full
   */
  constructor(entries, lockPrefix) {
    this.#entries = entries
    this.lockPrefix = lockPrefix
    const flights = flightsOf.get(entries.client) ?? new Map()
    flightsOf.set(entries.client, flights)
    /** @type {Flights} */
    this.#flights = flights
  }

  /**
   * @param {string} id
   * @param {() => Promise<any>} load
   * @param {number | undefined} ttl
   */
  async getOrSet(id, load, ttl) {
    const { stats } = this.#entries
    const found = await this.#entries.read(id)
    if (found !== undefined) {
      stats.hits++
      if (found.stale) this.#refresh(id, load, ttl)
      return found.value
    }
    stats.misses++
    for (;;) {
      const flight = this.#flights.get(this.#key(id)) ?? this.#begin([id], () => this.#loadOnce(id, load, ttl)).get(id)
      const loaded = await /** @type {Promise<Loaded>} */ (flight)
      // Another caller's load of many may give nothing for this one.
      if (loaded.found) return loaded.value
    }
  }

  /**
   * @param {readonly string[]} ids
   * @param {(missing: string[]) => Promise<any>} load
   * @param {number | undefined} ttl
   * @returns {Promise<Map<string, any>>}
   */
  async getOrSetMany(ids, load, ttl) {
    const { stats } = this.#entries
    const wanted = [...new Set(ids)]
    const found = await this.#entries.readMany(wanted)
    /** @type {Map<string, Promise<Loaded>>} */
    const awaited = new Map()
    /** @type {string[]} */
    const own = []
    /** @type {string[]} */
    const stale = []
    wanted.forEach((id, index) => {
      const each = found[index]
      if (each !== undefined) {
        stats.hits++
        if (each.stale && !this.#refreshing.has(id)) stale.push(id)
        return
      }
      stats.misses++
      const flight = this.#flights.get(this.#key(id))
      if (flight === undefined) own.push(id)
      else awaited.set(id, flight)
    })
    if (own.length > 0) for (const [id, flight] of this.#begin(own, () => this.#loadMany(own, load, ttl))) awaited.set(id, flight)
    if (stale.length > 0) this.#inBackground(stale, async () => void (await this.#loadMany(stale, load, ttl)))
    const loaded = await Promise.all(awaited.values())
    const byId = new Map([...awaited.keys()].map((id, index) => [id, loaded[index]]))
    /** @type {Map<string, any>} */
    const result = new Map()
    wanted.forEach((id, index) => {
      const each = found[index] ?? byId.get(id)
      if (each !== undefined && !('found' in each && !each.found)) result.set(id, each.value)
    })
    return result
  }

  /** @param {string} id */
  #key(id) {
    return this.#entries.prefix + id
  }

  /**
   * Begins a load, which others find until it has ended.
   * @param {readonly string[]} ids
   * @param {() => Promise<Map<string, Loaded>>} run
   * @returns {Map<string, Promise<Loaded>>}
   */
  #begin(ids, run) {
    const running = run()
    /** @type {Map<string, Promise<Loaded>>} */
    const flights = new Map()
    for (const id of ids) {
      const flight = running.then((loaded) => loaded.get(id) ?? { found: false })
      // Whoever waits hears of it.
      flight.catch(() => {})
      flights.set(id, flight)
      this.#flights.set(this.#key(id), flight)
    }
    const end = () => {
      for (const id of ids) if (this.#flights.get(this.#key(id)) === flights.get(id)) this.#flights.delete(this.#key(id))
    }
    running.then(end, end)
    return flights
  }

  /**
   * @param {string} id
   * @param {() => Promise<any>} load
   * @param {number | undefined} ttl
   * @returns {Promise<Map<string, Loaded>>}
   */
  async #loadOnce(id, load, ttl) {
    const { client, options } = this.#entries
    const give = (/** @type {any} */ value) => new Map([[id, { found: true, value }]])
    const until = performance.now() + MOST_WAIT
    for (let wait = FIRST_LOOK; ; wait = Math.min(wait * 1.5, LONGEST_LOOK)) {
      const lock = await acquire(client, this.lockPrefix + id, options.lockMs)
      if (lock === 'unavailable' || (lock === 'held' && performance.now() > until)) return give(await this.#loadAndWrite(id, load, ttl))
      if (lock !== 'held') {
        try {
          // Its last holder may have written the value since this process looked.
          const found = await this.#entries.read(id)
          return give(found !== undefined && !found.stale ? found.value : await this.#loadAndWrite(id, load, ttl))
        } finally {
          // Nobody waits for that.
          void lock.release()
        }
      }
      // Between half of it and all of it, so that processes do not look in step.
      await pause(wait * (0.5 + Math.random() / 2))
      const found = await this.#entries.read(id)
      if (found !== undefined) return give(found.value)
    }
  }

  /**
   * @param {string} id
   * @param {() => Promise<any>} load
   * @param {number | undefined} ttl
   */
  async #loadAndWrite(id, load, ttl) {
    const value = await load()
    try {
      await this.#entries.write({ id, value, ttl })
    } catch (error) {
      notStored(this.#key(id), error)
    }
    return value
  }

  /**
   * @param {string[]} ids
   * @param {(missing: string[]) => Promise<any>} load
   * @param {number | undefined} ttl
   * @returns {Promise<Map<string, Loaded>>}
   */
  async #loadMany(ids, load, ttl) {
    const valueOf = loadedReader(await load([...ids]))
    /** @type {Map<string, Loaded>} */
    const loaded = new Map()
    for (const id of ids) {
      const value = valueOf(id)
      if (value !== undefined) loaded.set(id, { found: true, value })
    }
    const entries = [...loaded].map(([id, { value }]) => ({ id, value, ttl }))
    if (entries.length === 0) return loaded
    try {
      const { errors } = await this.#entries.writeMany(entries)
      const refused = errors.find(({ code }) => code === 'INVALID_DATA')
      if (refused !== undefined) notStored(refused.key, refused)
    } catch (error) {
      if (!(error instanceof RedisBulkError)) throw error
      this.#entries.stats.errors++
    }
    return loaded
  }

  /**
   * Loads a stale entry anew, if no other process does.
   * @param {string} id
   * @param {() => Promise<any>} load
   * @param {number | undefined} ttl
   */
  #refresh(id, load, ttl) {
    if (this.#refreshing.has(id) || this.#flights.has(this.#key(id))) return
    const { client, options } = this.#entries
    this.#inBackground([id], async () => {
      const lock = await acquire(client, this.lockPrefix + id, options.lockMs)
      if (typeof lock === 'string') return
      try {
        this.#entries.local?.drop(id)
        const found = await this.#entries.read(id)
        if (found === undefined || found.stale) await this.#loadAndWrite(id, load, ttl)
      } finally {
        void lock.release()
      }
    })
  }

  /**
   * @param {readonly string[]} ids
   * @param {() => Promise<void>} run
   */
  #inBackground(ids, run) {
    for (const id of ids) this.#refreshing.add(id)
    const end = () => {
      for (const id of ids) this.#refreshing.delete(id)
    }
    run().then(end, () => {
      // Nobody waits for it: the stale value is served until its time is over too, and the next reader tries again.
      this.#entries.stats.errors++
      end()
    })
  }
}

/**
 * @param {string} key
 * @param {unknown} error
 */
function notStored(key, error) {
  const { message } = /** @type {Error} */ (error)
  process.emitWarning(`what was loaded for ${key} was not stored: ${message}`, { code: 'REDIS_BULK_NOT_STORED' })
}

exports.Loading = Loading
