'use strict'

// deleteByPattern: scan, filter and delete, a bounded number of keys at a time.

const { abortError, deadlineError, pause, within } = require('./abort.js')
const check = require('./check.js')
const { bulkError } = require('./delete.js')
const { BulkError, RedisBulkError, ReplyError, invalid } = require('./errors.js')
const { ScanSteps } = require('./scan-steps.js')

/** Keys that are filtered and deleted together, at least. */
const GROUP = 1000

/** With a speed limit: groups in a second. */
const GROUPS_A_SECOND = 10

/** Keys that may fail in a row. What fails for all keys would else fill the memory with its account. */
const FAILURES_IN_A_ROW = 1000

/** Stands in a name for bytes that are not UTF-8. */
const REPLACED = '\ufffd'

/** How long an aborted call waits for the answers under way, so that its report is exact. */
const GRACE_MS = 250

/** @typedef {import('./client.js').Client} Client */
/** @typedef {import('../index.js').ItemError} ItemError */
/** @typedef {import('../index.js').PatternDeleteReport} Report */

const OPTIONS = ['count', 'batchSize', 'report', 'dryRun', 'idleSeconds', 'minBytes', 'maxKeysPerSecond', 'onProgress', ...check.CALL_OPTIONS]

/** @param {unknown} given */
function readOptions(given) {
  const options = check.options('options', given, OPTIONS)
  const { idleSeconds } = options
  if (idleSeconds !== undefined) {
    if (typeof idleSeconds !== 'number') throw check.wrongType('options.idleSeconds', 'a number of seconds', idleSeconds)
    if (!(idleSeconds >= 0)) throw check.outOfRange('options.idleSeconds', 'a number of seconds from 0', idleSeconds)
  }
  return {
    count: check.positive('options.count', options.count),
    batchSize: check.positive('options.batchSize', options.batchSize) || undefined,
    report: check.flag('options.report', options.report),
    dryRun: check.flag('options.dryRun', options.dryRun),
    idleSeconds: /** @type {number | undefined} */ (idleSeconds),
    minBytes: check.positive('options.minBytes', options.minBytes, Number.MAX_SAFE_INTEGER),
    maxKeysPerSecond: check.positive('options.maxKeysPerSecond', options.maxKeysPerSecond),
    onProgress: check.callback('options.onProgress', options.onProgress),
    ...check.callOptions(options),
  }
}

/**
 * @param {Client} client
 * @param {string} pattern
 * @param {unknown} given
 * @returns {Promise<Report>}
 */
async function deleteByPattern(client, pattern, given) {
  check.text('pattern', pattern)
  const pass = new Pass(client, pattern, readOptions(given))
  /** @type {any} */
  let failure
  try {
    await pass.run()
  } catch (error) {
    failure = error
  }
  return pass.outcome(failure)
}

class Pass {
  /** @type {Report} */
  #report
  #started = performance.now()
  #failedInRow = 0
  /** When the next group may begin, with a speed limit. */
  #nextAt = 0

  /**
   * @param {Client} client
   * @param {string} pattern
   * @param {ReturnType<typeof readOptions>} options
   */
  constructor(client, pattern, options) {
    this.client = client
    this.options = options
    this.steps = new ScanSteps(client, pattern, options)
    this.group = Math.max(GROUP, options.batchSize ?? 0)
    if (options.maxKeysPerSecond) this.group = Math.min(this.group, Math.ceil(options.maxKeysPerSecond / GROUPS_A_SECOND))
    this.#report = { scanned: 0, matched: 0, deleted: 0, failed: 0, errors: [], dryRun: options.dryRun, durationMs: 0 }
  }

