'use strict'

// The error classes, and their making from what the addon reports.

/** @typedef {boolean | 'unknown'} Applied */
/** @typedef {{ code?: string, retryable?: boolean, applied?: Applied, cause?: unknown }} Facts */
/** A failure as the addon reports it. @typedef {[index: number | null, code: string, message: string, retryable: boolean, applied: Applied, kind: string, cause: string | undefined]} Row */

class RedisBulkError extends Error {
  /**
   * @param {string} message
   * @param {Facts} [facts]
   */
  constructor(message, { code = 'ERR', retryable = false, applied = false, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.retryable = retryable
    this.applied = applied
  }
}

class ConnectionError extends RedisBulkError {}
class TimeoutError extends RedisBulkError {}
class ReplyError extends RedisBulkError {}
class ConfigError extends RedisBulkError {}

class BulkError extends RedisBulkError {
  /**
   * @param {string} message
   * @param {any} report
   * @param {Facts} [facts]
   */
  constructor(message, report, facts) {
    super(message, facts)
    this.report = report
  }
}

// On the prototype, as in the language's own errors: an error's own properties are what differs from case to case.
for (const Class of [RedisBulkError, ConnectionError, TimeoutError, ReplyError, ConfigError, BulkError]) {
  Object.defineProperty(Class.prototype, 'name', { value: Class.name, configurable: true, writable: true })
}

/** @type {Record<string, typeof RedisBulkError>} */
const classes = { RedisBulkError, ConnectionError, TimeoutError, ReplyError, ConfigError }

/**
 * The error that a call rejects with. Made in the async function that the caller awaits, so that its stack leads there.
 * @param {Row} row
 */
function fromRow([, code, message, retryable, applied, kind, cause]) {
  if (kind === 'TypeError') return invalid(TypeError, message)
  const Class = classes[kind] ?? RedisBulkError
  return new Class(message, { code, retryable, applied, cause: cause === undefined ? undefined : new Error(cause) })
}

/**
 * @param {Row} row
 * @param {number} index in the caller's array
 * @param {string} key
 */
function itemFromRow([, code, message, retryable, applied], index, key) {
  return { index, key, code, message, retryable, applied }
}

/**
 * A wrong argument: the language's own class with the package's code.
 * @template {TypeError | RangeError} E
 * @param {new (message: string) => E} Class
 * @param {string} message
 */
function invalid(Class, message) {
  return Object.assign(new Class(message), { code: 'INVALID_ARGUMENT', retryable: false, applied: /** @type {false} */ (false) })
}

/** What the addon throws at once has its code in the first line. @param {unknown} error */
function fromThrown(error) {
  const text = error instanceof Error ? error.message : String(error)
  const end = text.indexOf('\n')
  const code = text.slice(0, Math.max(end, 0))
  return code === 'INVALID_CONFIG' ? new ConfigError(text.slice(end + 1), { code }) : error
}

/**
 * Of an operation that panicked while it was handed to the addon. The panic's own text may quote keys or values.
 * @type {Row}
 */
const PANIC = [null, 'INTERNAL', 'a fault inside redis-bulk ended this call; standard error says where. Please report it', false, 'unknown', 'RedisBulkError', undefined]

/**
 * Whether an operation panicked while it was handed to the addon: a panic has the status of a general failure, and
 * operations throw no other with it.
 * @param {unknown} error
 */
function isPanic(error) {
  return /** @type {Facts} */ (error)?.code === 'GenericFailure'
}

module.exports = {
  PANIC,
  RedisBulkError,
  ConnectionError,
  TimeoutError,
  ReplyError,
  ConfigError,
  BulkError,
  fromRow,
  itemFromRow,
  fromThrown,
  invalid,
  isPanic,
}
