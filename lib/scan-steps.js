'use strict'

// One SCAN, step by step, for callers that do not want all keys at once.

const { settled } = require('./bridge.js')
const { isWatched, watched } = require('./diagnostics.js')
const { Scan } = require('./native.js')

const COUNT = 1000

/** @typedef {import('./client.js').Client} Client */

/** Text from outside as a pattern that matches exactly it. @param {string} text */
function escapeGlob(text) {
  return text.replace(/[*?[\]^\\-]/g, '\\$&')
}

class ScanSteps {
  #client
  #scan

  /**
   * @param {Client} client
   * @param {string} pattern
   * @param {{ count: number, type?: string, signal?: AbortSignal | undefined }} options `count` 0: the default
   */
  constructor(client, pattern, { count, type, signal }) {
    this.#client = client
    this.#scan = new Scan(client.session(), pattern, count || COUNT, type ?? '')
    this.signal = signal
  }

  /**
   * The next step's keys without the client's prefix, each once: a page of each server. A step that failed may be tried
   * again.
   * @param {number | undefined} timeoutMs for this step
   * @returns {Promise<{ keys: string[], isLast: boolean }>}
   */
  next(timeoutMs) {
    if (!isWatched()) return this.#next(timeoutMs)
    return watched(this.#client, 'scanStep', 'SCAN', undefined, () => this.#next(timeoutMs))
  }

  /** @param {number | undefined} timeoutMs */
  async #next(timeoutMs) {
    const client = this.#client
    client.assertOpen()
    const session = client.session()
    const outcome = await client.run(this.signal, (id) => session.scanStep(id, this.#scan, timeoutMs ?? 0), undefined, 'string')
    return { keys: settled(outcome).results, isLast: this.#scan.ended }
  }
}

exports.ScanSteps = ScanSteps
exports.escapeGlob = escapeGlob
