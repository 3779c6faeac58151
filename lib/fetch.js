'use strict'

// bulkFetch: from the cache, and what is missing there from where it comes from.

const { setImmediate: nextTurn } = require('node:timers/promises')
const { abortError, deadlineError, within } = require('./abort.js')
const check = require('./check.js')
const { invalid } = require('./errors.js')
const { checkTtl } = require('./ttl.js')

/** Stands for a code that exists nowhere. Values are stored as JSON, which this is not. */
const ABSENT = 'redis-bulk:absent'

const OPTIONS = ['ttl', 'missTtl', ...check.CALL_OPTIONS]

/** Values that are parsed or serialised before other work has its turn. */
const TURN = 5000

/** @typedef {import('./client.js').Client} Client */
/** What a load comes to, by full key. @typedef {Map<string, any>} Loaded */
/** Loads under way, by full key: who asks for the same meanwhile waits for them. @typedef {Map<string, Promise<Loaded>>} Loads */

/**
 * @param {Client} client
 * @param {string} prefix
 * @param {readonly string[]} codes
 * @param {(missing: string[]) => Promise<Map<string, any> | Record<string, any>>} loader
 * @param {unknown} given
 * @returns {Promise<Map<string, any>>}
 */
async function bulkFetch(client, prefix, codes, loader, given) {
  check.text('prefix', prefix)
  check.array('codes', codes).forEach((code, index) => check.text(`codes[${index}]`, code))
  if (typeof loader !== 'function') throw check.wrongType('loader', 'a function', loader)
  const options = check.options('options', given, OPTIONS)
  const ttl = checkTtl('options.ttl', options.ttl)
  const missTtl = checkTtl('options.missTtl', options.missTtl)
  const { signal, timeoutMs } = check.callOptions(options)
  client.assertOpen()
  if (signal?.aborted) throw abortError(signal)

  const loads = client.loads
  const wanted = [...new Set(codes)]
  /** @type {Set<Promise<Loaded>>} */
  const awaited = new Set()
  /** @type {string[]} */
  const own = []
  for (const code of wanted) {
    const running = loads.get(prefix + code)
    if (running === undefined) own.push(code)
    else awaited.add(running)
  }
  if (own.length > 0) awaited.add(begin(loads, prefix, own, () => load(client, prefix, own, loader, ttl, missTtl)))

  // The loads are shared: who gives up leaves them to the others.
  const parts = await within(Promise.all(awaited), signal, timeoutMs || Infinity)
  if (parts === undefined) throw signal?.aborted ? abortError(signal) : deadlineError('unknown')
  /** @type {Map<string, any>} */
  const result = new Map()
  for (const code of wanted) {
    const part = parts.value.find((each) => each.has(prefix + code))
    if (part !== undefined) result.set(code, part.get(prefix + code))
  }
  return result
}

/**
 * Begins a load, which others find until it has ended.
 * @param {Loads} loads
 * @param {string} prefix
 * @param {readonly string[]} codes
 * @param {() => Promise<Loaded>} run
 */
function begin(loads, prefix, codes, run) {
  const loading = run()
  for (const code of codes) loads.set(prefix + code, loading)
  const end = () => {
    for (const code of codes) loads.delete(prefix + code)
  }
  loading.then(end, end)
  return loading
}

/**
 * @param {Client} client
 * @param {string} prefix
 * @param {readonly string[]} codes each once
 * @param {(missing: string[]) => Promise<Map<string, any> | Record<string, any>>} loader
 * @param {number | undefined} ttl
 * @param {number | undefined} missTtl
 * @returns {Promise<Loaded>}
 */
async function load(client, prefix, codes, loader, ttl, missTtl) {
  const { results } = await client.bulkLookup(prefix, codes)
  /** @type {Loaded} */
  const found = new Map()
  /** @type {string[]} */
  const missing = []
  for (let index = 0; index < codes.length; index++) {
    if (index % TURN === TURN - 1) await nextTurn()
    const text = results[index]
    if (text === ABSENT) continue
    const value = text === null ? undefined : parsed(text)
    if (value === undefined) missing.push(codes[index])
    else found.set(prefix + codes[index], value)
  }
  if (missing.length === 0) return found

  const valueOf = reader(await loader([...missing]))
  /** @type {{ key: string, data: string, ttl: number | undefined }[]} */
  const entries = []
  for (let index = 0; index < missing.length; index++) {
    if (index % TURN === TURN - 1) await nextTurn()
    const key = prefix + missing[index]
    const value = valueOf(missing[index])
    if (value === undefined) {
      if (missTtl !== undefined) entries.push({ key, data: ABSENT, ttl: missTtl })
      continue
    }
    found.set(key, value)
    const data = serialised(key, value)
    if (data !== undefined) entries.push({ key, data, ttl })
  }
  try {
    if (entries.length > 0) await client.pipelineSet(entries)
  } catch {
    // The values are there; that they could not be kept is counted in the metrics.
  }
  return found
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * @param {string} key
 * @param {unknown} value
 */
function serialised(key, value) {
  let why = `a ${typeof value} has no JSON form`
  try {
    const text = JSON.stringify(value)
    if (text !== undefined) return text
  } catch (error) {
    why = error instanceof Error ? error.message.split('\n', 1)[0] : String(error)
  }
  process.emitWarning(`bulkFetch cannot store what was loaded for ${key}: ${why}`, { code: 'REDIS_BULK_NOT_STORED' })
  return undefined
}

/**
 * How to read what the loader gave.
 * @param {any} loaded
 * @returns {(code: string) => unknown}
 */
function reader(loaded) {
  // By its methods: a Map of another realm (jest, vm) is none by `instanceof`.
  if (loaded instanceof Map || Object.prototype.toString.call(loaded) === '[object Map]') {
    for (const key of loaded.keys()) {
      // It would be found for no code, and be remembered as missing.
      if (typeof key !== 'string') throw invalid(TypeError, `loader gave a Map with ${typeof key === 'object' ? 'an object' : `a ${typeof key}`} as a key; keys are codes, which are strings`)
    }
    return (code) => loaded.get(code)
  }
  if (typeof loaded === 'object' && loaded !== null && !Array.isArray(loaded)) {
    return (code) => (Object.hasOwn(loaded, code) ? loaded[code] : undefined)
  }
  throw invalid(TypeError, 'loader must give a Map or an object by code')
}

exports.bulkFetch = bulkFetch
exports.loadedReader = reader
