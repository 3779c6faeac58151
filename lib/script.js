'use strict'

// A Lua script that runs by its digest.

const { ReplyError } = require('./errors.js')

/** @typedef {import('./client.js').Client} Client */

class Script {
  #text
  /** @type {string | undefined} */
  #digest
  /** Clients whose server has had the text. @type {WeakSet<Client>} */
  #sent = new WeakSet()

  /** @param {string} text */
  constructor(text) {
    this.#text = text
  }

  /**
   * With the text the first time, then by the digest; with the text again where the server has lost it, and has done nothing
   * yet. Neither is repeated after a lost connection. A client that closes runs it, too: where it must not, its caller sees
   * to that.
   * @param {Client} client
   * @param {readonly (string | number)[]} args the number of keys, the keys, the arguments
   * @returns {Promise<any>}
   */
  async run(client, args) {
    // Loading crypto takes longer than loading this package.
    this.#digest ??= require('node:crypto').createHash('sha1').update(this.#text).digest('hex')
    const send = (/** @type {(string | number)[]} */ command) => client.whileClosing(() => client.sendCommand(command))
    if (!this.#sent.has(client)) {
      const reply = await send(['EVAL', this.#text, ...args])
      this.#sent.add(client)
      return reply
    }
    try {
      return await send(['EVALSHA', this.#digest, ...args])
    } catch (error) {
      if (!(error instanceof ReplyError && error.code === 'NOSCRIPT')) throw error
      return await send(['EVAL', this.#text, ...args])
    }
  }
}

exports.Script = Script
