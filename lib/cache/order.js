'use strict'

// Writes and deletions of one id reach the client in the order of their calls, though the earlier takes longer to prepare
// (compression, encoding in several turns) or goes out in several parts.

/** @typedef {import('../client.js').Client} Client */
/** @typedef {{ before: Promise<unknown> | undefined, leave: () => void }} Place */

class CallOrder {
  /** The last call for an id, until it is passed on. @type {Map<string, Promise<void>>} */
  #last = new Map()

  /** Ids of which a call is not passed on yet. */
  get size() {
    return this.#last.size
  }

  /**
   * Takes a place behind the calls for these ids that came before. `before` resolves when all of them have left,
   * undefined: there are none. `leave` lets the next ones go on, whether this one failed or not; the second time it does
   * nothing.
   * @param {readonly string[]} ids
   * @param {boolean} atOnce whether the call is passed on in this turn if nothing is before it: it then needs no place
   * @returns {Place}
   */
  enter(ids, atOnce) {
    const before = this.#before(ids)
    if (before === undefined && atOnce) return PASSED
    /** @type {() => void} */
    let passed = () => {}
    const call = new Promise((/** @type {(value: void) => void} */ resolve) => (passed = resolve))
    for (const id of ids) this.#last.set(id, call)
    const leave = () => {
      for (const id of ids) if (this.#last.get(id) === call) this.#last.delete(id)
      passed()
    }
    return { before, leave }
  }

  /** Resolves when every call that has a place now has left it; undefined: there is none. */
  all() {
    return this.#last.size === 0 ? undefined : Promise.all(new Set(this.#last.values()))
  }

  /** @param {readonly string[]} ids */
  #before(ids) {
    if (this.#last.size === 0) return undefined
    /** @type {Set<Promise<void>>} */
    const calls = new Set()
    for (const id of ids) {
      const call = this.#last.get(id)
      if (call !== undefined) calls.add(call)
    }
    return calls.size === 0 ? undefined : Promise.all(calls)
  }
}

/** @type {Place} */
const PASSED = { before: undefined, leave: () => {} }

/** By client and key prefix: caches of one name on one client have the same entries. @type {WeakMap<Client, Map<string, CallOrder>>} */
const orders = new WeakMap()

/**
 * @param {Client} client
 * @param {string} prefix of the cache's keys
 */
function orderOf(client, prefix) {
  const ofClient = orders.get(client) ?? new Map()
  orders.set(client, ofClient)
  const order = ofClient.get(prefix) ?? new CallOrder()
  ofClient.set(prefix, order)
  return order
}

module.exports = { CallOrder, orderOf }
