'use strict'

// Listeners for changes of state.

const check = require('./check.js')

/** @typedef {{ from: string, to: string, reason?: string, at: number }} StateChange */
/** @typedef {(change: StateChange) => void} Listener */

class StateEvents {
  /** @type {Set<Listener>} */
  #listeners = new Set()
  /** @type {((emit: Listener) => void) | undefined} */
  #watch

  /** @param {(emit: Listener) => void} watch begins to report changes; called once, for the first listener */
  constructor(watch) {
    this.#watch = watch
  }

  /**
   * @param {unknown} event
   * @param {unknown} listener
   */
  on(event, listener) {
    this.#listeners.add(checked(event, listener))
    const watch = this.#watch
    this.#watch = undefined
    watch?.((change) => this.emit(change))
  }

  /**
   * @param {unknown} event
   * @param {unknown} listener
   */
  off(event, listener) {
    this.#listeners.delete(checked(event, listener))
  }

  /** @param {StateChange} change */
  emit(change) {
    // A copy: a listener may take itself off.
    for (const listener of [...this.#listeners]) {
      try {
        listener(change)
      } catch (error) {
        // As EventTarget does it: the others are still called, and the error is not lost.
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }
}

/**
 * @param {unknown} event
 * @param {unknown} listener
 * @returns {Listener}
 */
function checked(event, listener) {
  check.choice('event', event ?? null, ['state'])
  if (typeof listener !== 'function') throw check.wrongType('listener', 'a function', listener)
  return /** @type {Listener} */ (listener)
}

exports.StateEvents = StateEvents
