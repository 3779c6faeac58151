'use strict'

// createRateLimiter: fixed windows, counted by one script on the server, or in process while there is none.

const { traced } = require('./call-site.js')
const check = require('./check.js')
const { RedisBulkError, ReplyError } = require('./errors.js')
const { Script } = require('./script.js')

/**
 * A hash for each id: c points taken, e when the window ends (milliseconds of the server's clock), b whether it is blocked.
 * A call that does not fit takes nothing. Takes 0: only looks.
 */
const script = new Script(`
local points, duration, block, take = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call('HMGET', KEYS[1], 'c', 'e', 'b')
local consumed, ends, blocked = tonumber(state[1]) or 0, tonumber(state[2]) or 0, state[3] == '1'
if now >= ends then
  consumed, ends, blocked = 0, 0, false
end
local fits = not blocked and consumed + math.max(take, 1) <= points
if take > 0 and fits then
  consumed = consumed + take
  if ends == 0 then
    ends = now + duration
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], 'c', consumed, 'e', ends)
    redis.call('PEXPIRE', KEYS[1], duration)
  else
    redis.call('HSET', KEYS[1], 'c', consumed)
  end
elseif take > 0 and block > 0 and not blocked then
  blocked = true
  ends = math.max(ends, now + block)
  redis.call('HSET', KEYS[1], 'c', consumed, 'e', ends, 'b', 1)
  redis.call('PEXPIRE', KEYS[1], ends - now)
end
return { fits and 1 or 0, consumed, blocked and 1 or 0, math.max(ends - now, 0) }
`)

const OPTIONS = ['keyPrefix', 'points', 'duration', 'blockDuration']

/** @typedef {import('./client.js').Client} Client */
/** @typedef {import('./windows.js').Rule} Rule */
/** @typedef {import('./windows.js').Standing} Standing */

/** Clients of the embedded store, which has no scripts. @type {WeakSet<Client>} */
const embedded = new WeakSet()

/**
 * @param {() => Client} clientOf asked at each call: the default client may be configured later
 * @param {unknown} given
 */
function createRateLimiter(clientOf, given) {
  if (given === undefined) throw check.wrongType('options', 'an object', given)
  const options = check.options('options', given, OPTIONS)
  const prefix = check.text('options.keyPrefix', options.keyPrefix)
  const rule = {
    points: required('options.points', check.positive('options.points', options.points), options.points),
    durationMs: required('options.duration', seconds('options.duration', options.duration), options.duration),
    blockMs: seconds('options.blockDuration', options.blockDuration),
  }
  return new RateLimiter(clientOf, prefix, rule)
}

/**
 * @param {string} name
 * @param {number} read 0 where it was left out
 * @param {unknown} value
 */
function required(name, read, value) {
  if (read === 0) throw check.wrongType(name, 'a number', value)
  return read
}

/**
 * Seconds as whole milliseconds, or 0 where they are left out.
 * @param {string} name
 * @param {unknown} value
 */
function seconds(name, value) {
  if (value === undefined) return 0
  if (typeof value !== 'number') throw check.wrongType(name, 'a number of seconds', value)
  const millis = Math.round(value * 1000)
  if (!(millis >= 1 && millis <= Number.MAX_SAFE_INTEGER / 2)) throw check.outOfRange(name, 'a number of seconds from 0.001', value)
  return millis
}

class RateLimiter {
  #clientOf
  #prefix
  #rule

  /**
   * @param {() => Client} clientOf
   * @param {string} prefix
   * @param {Rule} rule
   */
  constructor(clientOf, prefix, rule) {
    this.#clientOf = clientOf
    this.#prefix = prefix
    this.#rule = rule
  }

  /**
   * @param {string} id
   * @param {number} [points]
   */
  async consume(id, points) {
    return this.#ask(check.text('id', id), check.positive('points', points) || 1)
  }

  /** @param {string} id */
  async get(id) {
    return this.#ask(check.text('id', id), 0)
  }

  /** @param {string} id */
  async reset(id) {
    const client = this.#clientOf()
    const key = this.#prefix + check.text('id', id)
    client.windows.reset(key)
    try {
      await traced(() => client.batchDelete([key]))
    } catch (error) {
      // Switched off: what there is was forgotten above.
      if (!(error instanceof RedisBulkError && error.code === 'DISABLED')) throw error
    }
  }

  /**
   * @param {string} id
   * @param {number} take
   */
  async #ask(id, take) {
    const client = this.#clientOf()
    const key = this.#prefix + id
    const { points } = this.#rule
    const standing = (await this.#onServer(client, key, take)) ?? client.windows.consume(key, this.#rule, take)
    const { allowed, consumed, blocked, resetMs } = standing
    return { allowed, limit: points, remaining: blocked ? 0 : Math.max(points - consumed, 0), consumed, resetMs }
  }

  /**
   * How things stand on the server; undefined where there is none that could count.
   * @param {Client} client
   * @param {string} key
   * @param {number} take
   * @returns {Promise<Standing | undefined>}
   */
  async #onServer(client, key, take) {
    client.assertOpen()
    if (embedded.has(client)) return undefined
    const { points, durationMs, blockMs } = this.#rule
    const args = [1, client.keyPrefix + key, points, durationMs, blockMs, take]
    try {
      const [allowed, consumed, blocked, resetMs] = /** @type {number[]} */ (await script.run(client, args))
      return { allowed: allowed === 1, consumed, blocked: blocked === 1, resetMs }
    } catch (error) {
      if (await canBeCountedHere(client, error)) return undefined
      throw error
    }
  }
}

/**
 * Whether the server surely counted nothing, and cannot now.
 * @param {Client} client
 * @param {unknown} error
 */
async function canBeCountedHere(client, error) {
  if (!(error instanceof RedisBulkError) || error.applied !== false) return false
  if (error.retryable || error.code === 'DISABLED') return true
  if (!(error instanceof ReplyError && error.code === 'ERR')) return false
  const { mode, servedFrom } = await client.health()
  if (mode === 'memory') embedded.add(client)
  return servedFrom === 'memory'
}

exports.createRateLimiter = createRateLimiter
