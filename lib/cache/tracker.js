'use strict'

// What the server tells of changed keys, handed to the local copies of one client's caches. One connection serves all of them.

const { unwatchChanges, watchChanges } = require('../bridge.js')

/** @typedef {import('./local.js').LocalCopy} LocalCopy */

class Tracker {
  #client
  /** By full prefix. @type {Map<string, Set<LocalCopy>>} */
  #copies = new Map()
  /** @type {number | undefined} */
  #watch
  #running = false

  /** @param {import('../client.js').Client} client */
  constructor(client) {
    this.#client = client
  }

  /**
   * @param {string} prefix in full
   * @param {LocalCopy} copy
   */
  add(prefix, copy) {
    const copies = this.#copies.get(prefix)
    if (copies !== undefined) {
      copies.add(copy)
      // It hears from now on; there is nothing in it yet.
      for (const other of copies) copy.isTold = other.isTold
      return
    }
    this.#copies.set(prefix, new Set([copy]))
    // The connection cannot be told of another prefix: it begins anew with the next read.
    this.stop()
  }

  /**
   * @param {string} prefix
   * @param {LocalCopy} copy
   */
  remove(prefix, copy) {
    const copies = this.#copies.get(prefix)
    copies?.delete(copy)
    if (copies?.size === 0) this.#copies.delete(prefix)
    if (this.#copies.size === 0) this.stop()
  }

  /** Before a copy is used. Does nothing where it runs already, or where there is nobody to tell. */
  start() {
    if (this.#running || this.#client.closed) return
    this.#running = true
    this.#watch = watchChanges(this.#client.session(), [...this.#copies.keys()], () => this.#hear())
  }

  /** Nothing is told any more. */
  stop() {
    if (!this.#running) return
    this.#running = false
    if (this.#watch !== undefined) unwatchChanges(this.#client.session(), this.#watch)
    this.#watch = undefined
    this.#each((copy) => (copy.isTold = false))
  }

  #hear() {
    const text = this.#watch === undefined ? null : this.#client.session().changes()
    if (text === null) return
    /** @type {{ on: boolean, all: boolean, keys: string[] }} */
    const { on, all, keys } = JSON.parse(text)
    this.#each((copy) => {
      if (copy.isTold !== on) copy.isTold = on
      else if (all) copy.clear()
    })
    for (const key of keys) {
      for (const [prefix, copies] of this.#copies) {
        if (!key.startsWith(prefix)) continue
        for (const copy of copies) copy.drop(key.slice(prefix.length))
      }
    }
  }

  /** @param {(copy: LocalCopy) => void} run */
  #each(run) {
    for (const copies of this.#copies.values()) for (const copy of copies) run(copy)
  }
}

exports.Tracker = Tracker
