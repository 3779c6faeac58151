'use strict'

/** Ids whose entries are deleted together: one command, so that none of it goes out after a later write. */
const CHUNK = 1000

/**
 * Deletes the entries whose ids `take` gives. It asks once, just before it sends the deletion: what is written later goes
 * out later.
 * @typedef {(take: () => string[]) => Promise<void>} Discard
 */

/** Ids that left the account and whose entries still are to be deleted, unless they are written again before. */
class Evicted {
  /** @type {Set<string>} */
  #ids = new Set()
  /** Those of each deletion that is under way. @type {Set<Set<string>>} */
  #leaving = new Set()

  get size() {
    return this.#ids.size
  }

  /** @param {string} id */
  add(id) {
    this.#ids.add(id)
  }

  /** It was written: another entry, which stays. @param {string} id */
  keep(id) {
    this.#ids.delete(id)
    for (const some of this.#leaving) some.delete(id)
  }

  clear() {
    this.#ids.clear()
    for (const some of this.#leaving) some.clear()
  }

  /**
   * Deletes all of them, a chunk at a time: an id that is written again while an earlier chunk goes is not asked for.
   * @param {Discard} discard where it fails, they wait for the next time
   */
  async discard(discard) {
    while (this.#ids.size > 0) {
      /** @type {Set<string>} */
      const leaving = new Set()
      try {
        await discard(() => this.#take(leaving))
      } catch (error) {
        for (const id of leaving) this.#ids.add(id)
        throw error
      } finally {
        this.#leaving.delete(leaving)
      }
    }
  }

  /** @param {Set<string>} leaving */
  #take(leaving) {
    for (const id of this.#ids) {
      if (leaving.size === CHUNK) break
      leaving.add(id)
      this.#ids.delete(id)
    }
    this.#leaving.add(leaving)
    return [...leaving]
  }
}

exports.Evicted = Evicted