  async run() {
    /** Keys of the page before: the page after it was asked for before they were deleted, and SCAN may name some again. */
    let before = new Set()
    for (let ahead = this.#scan(); ; ) {
      const { keys: named, isLast } = await ahead
      this.client.assertSearchable()
      // Many keys that are not UTF-8 have one name.
      const keys = named.filter((key) => key.includes(REPLACED) || !before.has(key))
      before = new Set(named)
      // The server looks for the next keys while it deletes these.
      if (!isLast) ahead = this.#scan()
      for (let from = 0; from < keys.length; from += this.group) {
        const part = keys.slice(from, from + this.group)
        await this.#pace(part.length)
        this.#assertGoingOn()
        await this.#take(part)
        this.#tell()
        if (this.#failedInRow >= FAILURES_IN_A_ROW) {
          const { code, message, retryable, applied } = /** @type {ItemError} */ (this.#report.errors.at(-1))
          throw new RedisBulkError(message, { code, retryable, applied })
        }
      }
      if (isLast) return
      this.#assertGoingOn()
    }
  }

  /**
   * What the call comes to.
   * @param {any} failure what ended it early
   * @returns {Report}
   */
  outcome(failure) {
    const report = this.#report
    report.failed = report.errors.length
    report.errors.sort((one, other) => one.index - other.index)
    report.durationMs = performance.now() - this.#started
    if (failure?.name === 'AbortError') throw abortedWith(report, this.options.signal?.reason)
    if (failure instanceof RedisBulkError && report.scanned > 0) {
      const isUnknown = report.errors.some((each) => each.applied === 'unknown')
      const { code, retryable, applied } = failure
      const facts = { code, retryable, applied: isUnknown ? /** @type {const} */ ('unknown') : applied, cause: failure }
      throw new BulkError(`the deletion broke off after ${report.scanned} keys: ${failure.message}`, report, facts)
    }
    if (failure !== undefined) throw failure
    if (report.failed === 0 || this.options.report) return report
    throw bulkError(`${report.failed} of ${report.scanned} keys failed`, report)
  }

  #scan() {
    const page = this.steps.next(this.#left())
    // It may be that nobody waits for it any more.
    page.catch(() => {})
    return page
  }

  /** Milliseconds until the deadline, never 0; undefined: none. */
  #left() {
    const { timeoutMs } = this.options
    return timeoutMs === 0 ? undefined : Math.max(this.#started + timeoutMs - performance.now(), 0.001)
  }

  #assertGoingOn() {
    const { signal, timeoutMs } = this.options
    if (signal?.aborted) throw abortError(signal)
    if (timeoutMs > 0 && performance.now() - this.#started >= timeoutMs) throw deadlineError(false)
  }

  /** @param {number} count */
  async #pace(count) {
    const { maxKeysPerSecond, signal } = this.options
    if (!maxKeysPerSecond) return
    const now = performance.now()
    if (this.#nextAt > now) await pause(Math.min(this.#nextAt - now, this.#left() ?? Infinity), signal)
    // From now, not from when it was due: what was missed is not made up for by a burst.
    this.#nextAt = performance.now() + (count * 1000) / maxKeysPerSecond
  }

  #tell() {
    const { dryRun, onProgress } = this.options
    const { scanned, matched, deleted } = this.#report
    try {
      onProgress?.({ scanned, done: dryRun ? matched : deleted, elapsedMs: performance.now() - this.#started })
    } catch (error) {
      // What the caller's function throws is what the call rejects with. What is gone is told where that can carry it.
      if (error instanceof Error) carry(error, this.#report)
      throw error
    }
  }

  /** @param {string[]} keys */
  async #take(keys) {
    const report = this.#report
    const first = report.scanned
    report.scanned += keys.length
    const chosen = await this.#filter(keys.map((key, at) => ({ key, index: first + at })))
    report.matched += chosen.length
    if (this.options.dryRun) {
      if (chosen.length > 0) this.#failedInRow = 0
      return
    }
    const clear = chosen.filter(({ key }) => !key.includes(REPLACED))
    const unclear = chosen.filter(({ key }) => key.includes(REPLACED))
    const deletions = [this.#deleteAll(clear), ...unclear.map((each) => this.#deleteUnclear(each))]
    await this.#settle(chosen, Promise.allSettled(deletions))
  }

  /**
   * Waits for deletions; when the call is aborted, only a little longer.
   * @param {Found[]} chosen
   * @param {Promise<PromiseSettledResult<Deleted>[]>} deletions
   */
  async #settle(chosen, deletions) {
    const { signal } = this.options
    const outcomes = (await within(deletions, signal)) ?? (await within(deletions, undefined, GRACE_MS))
    if (outcomes === undefined) {
      const facts = { code: 'TIMEOUT', message: 'the call was aborted before the answer came', retryable: true }
      for (const each of chosen) this.#fail(each, { ...facts, applied: 'unknown' })
      throw abortError(/** @type {AbortSignal} */ (signal))
    }
    /** @type {unknown} */
    let broken
    for (const outcome of outcomes.value) {
      if (outcome.status === 'rejected') {
        broken ??= outcome.reason
        continue
      }
      const { deleted, failures } = outcome.value
      this.#report.deleted += deleted
      if (deleted > 0) this.#failedInRow = 0
      for (const { found, error } of failures) this.#fail(found, error)
      broken ??= outcome.value.broken
    }
    if (broken !== undefined) throw broken
  }

  /**
   * @param {Found} found
   * @param {Facts} facts
   */
  #fail({ key, index }, { code, message, retryable, applied }) {
    this.#failedInRow++
    this.#report.errors.push({ index, key, code, message, retryable, applied })
  }

  /**
   * @param {Found[]} list
   * @returns {Promise<Deleted>}
   */
  async #deleteAll(list) {
    if (list.length === 0) return { deleted: 0, failures: [] }
    const keys = list.map(({ key }) => key)
    try {
      const { batchSize } = this.options
      const deleted = await this.client.batchDelete(keys, { batchSize, timeoutMs: this.#left() })
      return { deleted: /** @type {number} */ (deleted), failures: [] }
    } catch (error) {
      if (error instanceof BulkError) {
        const { deleted, errors } = error.report
        return { deleted, failures: errors.map((/** @type {ItemError} */ each) => ({ found: list[each.index], error: each })) }
      }
      // Nothing was sent, and nothing further will be.
      if (!(error instanceof RedisBulkError)) throw error
      return { deleted: 0, failures: list.map((found) => ({ found, error })), broken: error }
    }
  }

  /**
   * A key that may have bytes which no string can say.
   * @param {Found} found
   * @returns {Promise<Deleted>}
   */
  async #deleteUnclear(found) {
    try {
      if ((await this.#command('DEL', found.key)) === 1) return { deleted: 1, failures: [] }
      const message = 'the key is not valid UTF-8, so that no string can name it'
      return { deleted: 0, failures: [{ found, error: { code: 'INVALID_DATA', message, retryable: false, applied: false } }] }
    } catch (error) {
      if (!(error instanceof RedisBulkError)) throw error
      return { deleted: 0, failures: [{ found, error }] }
    }
  }

  /**
   * The keys that are idle and large enough. The size is asked only of those that are idle.
   * @param {Found[]} list
   */
  async #filter(list) {
    const { idleSeconds, minBytes } = this.options
    let chosen = list
    if (idleSeconds !== undefined) chosen = await this.#measured(chosen, ['OBJECT', 'IDLETIME'], idleSeconds)
    if (minBytes) chosen = await this.#measured(chosen, ['MEMORY', 'USAGE'], minBytes)
    return chosen
  }

  /**
   * @param {Found[]} list
   * @param {[string, string]} command a number for a key, or null for one that is gone
   * @param {number} least
   */
  async #measured(list, [name, subcommand], least) {
    const asked = Promise.allSettled(list.map(({ key }) => this.#command(name, key, subcommand)))
    const outcomes = await within(asked, this.options.signal)
    if (outcomes === undefined) throw abortError(/** @type {AbortSignal} */ (this.options.signal))
    /** @type {Found[]} */
    const chosen = []
    for (let at = 0; at < list.length; at++) {
      const outcome = outcomes.value[at]
      if (outcome.status === 'fulfilled') {
        this.#failedInRow = 0
        if (typeof outcome.value === 'number' && outcome.value >= least) chosen.push(list[at])
      } else if (outcome.reason instanceof ReplyError) {
        if (outcome.reason.code === 'ERR') await this.#assertNotEmbedded(name)
        this.#fail(list[at], outcome.reason)
      } else {
        throw outcome.reason
      }
    }
    return chosen
  }

  /** @param {string} name */
  async #assertNotEmbedded(name) {
    // One key is enough to know.
    if (this.#failedInRow > 0) return
    const { servedFrom } = await this.client.health()
    if (servedFrom !== 'memory') return
    const option = name === 'OBJECT' ? 'idleSeconds' : 'minBytes'
    throw invalid(TypeError, `options.${option} needs a Redis server: the embedded store does not keep what it asks for`)
  }

  /**
   * @param {string} name
   * @param {string} key
   * @param {string} [subcommand]
   */
  #command(name, key, subcommand) {
    const full = this.client.keyPrefix + key
    return this.client.sendCommand(subcommand === undefined ? [name, full] : [name, subcommand, full], { timeoutMs: this.#left() })
  }
}

/** Errors of callers' own that have a report from here: another call's, where they are thrown again. @type {WeakSet<Error>} */
const carriers = new WeakSet()

/**
 * Gives an error of the caller's own the report, unless it has a property of that name of its own.
 * @param {Error} error
 * @param {Report} report
 */
function carry(error, report) {
  if (!carriers.has(error) && 'report' in error) return
  // A frozen one cannot carry it.
  if (Reflect.set(error, 'report', report)) carriers.add(error)
}

/**
 * An error of its own for each call: the signal's reason, which others get too, must not carry this call's report.
 * @param {Report} report
 * @param {unknown} cause the signal's reason
 */
function abortedWith(report, cause) {
  return Object.assign(new DOMException('This operation was aborted', 'AbortError'), { report, cause })
}

/** @typedef {{ key: string, index: number }} Found */
/** @typedef {{ code: string, message: string, retryable: boolean, applied: boolean | 'unknown' }} Facts */
/** @typedef {{ deleted: number, failures: { found: Found, error: Facts }[], broken?: unknown }} Deleted */

exports.deleteByPattern = deleteByPattern
