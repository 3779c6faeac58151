'use strict'

// The entries of one cache on one client: read, written and removed, with the local copy, the codec, the compression and
// the account of them.

const { setTimeout, clearTimeout } = require('node:timers')
const { setImmediate: nextTurn } = require('node:timers/promises')
const { RedisBulkError } = require('../errors.js')
const { ScanSteps, escapeGlob } = require('../scan-steps.js')
const { ttlMillis } = require('../set.js')
const { ServerAccount, hasNoScripts } = require('./account.js')
const { splitStaleness, wasBytes, withStaleness } = require('./codec.js')
const { EmbeddedAccount } = require('./embedded-account.js')
const { LocalCopy } = require('./local.js')
const { orderOf } = require('./order.js')

/** Values that are encoded or decoded before other work has its turn. */
const TURN = 1000

/** @typedef {import('../client.js').Client} Client */
/** @typedef {import('./codec.js').Body} Body */
/** @typedef {{ value: any, stale: boolean }} Found */
/** @typedef {{ hits: number, misses: number, sets: number, deletes: number, evictions: number, errors: number }} Stats */
/** @typedef {{ id: string, value: unknown, ttl?: number }} Entry */
/** @typedef {import('../set.js').Result} SetResult */

class Entries {
  #codec
  #compression
  #account
  #flushMs
  /** @type {NodeJS.Timeout | undefined} */
  #timer
  #closed = false
  #endBeforeClose
  #order
  /** Writes under way. @type {Set<Promise<unknown>>} */
  #writes = new Set()

  /**
   * @param {Client} client
   * @param {string} base `users:v1`
   * @param {import('./options.js').Options} options
   * @param {Stats} stats
   */
  constructor(client, base, options, stats) {
    this.client = client
    /** Of every key, after the client's own. */
    this.prefix = `cache:${base}:`
    this.#order = orderOf(client, this.prefix)
    this.options = options
    this.stats = stats
    this.local = options.local && new LocalCopy(options.local)
    if (this.local) client.tracker.add(client.keyPrefix + this.prefix, this.local)
    this.#codec = options.codec
    this.#compression = options.compression
    this.#flushMs = options.flushMs
    const discard = (/** @type {() => string[]} */ take) => this.#discard(take)
    this.#account = client.isEmbedded
      ? new EmbeddedAccount(options.maxEntries, discard, () => this.#scanWhileClosing())
      : new ServerAccount(client, base, options.maxEntries, discard)
    this.#endBeforeClose = client.beforeClose(() => this.#flushAtOnce())
  }

  /**
   * What stands under an id. A read that fails is a miss, and counted.
   * @param {string} id
   * @returns {Promise<Found | undefined>}
   */
  async read(id) {
    const { local } = this
    if (local) this.client.tracker.start()
    const copy = local?.get(id)
    const begun = local?.begin() ?? 0
    try {
      const { body, staleAt } = copy ?? (await this.#fetch(id)) ?? absent
      if (body === undefined) return undefined
      const found = this.#found(body, staleAt)
      if (copy === undefined) local?.keep(begun, id, body, staleAt)
      if (!found.stale) this.#use(id)
      return found
    } catch {
      this.stats.errors++
      return undefined
    } finally {
      local?.end()
    }
  }

  /**
   * @param {string} id
   * @returns {Promise<{ body: Body, staleAt: number | undefined } | undefined>}
   */
  async #fetch(id) {
    if (this.#readsText) {
      const text = only(await this.client.bulkLookup(this.prefix, [id]))
      if (text === null) return undefined
      const parts = splitStaleness(/** @type {string} */ (text))
      if (!wasBytes(parts.body)) return parts
    }
    const bytes = only(await this.client.bulkLookup(this.prefix, [id], { as: 'buffer' }))
    if (bytes === null) return undefined
    const { body, staleAt } = splitStaleness(/** @type {Buffer} */ (bytes))
    const [plain] = await this.#unpacked([body])
    return { body: plain, staleAt }
  }

  /** Whether what is stored is expected to be text, which is read fastest. */
  get #readsText() {
    return this.#codec.textual && this.#compression === undefined
  }

