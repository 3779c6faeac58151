'use strict'

// The limiter's windows in process: by the same rules as the script in rate-limit.js.

/** Windows that are kept before those that have ended are looked for. */
const SWEEP_AT = 1024

/** Most windows; beyond them the oldest are forgotten, so that made-up ids cannot fill the memory. */
const MOST = 100_000
/** As many at once, since looking through all of them for each new id would hold up the event loop. */
const FORGOTTEN_AT_ONCE = MOST / 20

/** @typedef {{ consumed: number, ends: number, blocked: boolean }} Window */
/** @typedef {{ points: number, durationMs: number, blockMs: number }} Rule */
/** @typedef {{ allowed: boolean, consumed: number, blocked: boolean, resetMs: number }} Standing */

class Windows {
  /** @type {Map<string, Window>} */
  #windows = new Map()
  #sweepAt = SWEEP_AT

  /**
   * @param {string} key
   * @param {Rule} rule
   * @param {number} take 0: only look
   * @returns {Standing}
   */
  consume(key, { points, durationMs, blockMs }, take) {
    const now = whole()
    let window = this.#windows.get(key)
    if (window !== undefined && now >= window.ends) {
      this.#windows.delete(key)
      window = undefined
    }
    const { consumed, blocked } = window ?? { consumed: 0, blocked: false }
    const fits = !blocked && consumed + Math.max(take, 1) <= points
    if (take > 0 && fits) {
      window ??= this.#open(key, now + durationMs)
      window.consumed += take
    } else if (take > 0 && blockMs > 0 && !blocked) {
      window ??= this.#open(key, 0)
      window.blocked = true
      window.ends = Math.max(window.ends, now + blockMs)
    }
    const standing = window ?? { consumed: 0, blocked: false, ends: now }
    return { allowed: fits, consumed: standing.consumed, blocked: standing.blocked, resetMs: standing.ends - now }
  }

  /** @param {string} key */
  reset(key) {
    this.#windows.delete(key)
  }

  /**
   * @param {string} key
   * @param {number} ends
   */
  #open(key, ends) {
    if (this.#windows.size >= this.#sweepAt) this.#sweep()
    const window = { consumed: 0, ends, blocked: false }
    this.#windows.set(key, window)
    return window
  }

  #sweep() {
    const now = whole()
    for (const [key, { ends }] of this.#windows) if (now >= ends) this.#windows.delete(key)
    if (this.#windows.size >= MOST) {
      let left = FORGOTTEN_AT_ONCE
      for (const key of this.#windows.keys()) {
        this.#windows.delete(key)
        if (--left === 0) break
      }
    }
    this.#sweepAt = Math.min(Math.max(this.#windows.size * 2, SWEEP_AT), MOST)
  }
}

/** Whole milliseconds, as the script counts them. */
function whole() {
  return Math.floor(performance.now())
}

exports.Windows = Windows
