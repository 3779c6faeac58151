'use strict'

// scanAll: a pattern out, keys back.

const { settled } = require('./bridge.js')
const check = require('./check.js')

const types = /** @type {const} */ (['string', 'list', 'set', 'zset', 'hash', 'stream'])

/** Redis's own default of 10 makes a round trip of every ten keys. */
const DEFAULT_COUNT = 1000

/** @typedef {import('./client.js').Client} Client */

const OPTIONS = ['count', 'type', 'limit', 'onProgress', ...check.CALL_OPTIONS]

/** @param {unknown} given a number is the COUNT hint */
function readOptions(given) {
  const options = typeof given === 'number' ? { count: given } : check.options('countOrOptions', given, OPTIONS)
  return {
    count: check.positive(typeof given === 'number' ? 'count' : 'options.count', options.count) || DEFAULT_COUNT,
    type: check.choice('options.type', options.type, types) ?? '',
    limit: check.positive('options.limit', options.limit),
    onProgress: check.callback('options.onProgress', options.onProgress),
    ...check.callOptions(options),
  }
}

/**
 * @param {Client} client
 * @param {string} pattern
 * @param {unknown} given
 * @returns {Promise<string[]>}
 */
async function scanAll(client, pattern, given) {
  const started = performance.now()
  client.assertOpen()
  check.text('pattern', pattern)
  const options = readOptions(given)
  const { onProgress } = options
  const session = client.session()
  const outcome = await client.run(
    options.signal,
    (id) => session.scan(id, pattern, options.count, options.type, options.limit, onProgress !== undefined, options.timeoutMs),
    onProgress && ((scanned, done) => onProgress({ scanned, done, elapsedMs: performance.now() - started })),
    'string',
  )
  return settled(outcome).results
}

module.exports = { SCAN_OPTIONS: OPTIONS, scanAll }
