'use strict'

// A lock on the server for one load: held by a token, renewed while the load goes on, given back by whoever holds it.
// A holder that dies leaves it to its end.

const { RedisBulkError } = require('../errors.js')
const { Script } = require('../script.js')

/** A lock is renewed while this part of its time is left twice over. */
const RENEW_PART = 3

/** Extends the lock of a token. */
const renew = new Script("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0")

/** Removes the lock of a token. */
const release = new Script("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0")

/** @typedef {import('../client.js').Client} Client */

class Lock {
  #client
  #key
  #token
  #ms
  /** @type {NodeJS.Timeout | undefined} */
  #timer
  /** When it ends at the latest, if it is not renewed. */
  #endsBefore
  /** @type {() => void} */
  #forget
  /** @type {Promise<void> | undefined} */
  #released

  /**
   * @param {Client} client
   * @param {string} key
   * @param {string} token
   * @param {number} ms
   * @param {number} asked when it was asked for
   */
  constructor(client, key, token, ms, asked) {
    this.#client = client
    this.#key = key
    this.#token = token
    this.#ms = ms
    this.#endsBefore = asked + ms
    // Keeps no process alive: the load does.
    this.#timer = setInterval(() => this.#renew(), ms / RENEW_PART)
    this.#timer.unref?.()
    // A load may go on after its client was closed: nobody is to wait for what it cannot write any more.
    this.#forget = client.beforeClose(() => this.release())
  }

  async #renew() {
    const asked = performance.now()
    try {
      if (this.#client.isEmbedded) {
        if ((await this.#client.sendCommand(['GET', this.#key])) !== this.#token) return this.#stop()
        await this.#client.sendCommand(['PEXPIRE', this.#key, this.#ms])
      } else if ((await renew.run(this.#client, [1, this.#key, this.#token, this.#ms])) === 0) {
        return this.#stop()
      }
      this.#endsBefore = asked + this.#ms
    } catch {
      // Tried again at the next turn; without one the lock ends, and another process loads too.
    }
  }

  #stop() {
    clearInterval(this.#timer)
  }

  /** Once for all who ask; close() waits for it. @returns {Promise<void>} */
  release() {
    return (this.#released ??= this.#release())
  }

  async #release() {
    this.#stop()
    try {
      if (!this.#client.isEmbedded) {
        await giveBack(this.#client, this.#key, this.#token)
      } else if (performance.now() + this.#ms / RENEW_PART < this.#endsBefore) {
        // Without scripts it is looked at and removed in two steps, in between which it must not end and be another's.
        const send = (/** @type {string[]} */ args) => this.#client.whileClosing(() => this.#client.sendCommand(args))
        if ((await send(['GET', this.#key])) === this.#token) await send(['DEL', this.#key])
      }
    } catch {
      // It ends by itself.
    } finally {
      this.#forget()
    }
  }
}

/**
 * @param {Client} client
 * @param {string} key in full
 * @param {string} token
 */
const giveBack = (client, key, token) => release.run(client, [1, key, token])

/**
 * The lock; `'held'` by another, or `'unavailable'` where the server cannot say.
 * @param {Client} client
 * @param {string} key in full
 * @param {number} ms
 * @returns {Promise<Lock | 'held' | 'unavailable'>}
 */
async function acquire(client, key, ms) {
  const token = require('node:crypto').randomUUID()
  const asked = performance.now()
  // A client that closes before the answer has no lock to release yet; what it sends now comes after what asks for it.
  const forget = client.isEmbedded ? undefined : client.beforeClose(() => giveBack(client, key, token))
  try {
    // Other processes do not see the memory that stands in for a server, and it runs no scripts.
    if (client.servesFromMemory) return 'unavailable'
    const answer = await client.sendCommand(['SET', key, token, 'NX', 'PX', ms])
    if (client.servesFromMemory) {
      await client.sendCommand(['DEL', key])
      return 'unavailable'
    }
    if (answer === null) return 'held'
    return new Lock(client, key, token, ms, asked)
  } catch (error) {
    if (error instanceof RedisBulkError) return 'unavailable'
    throw error
  } finally {
    forget?.()
  }
}

exports.acquire = acquire
