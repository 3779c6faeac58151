'use strict'

// pipelineSet: entries out, an account of each back.

const { setImmediate: nextTurn } = require('node:timers/promises')
const { settled } = require('./bridge.js')
const check = require('./check.js')
const { itemFromRow } = require('./errors.js')
const { budget, inGroups, refusals, unsettledErrors } = require('./groups.js')
const { LONGEST_JOIN, PIECE, counted, inPieces, packAll } = require('./pack.js')
const { append } = require('./values.js')

/**
 * Entries in one crossing, and characters of their values: what is packed in one turn of the event loop. Each group waits
 * for the one before, so that smaller ones cost round trips.
 */
const GROUP = 10_000
const GROUP_UNITS = 8 * 1024 * 1024
/** Entries that are checked in one turn of the event loop: a whole number of groups. */
const CHECKED = 5 * GROUP

/** Objects that are serialised together before it is known how long their texts are. */
const FIRST_SERIALISED = 64

/** The latest moment that Redis can say, in milliseconds since 1970: its times are signed 64-bit numbers. */
const LATEST = 2 ** 63

/** @typedef {import('./client.js').Client} Client */
/** @typedef {readonly { key: string, data: any, ttl?: number }[]} Entries */
/** @typedef {{ index: number, key: string, code: string, message: string, retryable: boolean, applied: boolean | 'unknown' }} ItemError */
/** @typedef {{ success: boolean, written: number, failed: number, errors: ItemError[], durationMs: number }} Result */

const conditions = { nx: 1, xx: 2 }

const OPTIONS = ['ttl', 'condition', 'batchSize', ...check.CALL_OPTIONS]

/** @param {unknown} given */
function readOptions(given) {
  const options = check.options('options', given, OPTIONS)
  const condition = check.choice('options.condition', options.condition, /** @type {const} */ (['nx', 'xx']))
  if (options.ttl !== undefined) {
    if (typeof options.ttl !== 'number') throw check.wrongType('options.ttl', 'a number of seconds', options.ttl)
    if (ttlMillis(options.ttl) === 0) throw check.outOfRange('options.ttl', TTL_WANTED, options.ttl)
  }
  return {
    ttl: /** @type {number | undefined} */ (options.ttl),
    condition: condition === undefined ? 0 : conditions[condition],
    batchSize: check.positive('options.batchSize', options.batchSize),
    ...check.callOptions(options),
  }
}

const TTL_WANTED = 'a number of seconds from 0.001 to what Redis can add to the present time'

/**
 * Whole milliseconds, or 0 for what is no time to live.
 * @param {number} seconds
 */
function ttlMillis(seconds) {
  const millis = Math.round(seconds * 1000)
  // The clock is asked only for what could go beyond: that takes as long as all the rest.
  return millis >= 1 && (millis < LATEST / 2 || millis < LATEST - Date.now()) ? millis : 0
}

/**
 * @param {Client} client
 * @param {readonly { key: string, data: unknown, ttl?: number }[]} entries
 * @param {unknown} given
 * @returns {Promise<Result>}
 */
async function pipelineSet(client, entries, given) {
  const started = performance.now()
  client.assertOpen()
  check.array('entries', entries)
  const options = readOptions(given)
  if (entries.length <= CHECKED) return setGroups(client, entries, options, started, checked(entries, 0, entries.length), budget(options.timeoutMs))
  const left = budget(options.timeoutMs)
  // Between two turns nothing is under way in the addon: closing the client must wait all the same.
  const letGo = client.hold()
  try {
    return await setGroups(client, entries, options, started, await checkedInTurns(entries), left)
  } finally {
    letGo()
  }
}

/**
 * @param {Client} client
 * @param {Entries} entries
 * @param {ReturnType<typeof readOptions>} options
 * @param {number} started
 * @param {import('./groups.js').Range[]} groups
 * @param {() => number} left
 */
async function setGroups(client, entries, options, started, groups, left) {
  /** @type {Result} */
  const result = { success: true, written: 0, failed: 0, errors: [], durationMs: 0 }
  let anySent = false
  const failed = await inGroups(
    client,
    groups,
    (from, to, before) =>
      client.inTurn(1, from === 0 ? 1 : 0, options.signal, left(), (timeoutMs, admission) => setGroup(client, entries, from, to, options, from === 0 ? () => timeoutMs : left, before, admission), before),
    (part) => {
      anySent ||= part.sent
      result.written += part.written
      append(result.errors, part.errors)
    },
  )
  if (failed !== undefined) append(result.errors, unsettledErrors(failed, anySent, (index) => keyOf(entries, index)))
  result.errors.sort((one, other) => one.index - other.index)
  result.failed = result.errors.length
  result.success = result.failed === 0
  result.durationMs = performance.now() - started
  return result
}

