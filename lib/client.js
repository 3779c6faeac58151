'use strict'

// A client: one session of the addon, and the operations on it.

const { getPort, settled, start, startAbortable, underWay, watch } = require('./bridge.js')
const { traced } = require('./call-site.js')
const check = require('./check.js')
const { Coalescer } = require('./coalesce.js')
const { describe } = require('./config.js')
const { commandName, isStateWatched, isWatched, tellState, watched } = require('./diagnostics.js')
const { ConnectionError, fromThrown } = require('./errors.js')
const { StateEvents } = require('./events.js')
const { bulkLookup } = require('./lookup.js')
const { Session } = require('./native.js')

// What is beyond a look-up is loaded by the method that needs it: most programs use a part, and loading the package is part
// of every start.

/** @typedef {InstanceType<typeof Session>} NativeSession */
/** A turn to send, by the number of the wait for it. @typedef {{ id: number }} Admission */

/** Operations that may pack without asking for room. */
const FEW = 4

class Client {
  /** @type {NativeSession} */
  #session
  /** Kept here: what numbers it does not keep it. */
  #givePassword
  #closed = false
  #used = false
  /** Whether its changes of state go to the diagnostics channel. */
  #tellsState = false
  /** @type {InstanceType<typeof Coalescer> | undefined} */
  #coalescer
  #events
  /** @type {import('./windows.js').Windows | undefined} */
  #windows
  /** Loads of bulkFetch under way. @type {import('./fetch.js').Loads} */
  #loads = new Map()
  /** @type {boolean | undefined} */
  #isEmbedded
  /** @type {{ address?: string, port?: number, namespace?: string } | undefined} */
  #target
  /** @type {import('./cache/tracker.js').Tracker | undefined} */
  #tracker
  /** @type {Set<() => Promise<void>>} */
  #beforeClose = new Set()
  /** Calls of close() that wait for what was begun before it. */
  #closings = 0
  /** Whether the call that is being begun is one of the package's own, which close() waits for. */
  #isForClose = false
  /** Operations that wait for room. */
  #waiting = 0

  /** @param {unknown} [options] */
  constructor(options) {
    const { configuration, givePassword } = describe(options)
    this.#givePassword = givePassword
    try {
      const number = givePassword === undefined ? 0 : require('./password.js').numberOf(givePassword)
      this.#session = new Session(getPort(), configuration, number)
    } catch (error) {
      throw fromThrown(error)
    }
    const session = this.#session
    this.#events = new StateEvents((emit) => watch(session, emit))
    /** Goes before every key; commands of the caller's own name full keys. */
    this.keyPrefix = prefixIn(configuration)
  }

  /** Whether a command was begun. */
  get used() {
    return this.#used
  }

  get closed() {
    return this.#closed
  }

  /** The addon's side, for a command. */
  session() {
    this.#used = true
    if (!this.#tellsState && isStateWatched()) {
      this.#tellsState = true
      this.#events.on('state', (/** @type {import('./events.js').StateChange} */ change) => tellState(this, change))
    }
    return this.#session
  }

