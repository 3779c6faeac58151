'use strict'

// The account of a cache's entries, kept beside them on the server, so that counting and evicting need no scan:
//
//   cache:{users:v1}#expiry   a sorted set of ids, by the moment at which each expires (+inf: never)
//   cache:{users:v1}#access   with maxEntries: the same ids by the time of their last use
//   cache:{users:v1}#hits     with maxEntries: a hash of how often each was found since it was written
//
// The braces keep the three in one slot of a cluster; the entries lie in all of them. An entry is written first and noted
// then, and an evicted one leaves the account first: what a crash or a race in between leaves behind is an id without an
// entry, which goes as others do, or an entry that is not noted until it is written again.

const { RedisBulkError, ReplyError } = require('../errors.js')
const { Script } = require('../script.js')
const { Evicted } = require('./evicted.js')

/** Ids in one call of the script: what Lua hands to one command, and some hundred microseconds of the server's time. */
const BATCH = 1000

/** Changes that wait for a server that is away. Beyond them the oldest are forgotten. */
const MOST_PENDING = 100_000

/**
 * ARGV: most entries (0: any number), how many are added, dropped and used; then id and milliseconds to live (0: no end) of
 * each added one, the dropped ids, and id, milliseconds since and number of uses of each used one. All by the server's
 * clock. Gives back its time and the ids that are evicted, as many as one call takes.
 */
const update = new Script(`
local most, added, dropped, used = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local at = 5

local function forget(ids)
  redis.call('ZREM', KEYS[1], unpack(ids))
  redis.call('ZREM', KEYS[2], unpack(ids))
  redis.call('HDEL', KEYS[3], unpack(ids))
end

if dropped > 0 then
  local ids = {}
  for i = 1, dropped do ids[i] = ARGV[at]; at = at + 1 end
  forget(ids)
end
if added > 0 then
  local ends, uses, hits = {}, {}, {}
  for i = 1, added do
    local id, ttl = ARGV[at], tonumber(ARGV[at + 1])
    at = at + 2
    ends[2 * i - 1], ends[2 * i] = ttl == 0 and '+inf' or now + ttl, id
    uses[2 * i - 1], uses[2 * i] = now, id
    hits[2 * i - 1], hits[2 * i] = id, 0
  end
  redis.call('ZADD', KEYS[1], unpack(ends))
  if most > 0 then
    redis.call('ZADD', KEYS[2], unpack(uses))
    redis.call('HSET', KEYS[3], unpack(hits))
  end
end
if used > 0 then
  local ids, uses = {}, {}
  for i = 1, used do
    local id = ARGV[at + 3 * (i - 1)]
    ids[i] = id
    uses[2 * i - 1], uses[2 * i] = now - tonumber(ARGV[at + 3 * i - 2]), id
  end
  redis.call('ZADD', KEYS[2], 'XX', unpack(uses))
  local known, hits = redis.call('HMGET', KEYS[3], unpack(ids)), {}
  for i = 1, used do
    if known[i] then
      hits[#hits + 1] = ids[i]
      hits[#hits + 1] = known[i] + ARGV[at + 3 * i - 1]
    end
  end
  if #hits > 0 then redis.call('HSET', KEYS[3], unpack(hits)) end
end

local reply = { now }
-- Where nothing is said there is more to evict.
if added > 0 or dropped + used == 0 then
  local expired = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ${BATCH})
  if #expired > 0 then forget(expired) end
  if most > 0 then
    local over = redis.call('ZCARD', KEYS[1]) - most
    if over > 0 then
      if redis.call('ZCARD', KEYS[2]) < over + most then
        -- Written where maxEntries was not set: never used, as far as is known.
        redis.call('ZUNIONSTORE', KEYS[2], 2, KEYS[1], KEYS[2], 'WEIGHTS', 0, 1, 'AGGREGATE', 'MAX')
      end
      local evicted = redis.call('ZRANGE', KEYS[2], 0, math.min(over, ${BATCH}) - 1)
      if #evicted > 0 then forget(evicted) end
      for i = 1, #evicted do reply[i + 1] = evicted[i] end
    end
  end
end
return reply
`)

