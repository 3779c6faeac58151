'use strict'

// The account of a cache's entries on the embedded store, which keeps strings only and runs no scripts: in this thread's
// memory. It knows the entries that were there when it began, and what this client wrote.

const { Evicted } = require('./evicted.js')

/** Expired entries are looked for at most so often. */
const SWEEP_MS = 1000

/** @typedef {import('./account.js').Use} Use */
/** @typedef {import('./evicted.js').Discard} Discard */

class EmbeddedAccount {
  #maxEntries
  /** In the order of use, the latest last. @type {Map<string, Use & { ends: number }>} */
  #entries = new Map()
  /** What was there when it began, while that is being looked for. @type {Set<string>} */
  #found = new Set()
  /** When the entries that were there are known. @type {Promise<void> | undefined} */
  #begun
  #evicted = new Evicted()
  /** @type {Promise<void> | undefined} */
  #evicting
  /** Evictions under way. @type {Set<Promise<void>>} */
  #underWay = new Set()
  /** When expired ones were looked for. */
  #sweptAt = -Infinity

  /**
   * @param {number} maxEntries 0: any number
   * @param {Discard} discard
   * @param {() => AsyncIterable<string[]>} scan the ids of all entries
   */
  constructor(maxEntries, discard, scan) {
    this.#maxEntries = maxEntries
    this.discard = discard
    this.scan = scan
  }

  /** Nothing waits for a later time. */
  get waits() {
    return false
  }

  /**
   * @param {string} id
   * @param {number} ttlMs 0: no end
   */
  add(id, ttlMs) {
    if (this.#maxEntries === 0) return
    this.#evicted.keep(id)
    this.#entries.delete(id)
    this.#entries.set(id, { at: Date.now(), hits: 0, ends: ttlMs === 0 ? Infinity : performance.now() + ttlMs })
  }

  /** @param {string} id */
  drop(id) {
    this.#found.delete(id)
    this.#entries.delete(id)
  }

  /** @param {string} id */
  use(id) {
    const { hits, ends } = this.#entries.get(id) ?? { hits: 0, ends: Infinity }
    this.#entries.delete(id)
    this.#entries.set(id, { at: Date.now(), hits: hits + 1, ends })
  }

  /** Evicts what is too much, once for all writes of one turn of the event loop. @returns {Promise<void>} */
  flush() {
    if (this.#maxEntries === 0) return Promise.resolve()
    this.#evicting ??= Promise.resolve().then(() => {
      this.#evicting = undefined
      return this.#evict()
    })
    return this.#evicting
  }

  /** @returns {Promise<void>} */
  #evict() {
    const eviction = this.#evictExcess()
    this.#underWay.add(eviction)
    const ended = () => void this.#underWay.delete(eviction)
    eviction.then(ended, ended)
    return eviction
  }

  async #evictExcess() {
    await (this.#begun ??= this.#begin())
    if (this.#entries.size > this.#maxEntries) this.#sweep()
    for (const id of [...this.#firsts(this.#entries.size - this.#maxEntries)]) {
      this.#entries.delete(id)
      this.#evicted.add(id)
    }
    await this.#evicted.discard(this.discard)
  }

  /** The same, begun before this returns; resolves when what was begun before has ended, too. */
  async flushAtOnce() {
    if (this.#maxEntries === 0) return
    this.#evict()
    const outcomes = await Promise.allSettled(this.#underWay)
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  }

  async #begin() {
    try {
      for await (const ids of this.scan()) for (const id of ids) this.#found.add(id)
    } catch (error) {
      this.#begun = undefined
      throw error
    }
    // Used later than those that were found.
    const known = this.#entries
    this.#entries = new Map()
    for (const id of this.#found) if (!known.has(id)) this.#entries.set(id, { at: 0, hits: 0, ends: Infinity })
    for (const [id, use] of known) this.#entries.set(id, use)
    this.#found.clear()
  }

  /** Expired ones are no entries. */
  #sweep() {
    const now = performance.now()
    if (now - this.#sweptAt < SWEEP_MS) return
    this.#sweptAt = now
    for (const [id, { ends }] of this.#entries) if (ends <= now) this.#entries.delete(id)
  }

  /** @param {number} count */
  *#firsts(count) {
    for (const id of this.#entries.keys()) {
      if (count-- <= 0) return
      yield id
    }
  }

  async size() {
    let count = 0
    for await (const ids of this.scan()) count += ids.length
    return count
  }

  /** @param {string} id */
  async usage(id) {
    const use = this.#entries.get(id)
    return use && { hits: use.hits, lastUsedAt: use.at }
  }

  async reset() {
    this.#found.clear()
    this.#entries.clear()
    this.#evicted.clear()
  }
}

exports.EmbeddedAccount = EmbeddedAccount
