'use strict'

// bulkLookup: codes out, values back.

const { settled } = require('./bridge.js')
const check = require('./check.js')
const { itemFromRow } = require('./errors.js')
const { SMALL } = require('./coalesce.js')
const { pack, sendPacked } = require('./pack.js')
const { append } = require('./values.js')

/**
 * Codes in one crossing. V8 treats an array of more than 128 KiB, which is 16,000 places, as a large object: copying
 * and joining the codes then costs three times as much.
 */
const GROUP = 10_000

const flags = { json: 1, buffer: 2, script: 4, partial: 8, objects: 16 }

/** @typedef {import('./client.js').Client} Client */
/** @typedef {{ results: any[], cacheHits: number, cacheMisses: number, errors: any[] }} Result */
/** @typedef {import('../index.js').ItemError} ItemError */

const OPTIONS = ['as', 'strategy', 'batchSize', 'partial', ...check.CALL_OPTIONS]

/** @param {unknown} given */
function readOptions(given) {
  const options = check.options('options', given, OPTIONS)
  const as = check.choice('options.as', options.as, ['string', 'json', 'buffer']) ?? 'string'
  const strategy = check.choice('options.strategy', options.strategy, ['mget', 'script'])
  const partial = check.flag('options.partial', options.partial)
  return {
    as,
    flags: (as === 'string' ? 0 : flags[as]) | (as === 'json' && require('./shapes.js').canMake ? flags.objects : 0) | (strategy === 'script' ? flags.script : 0) | (partial ? flags.partial : 0),
    batchSize: check.positive('options.batchSize', options.batchSize),
    ...check.callOptions(options),
  }
}

const defaults = readOptions(undefined)

/**
 * @param {Client} client
 * @param {string} prefix
 * @param {readonly string[]} codes
 * @param {unknown} given
 * @returns {Promise<Result>}
 */
function bulkLookup(client, prefix, codes, given) {
  try {
    client.assertOpen()
    check.text('prefix', prefix)
    check.array('codes', codes)
    const count = codes.length
    if (given === undefined && count > 0 && count <= SMALL) {
      check.wellFormed('codes', codes)
      return client.coalescer().lookup(prefix, codes)
    }
    return lookupAll(client, prefix, codes, given === undefined ? defaults : readOptions(given))
  } catch (error) {
    return Promise.reject(error)
  }
}

/**
 * @param {Client} client
 * @param {string} prefix
 * @param {readonly string[]} codes
 * @param {typeof defaults} options
 * @returns {Promise<Result>}
 */
async function lookupAll(client, prefix, codes, options) {
  // Room for all at once is filled several times as fast as a list that grows.
  /** @type {Result} */
  const all = { results: new Array(codes.length), cacheHits: 0, cacheMisses: 0, errors: [] }
  if (codes.length === 0) return all
  if (codes.length <= GROUP) {
    return client.inTurn(0, 1, options.signal, options.timeoutMs, (timeoutMs, admission) => lookupGroup(client, prefix, codes, 0, codes.length, options, timeoutMs, all.results, admission))
  }

  const { budget, inGroups, ranges } = require('./groups.js')
  check.wellFormed('codes', codes)
  const left = budget(options.timeoutMs)
  /** Why the last code of a group has no answer. @type {ItemError | undefined} */
  let lost
  const failed = await inGroups(
    client,
    ranges(codes.length, GROUP),
    (from, to) =>
      // The next group would only wait for the same server.
      lost ? Promise.resolve(unasked(prefix, codes, from, to, all.results, lost)) : client.inTurn(0, from === 0 ? 1 : 0, options.signal, left(), (timeoutMs, admission) => lookupGroup(client, prefix, codes, from, to, options, timeoutMs, all.results, admission)),
    (part) => {
      all.cacheHits += part.cacheHits
      all.cacheMisses += part.cacheMisses
      append(all.errors, part.errors)
      lost ??= part.lost
    },
  )
  if (failed !== undefined) throw failed.reason
  return all
}

/**
 * @param {Client} client
 * @param {string} prefix
 * @param {readonly string[]} codes
 * @param {number} from
 * @param {number} to
 * @param {typeof defaults} options
 * @param {number} timeoutMs
 * @param {any[]} results gets the values at the places of their codes
 * @param {import('./client.js').Admission} [admission]
 * @returns {Promise<Result & { lost: ItemError | undefined }>}
 */
async function lookupGroup(client, prefix, codes, from, to, options, timeoutMs, results, admission) {
  const session = client.session()
  const count = to - from
  const packed = pack('codes', codes, from, to)
  const outcome = await client.run(options.signal, (id) => {
    const { flags, batchSize } = options
    sendPacked(packed, () => codes.slice(from, to), ({ data, units, lengths }) =>
      session.lookup(id, prefix, prefix.length, data, units, count, lengths, flags, batchSize, timeoutMs, from === 0 ? 1 : 0, codes.length))
  }, undefined, options.as, { results, from }, admission)
  /** @type {import('./values.js').Found} */
  const { hits, failures } = settled(outcome)
  const errors = failures.map((row) => {
    const index = from + /** @type {number} */ (row[0])
    return itemFromRow(row, index, prefix + codes[index])
  })
  const last = failures.at(-1)
  const isLost = last?.[0] === count - 1 && (last[5] === 'ConnectionError' || last[5] === 'TimeoutError')
  return { results, cacheHits: hits, cacheMisses: count - hits - errors.length, errors, lost: isLost ? errors.at(-1) : undefined }
}

/**
 * What a group comes to that is not asked for.
 * @param {string} prefix
 * @param {readonly string[]} codes
 * @param {number} from
 * @param {number} to
 * @param {any[]} results
 * @param {ItemError} why
 */
function unasked(prefix, codes, from, to, results, { code, message, retryable }) {
  results.fill(null, from, to)
  const errors = codes.slice(from, to).map((each, at) => ({ index: from + at, key: prefix + each, code, message, retryable, applied: false }))
  return { results, cacheHits: 0, cacheMisses: 0, errors, lost: undefined }
}

exports.LOOKUP_OPTIONS = OPTIONS
exports.bulkLookup = bulkLookup