/** Removes the account itself, and nothing of another type that stands in its place. */
const remove = new Script(`
for i, kind in ipairs({ 'zset', 'zset', 'hash' }) do
  if redis.call('TYPE', KEYS[i]).ok == kind then redis.call('UNLINK', KEYS[i]) end
end
return redis.status_reply('OK')
`)

/** @typedef {import('../client.js').Client} Client */
/** @typedef {{ at: number, hits: number }} Use */
/** @typedef {import('./evicted.js').Discard} Discard */

class ServerAccount {
  #client
  #maxEntries
  #names
  /** Milliseconds to live, 0: no end. @type {Map<string, number>} */
  #added = new Map()
  /** @type {Set<string>} */
  #dropped = new Set()
  /** @type {Map<string, Use>} */
  #used = new Map()
  #evicted = new Evicted()
  /** Ids that are being noted, with the number of the latest write that does. @type {Map<string, number>} */
  #noting = new Map()
  /** Number of the latest write. */
  #latest = 0
  /** Writes of the account under way, with the deletions that follow them. @type {Set<Promise<void>>} */
  #underWay = new Set()
  /** The server's clock is ahead of this one by so many milliseconds. */
  #ahead = 0
  /** @type {Promise<void> | undefined} */
  #writing

  /**
   * @param {Client} client
   * @param {string} base `users:v1`
   * @param {number} maxEntries 0: any number
   * @param {Discard} discard
   */
  constructor(client, base, maxEntries, discard) {
    this.#client = client
    this.#maxEntries = maxEntries
    this.#names = ['expiry', 'access', 'hits'].map((part) => `${client.keyPrefix}cache:{${base}}#${part}`)
    this.discard = discard
  }

