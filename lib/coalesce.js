'use strict'

// Small look-ups that are made in the same turn of the event loop go out together: one crossing, one MGET, one write.
// Sixty-four callers of one key each then cost the server one command and this thread one system call.

const { Failure, begin, rejection } = require('./bridge.js')
const { itemFromRow } = require('./errors.js')
const { packAll, sendPacked } = require('./pack.js')
const { Assembly } = require('./values.js')

/** Codes in a call that is small enough to wait for its neighbours. */
const SMALL = 256

/** Codes that go out together, and characters of theirs; more would make everyone wait for the last. */
const MOST = 4096
const MOST_UNITS = 1024 * 1024

/** Turns of the microtask queue that a batch waits while others still join it. */
const MOST_TURNS = 16

/** @typedef {import('./lookup.js').Result} Result */
/** @typedef {(result: Result | Promise<never>) => void} Resolve */
/** @typedef {InstanceType<typeof import('./native.js').Session>} Session */

const done = Promise.resolve()

/** One executor for all promises: each takes its resolve function from here. @type {Resolve} */
let lastResolve
/** @param {Resolve} resolve */
const executor = (resolve) => {
  lastResolve = resolve
}

/** Calls on one prefix that go out together. */
class Batch {
  /**
   * @param {Session} session
   * @param {string} prefix
   */
  constructor(session, prefix) {
    this.session = session
    this.prefix = prefix
    /** @type {string[]} */
    this.codes = []
    /** Codes of each call. @type {number[]} */
    this.counts = []
    this.units = 0
    /** @type {Resolve[]} */
    this.resolves = []
    /** For an answer that does not fit the table. @type {InstanceType<typeof Assembly> | undefined} */
    this.assembly = undefined
  }

  isFull() {
    return this.codes.length > MOST || this.units > MOST_UNITS
  }

  /** Sends, or tells all who wait why not. */
  trySend() {
    try {
      this.send()
    } catch (error) {
      for (const resolve of this.resolves) resolve(rejection(error))
    }
  }

  send() {
    const { session, prefix, codes } = this
    const calls = this.counts.length
    const packed = packAll(codes)
    begin((id) => {
      sendPacked(packed, () => codes, ({ data, units, lengths }) => session.lookup(id, prefix, prefix.length, data, units, codes.length, lengths, 0, 0, 0, calls, codes.length))
    }, this)
  }

  /**
   * @param {readonly string[]} codes
   * @param {Resolve} resolve
   */
  join(codes, resolve) {
    for (let index = 0; index < codes.length; index++) {
      this.codes.push(codes[index])
      this.units += codes[index].length
    }
    this.counts.push(codes.length)
    this.resolves.push(resolve)
  }

  /**
   * All went well: each call takes its strings from the text.
   * @param {Int32Array} table
   * @param {number} at
   * @param {number} _end
   * @param {string} text
   * @param {number} start
   */
  cut(table, at, _end, text, start) {
    const { counts, resolves } = this
    for (let call = 0; call < counts.length; call++) {
      const count = counts[call]
      const end = at + count
      const results = []
      let hits = 0
      for (; at < end; at++) {
        const length = table[at]
        if (length < 0) {
          results.push(null)
        } else {
          hits++
          results.push(text.substring(start, (start += length)))
        }
      }
      resolves[call]({ results, cacheHits: hits, cacheMisses: count - hits, errors: [] })
    }
    return start
  }

  /**
   * Why the first of a call's codes that has no answer at all has none: a server of a cluster was lost, which fails the
   * calls that asked it, and no other.
   * @param {Map<number | null, import('./errors.js').Row>} failed
   * @param {number} from
   * @param {number} to
   */
  #lost(failed, from, to) {
    for (let index = from; index < to; index++) {
      const row = failed.get(index)
      if (row !== undefined && (row[3] || row[5] === 'ConnectionError' || row[5] === 'TimeoutError')) return row
    }
    return undefined
  }

  /**
   * Values that do not fit the table.
   * @param {any} part
   * @param {boolean} last
   */
  add(part, last) {
    this.assembly ??= new Assembly('string', (found) => this.resolve(found), undefined, { results: new Array(this.codes.length), from: 0 })
    this.assembly.add(part, last)
  }

  /**
   * Everything but the plain case.
   * @param {InstanceType<typeof Failure> | import('./values.js').Found} outcome
   */
  resolve(outcome) {
    if (outcome instanceof Failure) {
      for (const resolve of this.resolves) resolve(rejection(outcome))
      return
    }
    const { results } = outcome
    const failed = new Map(outcome.failures.map((row) => [row[0], row]))
    let at = 0
    for (let call = 0; call < this.counts.length; call++) {
      const from = at
      at += this.counts[call]
      const part = results.slice(from, at)
      const errors = []
      let misses = 0
      for (let index = 0; index < part.length; index++) {
        const row = failed.get(from + index)
        if (row !== undefined) errors.push(itemFromRow(row, index, this.prefix + this.codes[from + index]))
        else if (part[index] === null) misses++
      }
      const lost = errors.length === 0 ? undefined : this.#lost(failed, from, at)
      if (lost !== undefined) {
        this.resolves[call](rejection(new Failure(lost)))
        continue
      }
      if (errors.length === part.length) {
        // A server that refuses every key of a call has refused the call, whoever asks at the same time.
        const row = failed.get(from)
        if (row?.[5] === 'ReplyError') {
          this.resolves[call](rejection(new Failure(row)))
          continue
        }
      }
      this.resolves[call]({ results: part, cacheHits: part.length - misses - errors.length, cacheMisses: misses, errors })
    }
  }
}

/** The small look-ups of one client. */
class Coalescer {
  /** @param {Session} session */
  constructor(session) {
    this.session = session
    /** The batch that was added to last. @type {Batch | undefined} */
    this.current = undefined
    /** The other open ones by prefix: a map only where there are any. @type {Map<string, Batch> | undefined} */
    this.others = undefined
    this.turns = 0
    /** Calls that joined in this turn. */
    this.joined = 0
    this.turn = () => this.#turn()
  }

  /**
   * @param {string} prefix
   * @param {readonly string[]} codes checked, not more than SMALL
   * @returns {Promise<Result>}
   */
  lookup(prefix, codes) {
    let batch = this.current
    if (batch === undefined || batch.prefix !== prefix || batch.isFull()) batch = this.current = this.#open(prefix)
    /** @type {Promise<Result>} */
    const promise = new Promise(executor)
    batch.join(codes, lastResolve)
    this.joined++
    return promise
  }

  /** @param {string} prefix */
  #open(prefix) {
    const { current } = this
    if (current === undefined) {
      this.turns = 0
      done.then(this.turn)
    } else if (current.prefix === prefix) {
      current.trySend()
    } else {
      this.others ??= new Map()
      this.others.set(current.prefix, current)
      const known = this.others.get(prefix)
      if (known !== undefined) {
        this.others.delete(prefix)
        if (!known.isFull()) return known
        known.trySend()
      }
    }
    return new Batch(this.session, prefix)
  }

  /** Callers that were answered together ask again within a few microtasks of each other: who comes late still joins. */
  #turn() {
    if (this.joined > 0 && this.turns < MOST_TURNS) {
      this.joined = 0
      this.turns++
      done.then(this.turn)
      return
    }
    this.flush()
  }

  /** Sends what waits. */
  flush() {
    const { current, others } = this
    this.current = undefined
    this.others = undefined
    this.joined = 0
    if (others !== undefined) for (const batch of others.values()) batch.trySend()
    current?.trySend()
  }
}

exports.Coalescer = Coalescer
exports.SMALL = SMALL
