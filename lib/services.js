'use strict'

// bulkSet and bulkSyncCache: the operations under the names and in the shape that services use.

const check = require('./check.js')
const { BulkError } = require('./errors.js')

/** @typedef {import('./client.js').Client} Client */
/** @typedef {import('../index.js').BulkResult} BulkResult */
/** @typedef {import('../index.js').ItemError} ItemError */
/** @typedef {readonly { key: string, value: unknown, ttl?: number }[]} Items */

/**
 * @param {Client} client
 * @param {Items} items
 * @param {unknown} options
 * @returns {Promise<BulkResult>}
 */
async function bulkSet(client, items, options) {
  const { written, failed, errors, durationMs } = await client.pipelineSet(entriesOf('items', items), options)
  return { successful: written, failed, errors, totalDuration: durationMs }
}

/**
 * @param {Client} client
 * @param {Items} updates
 * @param {readonly string[]} deletions
 * @param {unknown} given
 * @returns {Promise<BulkResult>}
 */
async function bulkSyncCache(client, updates, deletions, given) {
  const started = performance.now()
  const entries = entriesOf('updates', updates)
  checkDeletions(deletions, entries)
  const options = check.options('options', given)
  const { batchSize, signal, timeoutMs } = options
  // With nothing to do it only reads its options: what is wrong with them is found before either half is sent.
  await client.pipelineSet([], options)
  const [set, removed] = await Promise.allSettled([
    client.pipelineSet(entries, options),
    // Without a report of each key, so that one command takes many: which ones failed stands in the error.
    client.batchDelete(deletions, { batchSize, signal, timeoutMs }).then(() => [], failedItems),
  ])
  if (set.status === 'rejected' && (deletions.length === 0 || removed.status === 'rejected')) throw set.reason
  if (removed.status === 'rejected' && entries.length === 0) throw removed.reason
  const all = [
    ...(set.status === 'fulfilled' ? set.value.errors : unsent(set.reason, entries.map(({ key }) => key))),
    ...(removed.status === 'fulfilled' ? removed.value : unsent(removed.reason, deletions)).map((error) => ({
      ...error,
      index: entries.length + error.index,
    })),
  ]
  const failed = all.length
  return { successful: entries.length + deletions.length - failed, failed, errors: all, totalDuration: performance.now() - started }
}

/**
 * @param {unknown} error
 * @returns {ItemError[]}
 */
function failedItems(error) {
  if (error instanceof BulkError) return error.report.errors
  throw error
}

/**
 * The account of a half that was not sent at all, while the other was.
 * @param {any} error
 * @param {readonly string[]} keys
 * @returns {ItemError[]}
 */
function unsent(error, keys) {
  // An abort rejects the whole call, as everywhere.
  if (typeof error?.retryable !== 'boolean') throw error
  const { code, message, retryable, applied } = error
  return keys.map((key, index) => ({ index, key, code, message, retryable, applied }))
}

/**
 * @param {string} name
 * @param {unknown} items
 */
function entriesOf(name, items) {
  return check.array(name, items).map((item, index) => {
    if (item === null || typeof item !== 'object') throw check.wrongType(`${name}[${index}]`, 'an object', item)
    const { key, value, ttl } = /** @type {{ key: string, value: unknown, ttl?: number }} */ (item)
    check.text(`${name}[${index}].key`, key)
    if (ttl !== undefined && typeof ttl !== 'number') throw check.wrongType(`${name}[${index}].ttl`, 'a number of seconds', ttl)
    return { key, data: value, ttl }
  })
}

/**
 * @param {unknown} deletions
 * @param {readonly { key: string }[]} entries
 */
function checkDeletions(deletions, entries) {
  const updated = new Set(entries.map(({ key }) => key))
  check.array('deletions', deletions).forEach((key, index) => {
    const name = `deletions[${index}]`
    // Both halves are under way at once: which of the two would come last nobody could say.
    if (updated.has(check.text(name, key))) throw check.outOfRange(name, 'a key that is not among the updates', key)
  })
}

exports.bulkSet = bulkSet
exports.bulkSyncCache = bulkSyncCache
