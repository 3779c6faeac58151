'use strict'

// batchDelete: keys out, how many existed back.

const { settled } = require('./bridge.js')
const check = require('./check.js')
const { BulkError, itemFromRow } = require('./errors.js')
const { budget, inGroups, ranges, unsettledErrors } = require('./groups.js')
const { append } = require('./values.js')
const { pack, sendPacked } = require('./pack.js')

/** Keys in one crossing. */
const GROUP = 10_000

const flags = { report: 1, progress: 2 }

/** @typedef {import('./client.js').Client} Client */
/** @typedef {{ deleted: number, failed: number, errors: any[], existed: boolean[], durationMs: number }} Report */

const OPTIONS = ['batchSize', 'report', 'onProgress', ...check.CALL_OPTIONS]

/** @param {unknown} given a number is the batch size */
function readOptions(given) {
  const options = typeof given === 'number' ? { batchSize: given } : check.options('batchSizeOrOptions', given, OPTIONS)
  const onProgress = check.callback('options.onProgress', options.onProgress)
  const report = check.flag('options.report', options.report)
  return {
    report,
    onProgress,
    flags: (report ? flags.report : 0) | (onProgress ? flags.progress : 0),
    batchSize: check.positive(typeof given === 'number' ? 'batchSize' : 'options.batchSize', options.batchSize),
    ...check.callOptions(options),
  }
}

/**
 * @param {Client} client
 * @param {readonly string[]} keys
 * @param {unknown} given
 * @returns {Promise<number | Report>}
 */
async function batchDelete(client, keys, given) {
  const started = performance.now()
  client.assertOpen()
  check.array('keys', keys)
  const options = readOptions(given)
  if (keys.length > GROUP) check.wellFormed('keys', keys)
  /** @type {Report} */
  const report = { deleted: 0, failed: 0, errors: [], existed: [], durationMs: 0 }
  const left = budget(options.timeoutMs)
  let anySent = false
  // A later group may tell of its progress before the first has ended: the sums of both count.
  /** @type {Map<number, [scanned: number, done: number]>} */
  const progress = new Map()
  let highest = 0
  /** @param {number} from @param {number} scanned @param {number} done */
  const tell = (from, scanned, done) => {
    progress.set(from, [scanned, done])
    let all = 0
    let deleted = 0
    for (const [each, gone] of progress.values()) {
      all += each
      deleted += gone
    }
    if (all < highest) return
    highest = all
    options.onProgress?.({ scanned: all, done: deleted, total: keys.length, elapsedMs: performance.now() - started })
  }
  const failed = await inGroups(
    client,
    ranges(keys.length, GROUP),
    (from, to) =>
      client.inTurn(2, from === 0 ? 1 : 0, options.signal, left(), (timeoutMs, admission) => deleteGroup(client, keys, from, to, options, timeoutMs, tell, admission)),
    (part) => {
      anySent = true
      report.deleted += part.deleted
      append(report.errors, part.errors)
      append(report.existed, part.existed)
    },
  )
  if (failed !== undefined) {
    append(report.errors, unsettledErrors(failed, anySent, (index) => keys[index]))
    if (options.report) while (report.existed.length < keys.length) report.existed.push(false)
  }
  report.errors.sort((one, other) => one.index - other.index)
  report.failed = report.errors.length
  report.durationMs = performance.now() - started
  if (options.report) return report
  if (report.failed === 0) return report.deleted
  throw bulkError(`${report.failed} of ${keys.length} keys could not be deleted`, report)
}

/**
 * @param {string} what
 * @param {{ errors: any[] }} report
 */
function bulkError(what, report) {
  const [first] = report.errors
  const applied = report.errors.some((each) => each.applied === 'unknown') ? 'unknown' : first.applied
  const retryable = report.errors.every((each) => each.retryable)
  return new BulkError(`${what}; the first: ${first.message}`, report, { code: first.code, retryable, applied })
}

/**
 * @param {Client} client
 * @param {readonly string[]} keys
 * @param {number} from
 * @param {number} to
 * @param {ReturnType<typeof readOptions>} options
 * @param {number} timeoutMs
 * @param {(from: number, scanned: number, done: number) => void} tell
 * @param {import('./client.js').Admission} [admission]
 */
async function deleteGroup(client, keys, from, to, options, timeoutMs, tell, admission) {
  const session = client.session()
  const packed = pack('keys', keys, from, to)
  const count = to - from
  const outcome = await client.run(
    options.signal,
    (id) => {
      const { flags, batchSize } = options
      sendPacked(packed, () => keys.slice(from, to), ({ data, units, lengths }) => session.delete(id, data, units, count, lengths, flags, batchSize, timeoutMs, from === 0 ? 1 : 0))
    },
    options.onProgress && ((scanned, done) => tell(from, scanned, done)),
    undefined,
    undefined,
    admission,
  )
  /** @type {number | { count: number, failures: import('./errors.js').Row[], existed: Buffer }} */
  const answer = settled(outcome)
  if (typeof answer === 'number') return { deleted: answer, errors: [], existed: [] }
  const errors = answer.failures.map((row) => {
    const index = from + /** @type {number} */ (row[0])
    return itemFromRow(row, index, keys[index])
  })
  return { deleted: answer.count, errors, existed: Array.from(answer.existed, (each) => each === 1) }
}

module.exports = { batchDelete, bulkError }
