'use strict'

// Calls that run several commands at once lose the caller on the way: V8 follows one `await` after the other, and no further
// where two wait for the same promise. They keep the caller's frames themselves.

const { join, sep } = require('node:path')
const { RedisBulkError } = require('./errors.js')

/** @typedef {{ stack?: string }} CallSite */

/**
 * The frames below `above`.
 * @param {Function} above
 * @returns {CallSite}
 */
function callSite(above) {
  const site = {}
  // The text is made when somebody reads it, which is when the call fails.
  Error.captureStackTrace(site, above)
  return site
}

/**
 * Adds the caller's frames to an error of the package that lacks them.
 * @param {unknown} error
 * @param {CallSite} site
 */
function withCaller(error, { stack = '' }) {
  if (!(error instanceof RedisBulkError)) return error
  // One error may reach several callers: the first one's frames stand in it.
  if (!completed.has(error) && !leavesPackage(error)) error.stack += stack.slice(stack.indexOf('\n'))
  completed.add(error)
  return error
}

const own = [__dirname + sep, join(__dirname, '..', 'index.js')]

/** Whether the stack leads to code outside the package. @param {Error} error */
function leavesPackage({ stack = '' }) {
  const frames = stack.split('\n').filter((line) => /^ +at /.test(line))
  return frames.some((line) => /[\\/]/.test(line) && !line.includes('node:internal') && !own.some((path) => line.includes(path)))
}

/** Errors that have a caller's frames. @type {WeakSet<object>} */
const completed = new WeakSet()

/**
 * @template T
 * @param {() => Promise<T>} run
 * @returns {Promise<T>}
 */
async function traced(run) {
  const site = callSite(traced)
  try {
    return await run()
  } catch (error) {
    throw withCaller(error, site)
  }
}

exports.callSite = callSite
exports.traced = traced
exports.withCaller = withCaller
