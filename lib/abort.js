'use strict'

// Waiting that an AbortSignal or a deadline ends, for calls that are made of several commands.

// Taken from the module: fake timers of a test replace the global ones.
const { clearTimeout, setTimeout } = require('node:timers')
const { TimeoutError } = require('./errors.js')

/** The longest that timers of the platform wait. */
const LONGEST_MS = 0x7fff_ffff

/**
 * The error of an aborted call: always an AbortError, whatever reason the caller gave.
 * @param {{ reason?: unknown }} signal
 */
function abortError({ reason }) {
  if (reason instanceof DOMException && reason.name === 'AbortError') return reason
  const error = new DOMException('This operation was aborted', 'AbortError')
  return Object.defineProperty(error, 'cause', { value: reason, configurable: true, writable: true })
}

/** @param {boolean | 'unknown'} applied */
function deadlineError(applied) {
  return new TimeoutError('the call took longer than its timeoutMs', { code: 'TIMEOUT', retryable: true, applied })
}

/**
 * What `promise` comes to, or undefined when the signal aborts or the time is over first. The promise itself goes on.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal | undefined} signal
 * @param {number} [ms] Infinity: no limit
 * @returns {Promise<{ value: T } | undefined>}
 */
async function within(promise, signal, ms = Infinity) {
  if (signal === undefined && ms === Infinity) return { value: await promise }
  return new Promise((resolve, reject) => {
    const late = () => end(() => resolve(undefined))
    const timer = ms === Infinity ? undefined : setTimeout(late, Math.min(ms, LONGEST_MS))
    /** @param {() => void} settle */
    const end = (settle) => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', late)
      settle()
    }
    signal?.addEventListener('abort', late, { once: true })
    promise.then(
      (value) => end(() => resolve({ value })),
      (error) => end(() => reject(error)),
    )
    if (signal?.aborted) late()
  })
}

/**
 * Waits, at most until the signal aborts.
 * @param {number} ms
 * @param {AbortSignal | undefined} signal
 */
async function pause(ms, signal) {
  await within(new Promise(() => {}), signal, ms)
}

exports.abortError = abortError
exports.deadlineError = deadlineError
exports.pause = pause
exports.within = within