  /** Where small look-ups meet. */
  coalescer() {
    return (this.#coalescer ??= new Coalescer(this.session()))
  }

  get loads() {
    return this.#loads
  }

  /** What rate limiters count in process. */
  get windows() {
    return (this.#windows ??= new (require('./windows.js').Windows)())
  }

  /** Whether the configured server is the embedded store. */
  get isEmbedded() {
    return (this.#isEmbedded ??= this.target.address === 'memory')
  }

  /** Whom it talks to, without credentials. @returns {{ address?: string, port?: number, namespace?: string }} */
  get target() {
    return (this.#target ??= JSON.parse(this.#session.target()))
  }

  /**
   * Runs what is to be written before the client closes. close() waits for it, within its own limit.
   * @param {() => Promise<void>} write what it sends after its first turn goes through `whileClosing`
   * @returns {() => void} ends that
   */
  beforeClose(write) {
    this.#beforeClose.add(write)
    return () => this.#beforeClose.delete(write)
  }

  /** Whether the embedded store answers in the place of a server that is away. */
  get servesFromMemory() {
    return this.#session.servesFromMemory()
  }

  /** What a server held cannot be searched in the memory that stands in for it, and must not seem to be gone. */
  assertSearchable() {
    if (!this.#session.hidesServer()) return
    throw new ConnectionError('the server is away: its keys cannot be searched', { code: 'CONNECTION_LOST', retryable: true })
  }

  /** Tells the local copies of its caches what changed on the server. */
  get tracker() {
    return (this.#tracker ??= new (require('./cache/tracker.js').Tracker)(this))
  }

  /** Keeps close() waiting; gives back what ends that. */
  hold() {
    this.#session.hold()
    return () => this.#session.release()
  }

  /**
   * Begins a call of the package's own: a client that is closing refuses those of its users only.
   * @template T
   * @param {() => T} begin
   */
  whileClosing(begin) {
    const outer = this.#isForClose
    this.#isForClose = true
    try {
      return begin()
    } finally {
      this.#isForClose = outer
    }
  }

  /** A closed client takes no more calls; those that were made before still go out. */
  assertOpen() {
    if (this.#closed && !(this.#isForClose && this.#closings > 0)) throw new ConnectionError('the client is closed; connect() opens it again', { code: 'CLOSED' })
  }

  /**
   * Runs a part of an operation, at once where there is room for it. Else that waits in its turn before anything is
   * packed, so that what waits takes no memory.
   * @template T
   * @param {0 | 1 | 2 | 3} operation bulkLookup, pipelineSet, batchDelete or sendCommand
   * @param {number} calls that it counts as if it waits in vain
   * @param {AbortSignal | undefined} signal
   * @param {number} timeoutMs 0: none
   * @param {(timeoutMs: number, admission?: Admission) => Promise<T>} work gets what is left of the time, and the turn
   * @param {Promise<unknown>} [before] what `work` waits for anyway; a turn is not spent on that
   * @returns {Promise<T>}
   */
  inTurn(operation, calls, signal, timeoutMs, work, before) {
    // So few are no matter for memory, and the question costs a crossing.
    if (this.#waiting === 0 && (underWay() < FEW || this.session().hasRoom())) return work(timeoutMs)
    return this.#waitForTurn(operation, calls, signal, timeoutMs, work, before)
  }

  /**
   * @template T
   * @param {number} operation
   * @param {number} calls
   * @param {AbortSignal | undefined} signal
   * @param {number} timeoutMs
   * @param {(timeoutMs: number, admission: Admission) => Promise<T>} work
   * @param {Promise<unknown>} [before]
   * @returns {Promise<T>}
   */
  async #waitForTurn(operation, calls, signal, timeoutMs, work, before) {
    const session = this.session()
    const began = performance.now()
    const admission = { id: 0 }
    // Between the wait and the operation nothing is under way in the addon: closing the client must wait all the same.
    const letGo = this.hold()
    try {
      this.#waiting++
      try {
        await before
        settled(await this.run(signal, (id) => session.waitForRoom((admission.id = id), operation, timeoutMs, calls)))
      } finally {
        this.#waiting--
      }
      // Never 0, which would mean no limit.
      return await work(timeoutMs === 0 ? 0 : Math.max(timeoutMs - (performance.now() - began), 0.001), admission)
    } finally {
      session.leave(admission.id)
      letGo()
    }
  }

  /**
   * Begins an operation. What it comes to is for `settled()`, in the async function that the caller awaits: an error
   * made there has a stack that leads to the caller.
   * @param {AbortSignal | undefined} signal
   * @param {(id: number) => unknown} begin
   * @param {(scanned: number, done: number) => void} [onProgress]
   * @param {import('./values.js').Form} [form] of the values that it answers
   * @param {import('./values.js').Place} [into] where those go
   * @param {Admission} [admission] its turn, where it waited for one
   * @returns {Promise<any>}
   */
  run(signal, begin, onProgress, form, into, admission) {
    if (admission !== undefined) {
      const session = this.#session
      const entered = begin
      begin = (id) => {
        session.enter(admission.id)
        entered(id)
      }
    }
    if (signal === undefined) return start(begin, onProgress, form, into)
    return startAbortable(this.#session, signal, begin, onProgress, form, into)
  }

  /**
   * @param {string} prefix
   * @param {readonly string[]} codes
   * @param {unknown} [options]
   */
  bulkLookup(prefix, codes, options) {
    if (!isWatched()) return bulkLookup(this, prefix, codes, options)
    const command = /** @type {any} */ (options)?.strategy === 'script' ? 'EVALSHA' : 'MGET'
    return watched(this, 'bulkLookup', command, codes, () => bulkLookup(this, prefix, codes, options))
  }

  /**
   * @param {readonly any[]} entries
   * @param {unknown} [options]
   */
  pipelineSet(entries, options) {
    const { pipelineSet } = require('./set.js')
    if (!isWatched()) return pipelineSet(this, entries, options)
    return watched(this, 'pipelineSet', 'SET', entries, () => pipelineSet(this, entries, options))
  }

  /**
   * @param {string} pattern
   * @param {unknown} [countOrOptions]
   */
  scanAll(pattern, countOrOptions) {
    const { scanAll } = require('./scan.js')
    if (!isWatched()) return scanAll(this, pattern, countOrOptions)
    return watched(this, 'scanAll', 'SCAN', undefined, () => scanAll(this, pattern, countOrOptions))
  }

  /**
   * @param {readonly string[]} keys
   * @param {unknown} [batchSizeOrOptions]
   */
  batchDelete(keys, batchSizeOrOptions) {
    const { batchDelete } = require('./delete.js')
    if (!isWatched()) return batchDelete(this, keys, batchSizeOrOptions)
    return watched(this, 'batchDelete', 'UNLINK', keys, () => batchDelete(this, keys, batchSizeOrOptions))
  }

  /**
   * @param {readonly (string | Buffer | number)[]} args
   * @param {unknown} [given]
   * @returns {Promise<unknown>}
   */
  sendCommand(args, given) {
    if (!isWatched()) return this.#send(args, given)
    return watched(this, 'sendCommand', commandName(args), undefined, () => this.#send(args, given))
  }

  /**
   * @param {readonly (string | Buffer | number)[]} args
   * @param {unknown} given
   */
  async #send(args, given) {
    check.array('args', args)
    if (args.length === 0) throw check.outOfRange('args.length', 'at least 1, for the name of the command', 0)
    this.assertOpen()
    // Not `map`, which passes over holes.
    const bytes = Array.from(args, argument)
    const { timeoutMs, signal } = check.callOptions(check.options('options', given, check.CALL_OPTIONS))
    const session = this.session()
    return this.inTurn(3, 1, signal, timeoutMs, async (left, admission) =>
      settled(await this.run(signal, (id) => session.command(id, bytes, left), undefined, undefined, undefined, admission)))
  }

  async connect() {
    const session = this.session()
    this.#closed = false
    settled(await this.run(undefined, (id) => session.connect(id)))
  }

  async close() {
    // They are begun at once. Between their steps nothing is under way in the addon, which must stay open all the same, for
    // as long as it waits for any call. What users call after this is refused.
    const letGo = this.hold()
    this.#closings++
    const writes = this.#closed ? [] : [...this.#beforeClose].map((write) => write())
    this.#closed = true
    const session = this.#session
    this.#tracker?.stop()
    this.#coalescer?.flush()
    const closing = this.run(undefined, (id) => session.close(id))
    await Promise.allSettled(writes)
    this.#closings--
    letGo()
    settled(await closing)
  }

  /** @returns {Promise<any>} */
  async health() {
    const session = this.session()
    return JSON.parse(settled(await this.run(undefined, (id) => session.health(id))))
  }

  metrics() {
    return JSON.parse(this.#session.metrics())
  }

  metricsText() {
    return require('./metrics-text.js').metricsText(this.metrics())
  }

  /**
   * @param {'state'} event
   * @param {(change: import('./events.js').StateChange) => void} listener
   */
  on(event, listener) {
    this.#events.on(event, listener)
    return this
  }

  /**
   * @param {'state'} event
   * @param {(change: import('./events.js').StateChange) => void} listener
   */
  off(event, listener) {
    this.#events.off(event, listener)
    return this
  }

  /**
   * @param {string} pattern
   * @param {unknown} [options]
   */
  scanIterator(pattern, options) {
    return require('./iterators.js').scanIterator(this, pattern, options)
  }

  /**
   * @param {string} prefix
   * @param {Iterable<string> | AsyncIterable<string>} codes
   * @param {unknown} [options]
   */
  lookupIterator(prefix, codes, options) {
    return require('./iterators.js').lookupIterator(this, prefix, codes, options)
  }

  /**
   * @param {string} pattern
   * @param {unknown} [options]
   */
  deleteByPattern(pattern, options) {
    return traced(() => require('./pattern-delete.js').deleteByPattern(this, pattern, options))
  }

  /**
   * @param {string} prefix
   * @param {readonly string[]} codes
   * @param {(missing: string[]) => Promise<Map<string, any> | Record<string, any>>} loader
   * @param {unknown} [options]
   */
  bulkFetch(prefix, codes, loader, options) {
    return traced(() => require('./fetch.js').bulkFetch(this, prefix, codes, loader, options))
  }

  /**
   * @param {import('./services.js').Items} items
   * @param {unknown} [options]
   */
  bulkSet(items, options) {
    return traced(() => require('./services.js').bulkSet(this, items, options))
  }

  /**
   * @param {import('./services.js').Items} updates
   * @param {readonly string[]} deletions
   * @param {unknown} [options]
   */
  bulkSyncCache(updates, deletions, options) {
    return traced(() => require('./services.js').bulkSyncCache(this, updates, deletions, options))
  }

  /** @param {string} key */
  cacheGet(key) {
    return require('./simple-cache.js').cacheGet(this, key)
  }

  /**
   * @param {string} key
   * @param {string} value
   * @param {number} [ttl]
   */
  cacheSet(key, value, ttl) {
    return require('./simple-cache.js').cacheSet(this, key, value, ttl)
  }

  /** @param {string} prefix */
  cacheDelPrefix(prefix) {
    return require('./simple-cache.js').cacheDelPrefix(this, prefix)
  }

  /** @param {string} key */
  getCachedData(key) {
    return require('./simple-cache.js').getCachedData(this, key)
  }

  /**
   * @param {string} key
   * @param {unknown} data
   * @param {number} [ttl]
   */
  setCachedData(key, data, ttl) {
    return require('./simple-cache.js').setCachedData(this, key, data, ttl)
  }

  /**
   * @param {string} name
   * @param {unknown} [options]
   */
  createCache(name, options) {
    return require('./cache.js').createCache(() => this, name, options)
  }

  /** @param {unknown} options */
  createRateLimiter(options) {
    return require('./rate-limit.js').createRateLimiter(() => this, options)
  }

  async [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]() {
    await this.close()
  }
}

/**
 * @param {unknown} value
 * @param {number} index
 * @returns {Buffer | Uint8Array}
 */
function argument(value, index) {
  if (typeof value === 'string') return Buffer.from(check.text(`args[${index}]`, value))
  if (value instanceof Uint8Array) return value
  if (typeof value === 'number' && Number.isFinite(value)) return Buffer.from(String(value))
  throw check.wrongType(`args[${index}]`, 'a string, a Buffer or a finite number', value)
}

/**
 * The key prefix of a configuration that the addon has accepted, by the addon's rules.
 * @param {string} configuration
 * @returns {string}
 */
function prefixIn(configuration) {
  const { options, env } = JSON.parse(configuration)
  return options.keyPrefix ?? env.REDIS_KEY_PREFIX ?? ''
}

exports.Client = Client
