'use strict'

// A call on very many items goes out in groups, so that packing them never holds the event loop for long and memory
// stays flat. Two groups are under way at once: the connection does not run dry while the next one is packed.

const { setImmediate: nextTurn } = require('node:timers/promises')
const { callSite, withCaller } = require('./call-site.js')

const UNDER_WAY = 2

/** @typedef {[from: number, to: number]} Range */
/** @typedef {{ reason: any, unsettled: { range: Range, reason: any, begun: boolean }[] }} Failed */

/** Items that a group refused by itself before it failed. @type {WeakMap<object, any[]>} */
const refusals = new WeakMap()

/**
 * Runs `run` on each group and hands what it came to to `add`, in order. Once a group has rejected, no further one is
 * begun; then the result says why, and which items have no outcome. A single group that rejects rejects.
 * @template T
 * @param {import('./client.js').Client} client
 * @param {readonly Range[]} groups
 * @param {(from: number, to: number, before: Promise<unknown>) => Promise<T>} run may wait for the group before its own
 *   to settle; that promise rejects with what the group did
 * @param {(outcome: T, from: number, to: number) => void} add
 * @returns {Promise<Failed | undefined>}
 */
async function inGroups(client, groups, run, add) {
  if (groups.length === 1) {
    const [[from, to]] = groups
    add(await run(from, to, Promise.resolve()), from, to)
    return undefined
  }
  const site = callSite(inGroups)
  const failed = await severalGroups(client, groups, run, add)
  if (failed !== undefined) withCaller(failed.reason, site)
  return failed
}

/**
 * @template T
 * @param {import('./client.js').Client} client
 * @param {readonly Range[]} groups
 * @param {(from: number, to: number, before: Promise<unknown>) => Promise<T>} run
 * @param {(outcome: T, from: number, to: number) => void} add
 * @returns {Promise<Failed | undefined>}
 */
async function severalGroups(client, groups, run, add) {
  /** @type {Failed | undefined} */
  let failed
  /** @type {{ outcome: Promise<T>, range: Range }[]} */
  const underWay = []
  const settleFirst = async () => {
    const first = underWay.shift()
    if (first === undefined) return
    try {
      add(await first.outcome, ...first.range)
    } catch (reason) {
      // A group that waited for the one before fails with that one's reason, and was not sent.
      const begun = failed === undefined || reason !== failed.reason
      failed ??= { reason, unsettled: [] }
      failed.unsettled.push({ range: first.range, reason, begun })
    }
  }
  // Between two groups nothing is under way in the addon: closing the client must wait all the same.
  const letGo = client.hold()
  try {
    /** @type {Promise<unknown>} */
    let before = Promise.resolve()
    for (const range of groups) {
      if (failed !== undefined) {
        failed.unsettled.push({ range, reason: failed.reason, begun: false })
        continue
      }
      const outcome = run(...range, before)
      // Whoever waits for it hears of its failure; that nobody does is no accident to warn of.
      outcome.catch(() => {})
      before = outcome
      underWay.push({ outcome, range })
      if (underWay.length === UNDER_WAY) await settleFirst()
      else await nextTurn()
    }
    while (underWay.length > 0) await settleFirst()
  } finally {
    letGo()
  }
  return failed
}

/**
 * Cuts `0..total` into groups of at most `most`.
 * @param {number} total
 * @param {number} most
 * @returns {Range[]}
 */
function ranges(total, most) {
  /** @type {Range[]} */
  const all = []
  for (let from = 0; from < total; from += most) all.push([from, Math.min(from + most, total)])
  return all
}

/**
 * The errors of the items that have no outcome, as far as their call has an account of items at all: an abort, or a
 * failure before anything was sent, is the failure of the whole call, and thrown.
 * @param {Failed} failed
 * @param {boolean} anySent
 * @param {(index: number) => string} keyOf
 */
function unsettledErrors({ reason, unsettled }, anySent, keyOf) {
  if (!anySent || typeof reason?.retryable !== 'boolean') throw reason
  const errors = []
  for (const { range, reason: own, begun } of unsettled) {
    const { code, message, retryable, applied } = own
    const refused = (begun && refusals.get(own)) || []
    const known = new Set(refused.map((each) => each.index))
    errors.push(...refused)
    for (let index = range[0]; index < range[1]; index++) {
      // What was not begun was not carried out, whatever became of the group that failed.
      if (!known.has(index)) errors.push({ index, key: keyOf(index), code, message, retryable, applied: begun ? applied : false })
    }
  }
  return errors
}

/**
 * What is left of a time limit for each further group.
 * @param {number} timeoutMs 0: none
 */
function budget(timeoutMs) {
  if (timeoutMs === 0) return () => 0
  const end = performance.now() + timeoutMs
  // Never 0, which would mean no limit.
  return () => Math.max(end - performance.now(), 0.001)
}

module.exports = { budget, inGroups, ranges, refusals, unsettledErrors }