/**
 * Of an entry that its caller may have changed since.
 * @param {Entries} entries
 * @param {number} index
 */
function keyOf(entries, index) {
  return entries[index]?.key ?? ''
}

/**
 * @param {any} entry
 * @param {number} index
 */
function checkEntry(entry, index) {
  if (entry === null || typeof entry !== 'object') throw check.wrongType(`entries[${index}]`, 'an object', entry)
  // The name is made only for the error.
  if (typeof entry.key !== 'string' || !entry.key.isWellFormed()) check.text(`entries[${index}].key`, entry.key)
  if (entry.ttl !== undefined && typeof entry.ttl !== 'number') {
    throw check.wrongType(`entries[${index}].ttl`, 'a number of seconds', entry.ttl)
  }
}

/**
 * The entries in groups. Very many are checked in several turns of the event loop; nothing is sent before all are.
 * @param {Entries} entries
 */
async function checkedInTurns(entries) {
  /** @type {import('./groups.js').Range[]} */
  const groups = []
  const count = entries.length
  for (let from = 0; from < count; from += CHECKED) {
    if (from > 0) await nextTurn()
    groups.push(...checked(entries, from, Math.min(from + CHECKED, count)))
  }
  return groups
}

/**
 * Groups of a bounded number of entries and characters, each entry checked.
 * @param {Entries} entries
 * @param {number} from
 * @param {number} to
 */
function checked(entries, from, to) {
  /** @type {import('./groups.js').Range[]} */
  const groups = []
  let start = from
  let units = 0
  for (let index = from; index < to; index++) {
    const entry = entries[index]
    checkEntry(entry, index)
    const { data } = entry
    const size = typeof data === 'string' ? data.length : data instanceof Uint8Array ? data.byteLength : 0
    if (index > start && (index - start === GROUP || units + size > GROUP_UNITS)) {
      groups.push([start, index])
      start = index
      units = 0
    }
    units += size
  }
  if (start < to) groups.push([start, to])
  return groups
}

/**
 * @param {Client} client
 * @param {readonly { key: string, data: unknown, ttl?: number }[]} entries
 * @param {number} from
 * @param {number} to
 * @param {ReturnType<typeof readOptions>} options
 * @param {() => number} left of the time, in milliseconds; 0: no limit
 * @param {Promise<unknown>} before
 * @param {import('./client.js').Admission} [admission]
 */
async function setGroup(client, entries, from, to, options, left, before, admission) {
  const session = client.session()
  const { errors, indices, stored, json, ...group } = packEntries(entries, from, to, options.ttl)
  if (group.count === 0) return { sent: false, written: 0, errors }
  let { keys, values } = group
  // Of two entries with one key the later one stands: nothing overtakes the group before. It is packed meanwhile.
  if (from > 0) await before
  const timeoutMs = left()
  const outcome = await client.run(options.signal, (id) => {
    const send = () =>
      session.set(id, keys.data, keys.units, values.data, values.units, json, group.count, keys.lengths, values.lengths, group.times, options.condition, options.batchSize, timeoutMs, from === 0 ? 1 : 0)
    const again = send()
    if (again === 0) return
    if (again & 1) keys = counted(group.names)
    if (again & 2) values = counted(stored)
    send()
  }, undefined, undefined, undefined, admission)
  /** @type {number | { count: number, failures: import('./errors.js').Row[] }} */
  let answer
  try {
    answer = settled(outcome)
  } catch (error) {
    // Entries that could not be stored keep their own reason.
    refusals.set(/** @type {object} */ (error), errors)
    throw error
  }
  const { count, failures } = typeof answer === 'number' ? { count: answer, failures: [] } : answer
  for (const row of failures) {
    const at = /** @type {number} */ (row[0])
    const index = indices === undefined ? from + at : indices[at]
    errors.push(itemFromRow(row, index, keyOf(entries, index)))
  }
  return { sent: true, written: count, errors }
}

/**
 * Keys, values and times in the form in which they cross; entries that cannot be stored become errors.
 * @param {Entries} entries
 * @param {number} from
 * @param {number} to
 * @param {number | undefined} commonTtl
 */
function packEntries(entries, from, to, commonTtl) {
  let group = collect(entries, from, to, commonTtl, false)
  /** @type {import('./pack.js').Packed | undefined} */
  let values
  if (group.objects > 0) {
    // All of them in one pass, which is faster than one by one; the addon cuts the array.
    if (group.objects === group.stored.length) values = serialised(group.stored)
    if (values === undefined) group = collect(entries, from, to, commonTtl, true)
  }
  const { names, stored, times, errors, indices, isText } = group
  const json = values !== undefined
  values ??= isText ? packAll(stored) : counted(stored)
  return { count: names.length, names, stored, errors, indices, json, values, keys: packAll(names), times }
}

