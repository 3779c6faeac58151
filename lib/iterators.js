'use strict'

// scanIterator and lookupIterator: bulk work of any size in bounded memory.

const { abortError, within } = require('./abort.js')
const { callSite, withCaller } = require('./call-site.js')
const check = require('./check.js')
const { LOOKUP_OPTIONS } = require('./lookup.js')
const { SCAN_OPTIONS } = require('./scan.js')
const { ScanSteps } = require('./scan-steps.js')

/** Codes in a batch. */
const BATCH = 1000

const types = /** @type {const} */ (['string', 'list', 'set', 'zset', 'hash', 'stream'])

/** @typedef {import('./client.js').Client} Client */
/** @typedef {{ code: string, value: any, error?: any }} Item */

/** For a promise that is awaited later, or never when the consumer leaves. */
const ignore = () => {}

/**
 * Errors with the frames of whoever made the iterator.
 * @template T
 * @param {AsyncGenerator<T, void, undefined>} items
 * @param {import('./call-site.js').CallSite} site
 */
async function* withSite(items, site) {
  try {
    yield* items
  } catch (error) {
    throw withCaller(error, site)
  }
}

/**
 * @param {Client} client
 * @param {string} pattern
 * @param {unknown} given
 * @returns {AsyncGenerator<string[], void, undefined>}
 */
function scanIterator(client, pattern, given) {
  check.text('pattern', pattern)
  const options = check.options('options', given, SCAN_OPTIONS)
  const limit = check.positive('options.limit', options.limit) || Infinity
  const onProgress = check.callback('options.onProgress', options.onProgress)
  const { signal, timeoutMs } = check.callOptions(options)
  const steps = new ScanSteps(client, pattern, {
    count: check.positive('options.count', options.count),
    type: check.choice('options.type', options.type, types),
    signal,
  })
  return withSite(found(steps, limit, onProgress, timeoutMs || undefined), callSite(scanIterator))
}

/**
 * @param {InstanceType<typeof ScanSteps>} steps
 * @param {number} limit
 * @param {((progress: any) => unknown) | undefined} onProgress
 * @param {number | undefined} timeoutMs for each step
 */
async function* found(steps, limit, onProgress, timeoutMs) {
  const started = performance.now()
  let scanned = 0
  let done = 0
  /** @type {Promise<{ keys: string[], isLast: boolean }> | undefined} */
  let ahead = steps.next(timeoutMs)
  while (ahead !== undefined) {
    /** @type {{ keys: string[], isLast: boolean }} */
    const { keys, isLast } = await ahead
    const some = keys.slice(0, limit - done)
    scanned += keys.length
    done += some.length
    ahead = isLast || done >= limit ? undefined : steps.next(timeoutMs)
    ahead?.catch(ignore)
    onProgress?.({ scanned, done, elapsedMs: performance.now() - started })
    if (some.length > 0) yield some
  }
}

/**
 * @param {Client} client
 * @param {string} prefix
 * @param {Iterable<string> | AsyncIterable<string>} codes
 * @param {unknown} given
 * @returns {AsyncGenerator<Item[], void, undefined>}
 */
function lookupIterator(client, prefix, codes, given) {
  check.text('prefix', prefix)
  const options = check.options('options', given, LOOKUP_OPTIONS)
  const batchSize = check.positive('options.batchSize', options.batchSize) || BATCH
  const { signal } = check.callOptions(options)
  check.choice('options.as', options.as, ['string', 'json', 'buffer'])
  check.choice('options.strategy', options.strategy, ['mget', 'script'])
  check.flag('options.partial', options.partial)
  const lookup = async (/** @type {string[]} */ batch, /** @type {number} */ position) => {
    const { results, errors } = await client.bulkLookup(prefix, batch, options)
    /** @type {Item[]} */
    const items = batch.map((code, index) => ({ code, value: results[index] }))
    for (const error of errors) {
      const { index } = error
      items[index].error = { ...error, index: position + index, key: prefix + batch[index] }
    }
    return items
  }
  const source = /** @type {any} */ (codes)
  // A string is iterable too, letter by letter, and surely not meant so.
  if (typeof source === 'object' && source !== null) {
    const site = callSite(lookupIterator)
    if (typeof source[Symbol.asyncIterator] === 'function') return withSite(asyncItems(source, batchSize, lookup, signal), site)
    if (typeof source[Symbol.iterator] === 'function') return withSite(syncItems(source, batchSize, lookup), site)
  }
  throw check.wrongType('codes', 'an iterable or an async iterable of strings', codes)
}

/**
 * Reading a sync source takes no time, so it is read one batch ahead.
 * @param {Iterable<string>} codes
 * @param {number} batchSize
 * @param {(batch: string[], position: number) => Promise<Item[]>} lookup
 */
async function* syncItems(codes, batchSize, lookup) {
  const source = codes[Symbol.iterator]()
  let ended = false
  let position = 0
  /** What the source threw: told when everything before it is told. @type {{ error: unknown } | undefined} */
  let broken
  const begin = () => {
    /** @type {string[]} */
    const batch = []
    try {
      while (batch.length < batchSize && !ended) {
        const { done, value } = source.next()
        if (done) ended = true
        else batch.push(value)
      }
    } catch (error) {
      ended = true
      broken = { error }
    }
    if (batch.length === 0) return undefined
    const items = lookup(batch, position)
    position += batch.length
    items.catch(ignore)
    return items
  }
  try {
    let ahead = begin()
    while (ahead !== undefined) {
      const current = ahead
      ahead = ended ? undefined : begin()
      yield await current
    }
    if (broken) throw broken.error
  } finally {
    if (!ended) source.return?.()
  }
}

/**
 * An async source is read only while the consumer waits: what it gives next may depend on what the consumer does.
 * @param {AsyncIterable<string>} codes
 * @param {number} batchSize
 * @param {(batch: string[], position: number) => Promise<Item[]>} lookup
 * @param {AbortSignal | undefined} signal
 */
async function* asyncItems(codes, batchSize, lookup, signal) {
  const source = codes[Symbol.asyncIterator]()
  let ended = false
  let reading = false
  try {
    for (let position = 0; !ended; ) {
      /** @type {string[]} */
      const batch = []
      /** @type {{ error: unknown } | undefined} */
      let broken
      while (batch.length < batchSize && !ended) {
        reading = true
        let step
        try {
          step = await within(Promise.resolve(source.next()), signal)
        } catch (error) {
          // It has ended by itself.
          ended = true
          broken = { error }
          break
        }
        if (step === undefined) throw abortError(/** @type {AbortSignal} */ (signal))
        reading = false
        if (step.value.done) ended = true
        else batch.push(step.value.value)
      }
      if (batch.length > 0) yield await lookup(batch, position)
      if (broken) throw broken.error
      position += batch.length
    }
  } finally {
    if (!ended) {
      const closed = source.return?.()
      // While a read is pending a generator closes only after it, which nobody waits for.
      if (reading) Promise.resolve(closed).catch(ignore)
      else await closed
    }
  }
}

exports.lookupIterator = lookupIterator
exports.scanIterator = scanIterator
