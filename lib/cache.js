'use strict'

// createCache: named caches of values.

const { traced } = require('./call-site.js')
const check = require('./check.js')
const { Entries } = require('./cache/entries.js')
const { Loading } = require('./cache/loading.js')
const { readName, readOptions } = require('./cache/options.js')
const { ConnectionError } = require('./errors.js')
const { checkTtl } = require('./ttl.js')

/** @typedef {import('./client.js').Client} Client */

/**
 * @param {() => Client} clientOf asked at each call: the default client may be configured later
 * @param {unknown} name
 * @param {unknown} options
 */
function createCache(clientOf, name, options) {
  return new Cache(clientOf, readName(name), readOptions(options))
}

class Cache {
  #clientOf
  #options
  #base
  #stats = { hits: 0, misses: 0, sets: 0, deletes: 0, evictions: 0, errors: 0 }
  /** @type {{ client: Client, entries: Entries, loading: Loading } | undefined} */
  #bound
  #closed = false

  /**
   * @param {() => Client} clientOf
   * @param {string} name
   * @param {import('./cache/options.js').Options} options
   */
  constructor(clientOf, name, options) {
    this.name = name
    this.#clientOf = clientOf
    this.#options = options
    this.#base = `${name}:v${options.version}`
  }

  #bind() {
    if (this.#closed) throw new ConnectionError(`the cache ${this.name} is closed`, { code: 'CLOSED' })
    const client = this.#clientOf()
    if (this.#bound?.client !== client) {
      const entries = new Entries(client, this.#base, this.#options, this.#stats)
      this.#bound = { client, entries, loading: new Loading(entries, `${client.keyPrefix}cache:${this.#base}#lock:`) }
    }
    return this.#bound
  }

  get #entries() {
    return this.#bind().entries
  }

  /** @param {string} id */
  async get(id) {
    const [value] = this.#counted([await this.#entries.read(check.text('id', id))])
    return value
  }

  /** @param {readonly string[]} ids */
  async getMany(ids) {
    return this.#counted(await this.#entries.readMany(checkIds(ids)))
  }

  /**
   * Without a loader what is stale is a miss.
   * @param {(import('./cache/entries.js').Found | undefined)[]} found
   */
  #counted(found) {
    return found.map((each) => {
      const isHit = each !== undefined && !each.stale
      if (isHit) this.#stats.hits++
      else this.#stats.misses++
      return isHit ? each.value : undefined
    })
  }

  /**
   * @param {string} id
   * @param {any} value
   * @param {number} [ttl]
   */
  async set(id, value, ttl) {
    await this.#entries.write({ id: check.text('id', id), value, ttl: checkTtl('ttl', ttl) })
  }

  /** @param {readonly { id: string, value: any, ttl?: number }[]} given */
  async setMany(given) {
    const entries = check.array('entries', given).map((entry, index) => {
      if (entry === null || typeof entry !== 'object') throw check.wrongType(`entries[${index}]`, 'an object', entry)
      const { id, value, ttl } = /** @type {{ id: string, value: unknown, ttl?: number }} */ (entry)
      if (ttl !== undefined && typeof ttl !== 'number') throw check.wrongType(`entries[${index}].ttl`, 'a number of seconds', ttl)
      return { id: check.text(`entries[${index}].id`, id), value, ttl }
    })
    return traced(() => this.#entries.writeMany(entries))
  }

  /** @param {string} id */
  async has(id) {
    const found = await this.#entries.read(check.text('id', id))
    return found !== undefined && !found.stale
  }

  /** @param {string} id */
  async delete(id) {
    const ids = [check.text('id', id)]
    return traced(async () => (await this.#entries.remove(ids)) > 0)
  }

  /** @param {readonly string[]} ids */
  async deleteMany(ids) {
    const list = checkIds(ids)
    return traced(() => this.#entries.remove(list))
  }

  /**
   * @param {string} id
   * @param {() => Promise<any>} load
   * @param {number} [ttl]
   */
  async getOrSet(id, load, ttl) {
    check.text('id', id)
    checkLoader(load)
    checkTtl('ttl', ttl)
    return this.#bind().loading.getOrSet(id, load, ttl)
  }

  /**
   * @param {readonly string[]} ids
   * @param {(missing: string[]) => Promise<any>} load
   * @param {number} [ttl]
   */
  async getOrSetMany(ids, load, ttl) {
    const list = checkIds(ids)
    checkLoader(load)
    checkTtl('ttl', ttl)
    return this.#bind().loading.getOrSetMany(list, load, ttl)
  }

  /** @returns {AsyncGenerator<string, void, undefined>} */
  async *keys() {
    for await (const ids of this.#entries.scan()) yield* ids
  }

  async size() {
    return traced(() => this.#entries.size())
  }

  async clear() {
    return traced(() => this.#entries.clear())
  }

  /** @param {string} id */
  async usage(id) {
    check.text('id', id)
    return traced(() => this.#entries.usage(id))
  }

  stats() {
    const { hits, misses } = this.#stats
    return { ...this.#stats, hitRatio: hits + misses === 0 ? null : hits / (hits + misses) }
  }

  async close() {
    this.#closed = true
    await this.#bound?.entries.close()
  }
}

/** @param {readonly string[]} ids */
function checkIds(ids) {
  check.array('ids', ids)
  check.wellFormed('ids', ids)
  return ids
}

/** @param {unknown} load */
function checkLoader(load) {
  if (typeof load !== 'function') throw check.wrongType('load', 'a function', load)
}

exports.createCache = createCache