/**
 * The objects as JSON arrays of about the length of a piece each; `undefined` where one cannot be serialised, or where
 * they are too long together.
 * @param {readonly object[]} objects
 */
function serialised(objects) {
  /** @type {string[]} */
  const pieces = []
  let units = 0
  for (let from = 0, count = FIRST_SERIALISED; from < objects.length; ) {
    const part = objects.slice(from, from + count)
    const text = stringify(part)
    if (typeof text !== 'string') return undefined
    units += text.length
    if (units >= LONGEST_JOIN) return undefined
    pieces.push(text)
    from += part.length
    // No more than twice as many as before: small ones at the beginning say little of the rest.
    count = Math.max(1, Math.min(2 * part.length, Math.floor((part.length * PIECE) / text.length)))
  }
  return inPieces(pieces)
}

/**
 * @param {Entries} entries
 * @param {number} from
 * @param {number} to
 * @param {number | undefined} commonTtl
 * @param {boolean} eachAlone whether objects are serialised here, each by itself
 */
function collect(entries, from, to, commonTtl, eachAlone) {
  // Room for all at once is filled several times as fast as lists that grow.
  /** @type {string[]} */
  const names = new Array(to - from)
  /** @type {any[]} */
  const stored = new Array(to - from)
  /** @type {number[]} */
  const times = new Array(to - from)
  /** @type {ItemError[]} */
  const errors = []
  /** Positions in `entries`, once one was left out. @type {number[] | undefined} */
  let indices
  let count = 0
  let objects = 0
  let isText = true
  let sameTimes = true
  /** @param {ItemError} error */
  const leaveOut = (error) => {
    indices ??= Array.from({ length: count }, (_, at) => from + at)
    errors.push(error)
  }
  for (let index = from; index < to; index++) {
    const entry = entries[index]
    if (typeof entry?.key !== 'string') {
      leaveOut({ index, key: '', code: 'INVALID_ARGUMENT', message: `entries[${index}] was changed during the call`, retryable: false, applied: false })
      continue
    }
    const { key, data, ttl = commonTtl } = entry
    const time = ttl === undefined ? 0 : ttlMillis(ttl)
    const item = ttl !== undefined && time === 0 ? badTtl(ttl) : storable(data, eachAlone)
    if (typeof item !== 'string') {
      if (item instanceof Refusal) {
        leaveOut({ index, key, code: item.code, message: item.message, retryable: false, applied: false })
        continue
      }
      isText = false
      if (!(item instanceof Uint8Array)) objects++
    }
    names[count] = key
    stored[count] = item
    times[count] = time
    if (time !== times[0]) sameTimes = false
    indices?.push(index)
    count++
  }
  names.length = stored.length = times.length = count
  /** Milliseconds for each, one for all, or none. 0: none */
  const packedTimes = !sameTimes ? Float64Array.from(times) : times[0] ? Float64Array.of(times[0]) : undefined
  return { names, stored, times: packedTimes, errors, indices, objects, isText }
}

/** Why an entry is not sent. */
class Refusal {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    this.code = code
    this.message = message
  }
}

/** @param {number} ttl */
function badTtl(ttl) {
  return new Refusal('INVALID_ARGUMENT', `ttl must be ${TTL_WANTED}, not ${ttl}`)
}

/**
 * What is stored for `data`: text, bytes, or an object that is yet to be serialised.
 * @param {any} data
 * @param {boolean} eachAlone whether objects are serialised here
 * @returns {string | Uint8Array | object | null | Refusal}
 */
function storable(data, eachAlone) {
  if (typeof data === 'string' || data instanceof Uint8Array) return data
  // What serialises itself may depend on where it stands, or come to nothing.
  if (typeof data === 'object' && !eachAlone && typeof data?.toJSON !== 'function') return data
  const text = stringify(data)
  if (typeof text === 'string') return text
  const why = text === undefined ? `${data === undefined ? 'undefined' : `a ${typeof data}`} has no JSON form` : text.message
  return new Refusal('INVALID_DATA', `data cannot be serialised: ${why}`)
}

/**
 * JSON, or why there is none.
 * @param {unknown} data
 * @returns {string | undefined | Error}
 */
function stringify(data) {
  try {
    return JSON.stringify(data)
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

module.exports = { pipelineSet, ttlMillis }
