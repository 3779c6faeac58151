'use strict'

// The copy in front of the server: bounded by entries and by bytes, the least recently used going first. It keeps what is
// stored, not values: each caller gets a value of its own.

/** Seconds that a copy is kept: where the server does not tell of changes, and where it does. */
const DEFAULT_TTL = 5
const DEFAULT_TOLD_TTL = 60
const DEFAULT_ENTRIES = 10_000
const DEFAULT_BYTES = 32 * 1024 * 1024

/** What an entry takes beside its text, about. */
const ENTRY_OVERHEAD = 200

/** Ids that changed while something was under way. Beyond them nothing that is under way is kept. */
const MOST_CHANGES = 100_000

/** @typedef {import('./codec.js').Body} Body */
/** @typedef {{ body: Body, staleAt: number | undefined, ends: number, bytes: number }} Copy */

class LocalCopy {
  /** In the order of use. @type {Map<string, Copy>} */
  #copies = new Map()
  #bytes = 0
  #maxEntries
  #maxBytes
  #ttl
  /** Counts changes, so that what was read or written before one is not kept after it. */
  #clock = 0
  #underWay = 0
  /** When ids changed while reads or writes were under way. @type {Map<string, number>} */
  #changes = new Map()
  /** Up to when every id counts as changed. */
  #allChanged = 0
  #isTold = false

  /** @param {{ maxEntries?: number, maxBytes?: number, ttl?: number }} options */
  constructor({ maxEntries = DEFAULT_ENTRIES, maxBytes = DEFAULT_BYTES, ttl }) {
    this.#maxEntries = maxEntries
    this.#maxBytes = maxBytes
    this.#ttl = ttl
  }

  get #ttlMs() {
    return (this.#ttl ?? (this.#isTold ? DEFAULT_TOLD_TTL : DEFAULT_TTL)) * 1000
  }

  /** Whether the server tells of changes. */
  get isTold() {
    return this.#isTold
  }

  /** What is kept may have changed while nobody told. */
  set isTold(told) {
    this.#isTold = told
    this.clear()
  }

  get size() {
    return this.#copies.size
  }

  get bytes() {
    return this.#bytes
  }

  /** @param {string} id */
  get(id) {
    const copy = this.#copies.get(id)
    if (copy === undefined) return undefined
    this.#copies.delete(id)
    if (performance.now() >= copy.ends) {
      this.#bytes -= copy.bytes
      return undefined
    }
    this.#copies.set(id, copy)
    return copy
  }

  /** Before a read or a write goes to the server; gives back what `keep` and `write` want to know. */
  begin() {
    this.#underWay++
    return this.#clock
  }

  /** After the last `keep` of a read, the last `write` of a write. */
  end() {
    this.#underWay--
    if (this.#underWay === 0) this.#changes.clear()
  }

  /**
   * Keeps what was read, unless the id changed meanwhile.
   * @param {number} begun
   * @param {string} id
   * @param {Body} body
   * @param {number | undefined} staleAt
   */
  keep(begun, id, body, staleAt) {
    if (!this.#hasChanged(begun, id)) this.#put(id, body, staleAt, this.#ttlMs)
  }

  /**
   * Takes what was written, unless the id changed meanwhile: what others wrote after it may have been told of before its
   * own answer came.
   * @param {number} begun
   * @param {string} id
   * @param {Body} body
   * @param {number | undefined} staleAt
   * @param {number} ttlMs of the entry, Infinity where it has none
   */
  write(begun, id, body, staleAt, ttlMs) {
    const hasChanged = this.#hasChanged(begun, id)
    // Reads that are under way may have begun before it.
    this.drop(id)
    if (!hasChanged) this.#put(id, body, staleAt, Math.min(ttlMs, this.#ttlMs))
  }

  /** @param {string} id */
  drop(id) {
    this.#clock++
    if (this.#underWay > 0) {
      if (this.#changes.size >= MOST_CHANGES) {
        this.#changes.clear()
        this.#allChanged = this.#clock
      }
      this.#changes.set(id, this.#clock)
    }
    this.#forget(id)
  }

  clear() {
    this.#allChanged = ++this.#clock
    this.#copies.clear()
    this.#bytes = 0
  }

  /**
   * @param {number} begun
   * @param {string} id
   */
  #hasChanged(begun, id) {
    return this.#allChanged > begun || (this.#changes.get(id) ?? 0) > begun
  }

  /** @param {string} id */
  #forget(id) {
    const copy = this.#copies.get(id)
    if (copy === undefined) return
    this.#copies.delete(id)
    this.#bytes -= copy.bytes
  }

  /**
   * @param {string} id
   * @param {Body} body
   * @param {number | undefined} staleAt
   * @param {number} ttlMs
   */
  #put(id, body, staleAt, ttlMs) {
    this.#forget(id)
    const bytes = Buffer.byteLength(body) + Buffer.byteLength(id) + ENTRY_OVERHEAD
    if (bytes > this.#maxBytes) return
    this.#copies.set(id, { body, staleAt, ends: performance.now() + ttlMs, bytes })
    this.#bytes += bytes
    for (const oldest of this.#copies.keys()) {
      if (this.#bytes <= this.#maxBytes && this.#copies.size <= this.#maxEntries) break
      this.#forget(oldest)
    }
  }
}

exports.LocalCopy = LocalCopy