  /**
   * What stands under each id, in order; a read that fails is a miss.
   * @param {readonly string[]} ids
   * @returns {Promise<(Found | undefined)[]>}
   */
  async readMany(ids) {
    const { local } = this
    if (local) this.client.tracker.start()
    /** @type {(Found | undefined)[]} */
    const result = new Array(ids.length).fill(undefined)
    const begun = local?.begin() ?? 0
    try {
      /** @type {number[]} */
      const places = []
      for (let index = 0; index < ids.length; index++) {
        const copy = local?.get(ids[index])
        if (copy === undefined) places.push(index)
        else result[index] = this.#found(copy.body, copy.staleAt)
      }
      const fetched = places.length > 0 ? await this.#fetchMany(places.map((index) => ids[index])) : []
      for (let at = 0; at < places.length; at++) {
        if (at % TURN === TURN - 1) await nextTurn()
        const stored = fetched[at]
        if (stored === undefined) continue
        const id = ids[places[at]]
        try {
          result[places[at]] = this.#found(stored.body, stored.staleAt)
          local?.keep(begun, id, stored.body, stored.staleAt)
        } catch {
          this.stats.errors++
        }
      }
    } catch {
      this.stats.errors++
    } finally {
      local?.end()
    }
    for (let index = 0; index < ids.length; index++) if (result[index]?.stale === false) this.#use(ids[index])
    return result
  }

  /**
   * @param {string[]} ids
   * @returns {Promise<({ body: Body, staleAt: number | undefined } | undefined)[]>}
   */
  async #fetchMany(ids) {
    const read = async (/** @type {string[]} */ some, /** @type {object | undefined} */ options) => {
      const { results, errors } = await this.client.bulkLookup(this.prefix, some, options)
      this.stats.errors += errors.length
      return results.map((stored) => this.#split(stored))
    }
    const all = await read(ids, this.#readsText ? undefined : { as: 'buffer' })
    const again = this.#readsText ? indicesWhere(all, (parts) => parts !== undefined && wasBytes(/** @type {string} */ (parts.body))) : []
    if (again.length > 0) {
      const bytes = await read(again.map((index) => ids[index]), { as: 'buffer' })
      again.forEach((index, at) => (all[index] = bytes[at]))
    }
    const packed = indicesWhere(all, (parts) => typeof parts?.body === 'object')
    if (packed.length > 0) {
      const { decompressed } = require('./compression.js')
      const bodies = await decompressed(packed.map((index) => /** @type {any} */ (all[index]).body))
      packed.forEach((index, at) => {
        const body = bodies[at]
        if (body === null) this.stats.errors++
        all[index] = body === null ? undefined : { body, staleAt: all[index]?.staleAt }
      })
    }
    return all
  }

  /** @param {Body | null} stored */
  #split(stored) {
    if (stored === null) return undefined
    try {
      return splitStaleness(stored)
    } catch {
      this.stats.errors++
      return undefined
    }
  }

  /**
   * @param {Body} body
   * @param {number | undefined} staleAt
   * @returns {Found}
   */
  #found(body, staleAt) {
    return { value: this.#codec.decode(body), stale: staleAt !== undefined && Date.now() >= staleAt }
  }