  /**
   * Notes an entry that was written.
   * @param {string} id
   * @param {number} ttlMs 0: no end
   */
  add(id, ttlMs) {
    this.#dropped.delete(id)
    this.#evicted.keep(id)
    this.#added.delete(id)
    this.#added.set(id, ttlMs)
    bound(this.#added)
  }

  /** @param {string} id */
  drop(id) {
    this.#added.delete(id)
    this.#used.delete(id)
    this.#dropped.add(id)
    bound(this.#dropped)
  }

  /** Notes that an entry was found. @param {string} id */
  use(id) {
    const use = this.#used.get(id)
    if (use === undefined) this.#used.set(id, { at: Date.now(), hits: 1 })
    else {
      use.at = Date.now()
      use.hits++
    }
    bound(this.#used)
  }

  get waits() {
    return this.#added.size + this.#dropped.size + this.#used.size + this.#evicted.size > 0
  }

  /**
   * Writes what was added and dropped; with `uses` also access times and hit counts. Changes of one turn of the event
   * loop go together. What could not be written waits for the next time.
   * @param {boolean} uses
   * @returns {Promise<void>}
   */
  flush(uses) {
    if (uses && this.#used.size > 0) return this.#write(true)
    this.#writing ??= Promise.resolve().then(() => {
      this.#writing = undefined
      return this.#write(false)
    })
    return this.#writing
  }

  /** Writes all that waits, each part of it begun before this returns; resolves when what was begun before has ended, too. */
  async flushAtOnce() {
    do this.#write(true)
    while (this.#added.size + this.#dropped.size + this.#used.size > 0)
    const outcomes = await Promise.allSettled(this.#underWay)
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  }

  /** @param {boolean} uses @returns {Promise<void>} */
  #write(uses) {
    const write = this.#writeAndEvict(uses)
    this.#underWay.add(write)
    const ended = () => void this.#underWay.delete(write)
    write.then(ended, ended)
    return write
  }

  /** @param {boolean} uses */
  async #writeAndEvict(uses) {
    let more = false
    while (more || this.#added.size > 0 || this.#dropped.size > 0 || (uses && this.#used.size > 0)) {
      const added = taken(this.#added)
      const dropped = taken(this.#dropped)
      const used = uses ? taken(this.#used) : []
      const now = Date.now()
      const args = [3, ...this.#names, this.#maxEntries, added.length, dropped.length, used.length]
      for (const [id] of dropped) args.push(id)
      for (const [id, ttlMs] of added) args.push(id, ttlMs)
      for (const [id, { at, hits }] of used) args.push(id, Math.max(now - at, 0), hits)
      const number = ++this.#latest
      for (const [id] of added) this.#noting.set(id, number)
      /** @type {[now: number, ...evicted: string[]]} */
      let reply
      try {
        reply = await update.run(this.#client, args)
      } catch (error) {
        this.#putBack(added, dropped, used, error)
        throw error
      } finally {
        for (const [id] of added) if (this.#noting.get(id) === number) this.#noting.delete(id)
      }
      const [time, ...evicted] = reply
      this.#ahead = time - Date.now()
      // Written again meanwhile, though a later write of the account may not be answered yet: another entry, which stays.
      for (const id of evicted) if (!this.#added.has(id) && !((this.#noting.get(id) ?? 0) > number)) this.#evicted.add(id)
      more = evicted.length === BATCH
    }
    await this.#evicted.discard(this.discard)
  }

  /**
   * @param {[string, number][]} added
   * @param {[string, unknown][]} dropped
   * @param {[string, Use][]} used
   * @param {unknown} error
   */
  #putBack(added, dropped, used, error) {
    // Hits of a call whose answer was lost may have been counted: they are not counted again. The rest may be said twice.
    if (!(error instanceof RedisBulkError) || error.applied === false) {
      for (const [id, use] of used) {
        const later = this.#used.get(id)
        if (later === undefined) this.#used.set(id, use)
        else later.hits += use.hits
      }
    }
    // What changed since stands.
    for (const [id] of dropped) if (!this.#added.has(id)) this.#dropped.add(id)
    for (const [id, ttlMs] of added) if (!this.#added.has(id) && !this.#dropped.has(id)) this.#added.set(id, ttlMs)
    for (const pending of [this.#added, this.#dropped, this.#used]) bound(pending)
  }

  /** Entries that have not expired. @returns {Promise<number>} */
  async size() {
    if (this.#added.size > 0 || this.#dropped.size > 0) await this.flush(false)
    const now = Date.now() + this.#ahead
    return /** @type {Promise<number>} */ (this.#client.sendCommand(['ZCOUNT', this.#names[0], `(${now}`, '+inf']))
  }

  /**
   * @param {string} id
   * @returns {Promise<{ hits: number, lastUsedAt: number } | undefined>}
   */
  async usage(id) {
    if (this.#client.servesFromMemory) return undefined
    await this.flush(true)
    const [at, hits] = await Promise.all([
      this.#client.sendCommand(['ZSCORE', this.#names[1], id]),
      this.#client.sendCommand(['HGET', this.#names[2], id]),
    ])
    return at === null ? undefined : { hits: Number(hits ?? 0), lastUsedAt: Number(at) - this.#ahead }
  }

  /** Forgets all. */
  async reset() {
    for (const pending of [this.#added, this.#dropped, this.#used, this.#evicted]) pending.clear()
    await remove.run(this.#client, [3, ...this.#names])
  }
}

/**
 * The first of them, taken out.
 * @template V
 * @param {Map<string, V> | Set<string>} pending
 * @returns {[string, V][]}
 */
function taken(pending) {
  /** @type {[string, V][]} */
  const some = []
  for (const entry of pending.entries()) {
    if (some.length === BATCH) break
    some.push(/** @type {[string, V]} */ (entry))
    pending.delete(entry[0])
  }
  return some
}

/** @param {Map<string, unknown> | Set<string>} pending */
function bound(pending) {
  for (const id of pending.keys()) {
    if (pending.size <= MOST_PENDING) break
    pending.delete(id)
  }
}

/** Whether a server knows no scripts at all, as the embedded store that stands in for one. @param {unknown} error */
function hasNoScripts(error) {
  return error instanceof ReplyError && error.code === 'ERR'
}

module.exports = { ServerAccount, hasNoScripts }