  /** @param {Buffer[]} bodies */
  async #unpacked(bodies) {
    const { decompressed } = require('./compression.js')
    const all = await decompressed(bodies)
    return all.map((body) => {
      if (body === null) throw new SyntaxError('the compressed value is damaged')
      return body
    })
  }

  /**
   * Writes one entry; false where that failed. A value that has no stored form rejects.
   * @param {Entry} entry
   * @returns {Promise<boolean>}
   */
  async write(entry) {
    const body = this.#codec.encode(entry.value)
    const place = this.#order.enter([entry.id], this.#compression === undefined)
    try {
      const { success } = await this.#writeBodies([entry], [body], place)
      if (success) this.stats.sets++
      else this.stats.errors++
      return success
    } catch (error) {
      if (!(error instanceof RedisBulkError)) throw error
      this.stats.errors++
      return false
    } finally {
      place.leave()
    }
  }

  /**
   * Writes entries with one bulk operation.
   * @param {readonly Entry[]} entries
   * @returns {Promise<SetResult>}
   */
  async writeMany(entries) {
    // They may go out in parts: they leave their place when all are written.
    const place = this.#order.enter(entries.map(({ id }) => id), entries.length === 0)
    try {
      return await this.#writeInOrder(entries, place)
    } finally {
      place.leave()
    }
  }

  /**
   * @param {readonly Entry[]} entries
   * @param {import('./order.js').Place} place
   * @returns {Promise<SetResult>}
   */
  async #writeInOrder(entries, place) {
    /** @type {Entry[]} */
    const good = []
    /** @type {Body[]} */
    const bodies = []
    /** @type {number[]} */
    const places = []
    /** @type {SetResult['errors']} */
    const refused = []
    for (let index = 0; index < entries.length; index++) {
      if (index % TURN === TURN - 1) await nextTurn()
      const entry = entries[index]
      try {
        bodies.push(this.#codec.encode(entry.value))
        good.push(entry)
        places.push(index)
      } catch (error) {
        const { message } = /** @type {Error} */ (error)
        refused.push({ index, key: this.prefix + entry.id, code: 'INVALID_DATA', message, retryable: false, applied: false })
      }
    }
    const result = await this.#writeBodies(good, bodies, place)
    const errors = [...refused, ...result.errors.map((error) => ({ ...error, index: places[error.index] }))]
    errors.sort((one, other) => one.index - other.index)
    this.stats.sets += result.written
    this.stats.errors += errors.length
    return { ...result, success: errors.length === 0, failed: errors.length, errors }
  }

  /**
   * @param {readonly Entry[]} entries
   * @param {Body[]} bodies of them
   * @param {import('./order.js').Place} place
   */
  async #writeBodies(entries, bodies, place) {
    const { local } = this
    for (const { id } of entries) local?.drop(id)
    const begun = local?.begin() ?? 0
    try {
      const stored = this.#compression ? await require('./compression.js').compressed(bodies, this.#compression) : bodies
      if (place.before !== undefined) await place.before
      const times = this.#timesOf(entries)
      const written = await this.#send(entries, stored, times, place)
      const failed = written.status === 'rejected' ? undefined : new Set(written.value.errors.map(({ index }) => index))
      entries.forEach(({ id }, index) => {
        if (failed === undefined || failed.has(index)) {
          this.#account.drop(id)
          local?.drop(id)
        } else {
          const { ttl, staleAt } = times[index]
          local?.write(begun, id, bodies[index], staleAt, ttl === undefined ? Infinity : ttl * 1000)
        }
      })
      this.#schedule()
      if (written.status === 'rejected') throw written.reason
      return written.value
    } finally {
      local?.end()
    }
  }

  /**
   * Seconds that each entry stands on the server, and the moment from which it is stale.
   * @param {readonly Entry[]} entries
   */
  #timesOf(entries) {
    const { staleFor, ttl: commonTtl } = this.options
    return entries.map(({ ttl = commonTtl }) => {
      const staleAt = staleFor === undefined || ttl === undefined ? undefined : Date.now() + ttlMillis(ttl)
      return { staleAt, ttl: ttl === undefined ? undefined : ttl + (staleFor ?? 0) }
    })
  }

  /**
   * Sends entries and notes them in the account.
   * @param {readonly Entry[]} entries
   * @param {Body[]} stored of them
   * @param {{ staleAt: number | undefined, ttl: number | undefined }[]} times of them
   * @param {import('./order.js').Place} place
   * @returns {Promise<PromiseSettledResult<SetResult>>}
   */
  async #send(entries, stored, times, place) {
    // Nothing is noted that is not written.
    this.client.assertOpen()
    const writing = this.client.pipelineSet(entries.map(({ id }, index) => ({
      key: this.prefix + id,
      data: withStaleness(stored[index], times[index].staleAt),
      ttl: times[index].ttl,
    })))
    // A single entry is with the client now, which keeps the order of calls.
    if (entries.length === 1) place.leave()
    // Both are on their way at once.
    this.#writes.add(writing)
    entries.forEach(({ id }, index) => this.#account.add(id, ttlMillis(times[index].ttl ?? 0)))
    const noted = this.#flush(false)
    const [written] = await Promise.allSettled([writing])
    this.#writes.delete(writing)
    await noted
    return written
  }

  /**
   * Removes entries; how many there were. Rejects where it failed: what is still there must not look as if it were gone.
   * @param {readonly string[]} ids
   */
  async remove(ids) {
    const forget = () => {
      if (this.local) for (const id of ids) this.local.drop(id)
    }
    forget()
    // Many go out in parts: they leave their place when all are removed.
    const place = this.#order.enter(ids, ids.length <= 1)
    try {
      if (place.before !== undefined) await place.before
      this.client.assertOpen()
      const removing = this.client.batchDelete(ids.map((id) => this.prefix + id))
      if (ids.length === 1) place.leave()
      for (const id of ids) this.#account.drop(id)
      const [removed] = await Promise.allSettled([removing, this.#flush(false)])
      if (removed.status === 'rejected') throw removed.reason
      this.stats.deletes += /** @type {number} */ (removed.value)
      return /** @type {number} */ (removed.value)
    } catch (error) {
      this.stats.errors++
      throw error
    } finally {
      place.leave()
      // What was read meanwhile may have been there still.
      forget()
      this.#schedule()
    }
  }

  /** The ids of all entries, batch by batch. Keys of another type that look alike are no entries. @returns {AsyncGenerator<string[]>} */
  async *scan() {
    const { prefix } = this
    for await (const keys of this.client.scanIterator(`${escapeGlob(prefix)}*`, { type: 'string' })) {
      yield keys.map((/** @type {string} */ key) => key.slice(prefix.length))
    }
  }

  /** The same, also for a client that closes. @returns {AsyncGenerator<string[]>} */
  async *#scanWhileClosing() {
    const { client, prefix } = this
    const steps = new ScanSteps(client, `${escapeGlob(prefix)}*`, { count: 0, type: 'string' })
    for (let isEnd = false; !isEnd; ) {
      const { keys, isLast } = await client.whileClosing(() => steps.next(undefined))
      isEnd = isLast
      yield keys.map((key) => key.slice(prefix.length))
    }
  }

  /** Removes all entries; how many there were. */
  async clear() {
    this.local?.clear()
    let count = 0
    try {
      await this.#order.all()
      // First: what is written from now on is noted in a new account.
      await this.#account.reset().catch((error) => {
        if (!hasNoScripts(error)) throw error
      })
      for await (const ids of this.scan()) {
        this.client.assertSearchable()
        count += Number(await this.client.batchDelete(ids.map((id) => this.prefix + id)))
      }
      this.client.assertSearchable()
      return count
    } catch (error) {
      this.stats.errors++
      throw error
    } finally {
      this.stats.deletes += count
      this.local?.clear()
    }
  }

  async size() {
    try {
      return await this.#account.size()
    } catch (error) {
      if (!hasNoScripts(error)) throw error
      // The embedded store stands in for the server.
      let count = 0
      for await (const ids of this.scan()) count += ids.length
      return count
    }
  }

  /** @param {string} id */
  usage(id) {
    return this.#account.usage(id)
  }

  /** @param {string} id */
  #use(id) {
    if (this.options.maxEntries === 0) return
    this.#account.use(id)
    this.#schedule()
  }

  /** @param {() => string[]} take the ids of evicted entries: asked just before they are deleted */
  async #discard(take) {
    // Some of them may only just be written.
    await Promise.allSettled(this.#writes)
    const ids = take()
    if (ids.length === 0) return
    const forget = () => {
      if (this.local) for (const id of ids) this.local.drop(id)
    }
    forget()
    try {
      const keys = ids.map((id) => this.prefix + id)
      this.stats.evictions += Number(await this.client.whileClosing(() => this.client.batchDelete(keys)))
    } finally {
      // Many go out in parts: what was read meanwhile may have been there still.
      forget()
    }
  }

  /** @param {boolean} uses whether access times and hit counts are written too */
  #flush(uses) {
    return this.#noted(this.#account.flush(uses))
  }

  /** @param {Promise<unknown>} writing the account */
  async #noted(writing) {
    try {
      await writing
    } catch (error) {
      // Said again at the next turn of the timer. Where the embedded store stands in for the server, that is how it is.
      if (!hasNoScripts(error)) this.stats.errors++
    }
  }

  /** Writes what waits. */
  async flush() {
    clearTimeout(this.#timer)
    this.#timer = undefined
    await this.#flush(true)
    this.#schedule()
  }

  /** The same for a client that closes: nothing is added any more. */
  async #flushAtOnce() {
    clearTimeout(this.#timer)
    this.#timer = undefined
    await this.#noted(this.#account.flushAtOnce())
    this.#schedule()
  }

  #schedule() {
    if (this.#timer !== undefined || this.#closed || this.client.closed || !this.#account.waits) return
    this.#timer = setTimeout(() => this.flush(), this.#flushMs)
    // Access times keep no process alive.
    this.#timer.unref()
  }

  async close() {
    if (this.#closed) return
    this.#closed = true
    await this.#flushAtOnce()
    // Until now a client that closes waits for it.
    this.#endBeforeClose()
    if (this.local === undefined) return
    this.client.tracker.remove(this.client.keyPrefix + this.prefix, this.local)
    this.local.clear()
  }
}

/** @type {{ body: undefined, staleAt: undefined }} */
const absent = { body: undefined, staleAt: undefined }

/**
 * The one result of a look-up, or its error, thrown.
 * @param {{ results: any[], errors: any[] }} found
 * @returns {Body | null}
 */
function only({ results, errors }) {
  if (errors.length > 0) throw new RedisBulkError(errors[0].message, errors[0])
  return results[0]
}

/**
 * @template T
 * @param {readonly T[]} list
 * @param {(item: T) => boolean} condition
 */
function indicesWhere(list, condition) {
  /** @type {number[]} */
  const indices = []
  for (let index = 0; index < list.length; index++) if (condition(list[index])) indices.push(index)
  return indices
}

exports.Entries = Entries
