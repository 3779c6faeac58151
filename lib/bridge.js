'use strict'

// The way to the addon and back. Operations go out with a number; whatever has settled comes back together, in one
// call for each wake of the event loop.

const { abortError } = require('./abort.js')
const { PANIC, fromRow, isPanic } = require('./errors.js')
const { Port } = require('./native.js')
const { Assembly, cutText } = require('./values.js')

/** Kinds of records, the same numbers as in src/binding/completion.rs. */
const kind = { STRINGS: 0, COUNT: 1, VALUES: 2, SET: 3, DELETED: 4, REPLY: 5, JSON: 6, FAILED: 7, PROGRESS: 8, STATE: 9, PART: 10, LAST_PART: 11, ASK: 12, CHANGED: 13 }

/** Words for what settles in one wake: some thousand values. More come in a further call. */
const TABLE_WORDS = 8 * 1024

/** What a failed operation resolves to: the error itself is made where the caller's stack is. */
class Failure {
  /** @param {import('./errors.js').Row} row */
  constructor(row) {
    this.row = row
  }
}

/** What an operation resolves to whose answer could not be taken. */
class Broken {
  /** @param {unknown} error */
  constructor(error) {
    this.error = error
  }
}

/** What an aborted operation resolves to. */
class Aborted {
  /** @param {unknown} reason */
  constructor(reason) {
    this.reason = reason
  }
}

/**
 * An operation under way.
 * @typedef {object} Pending
 * @property {(outcome: any) => void} resolve
 * @property {((scanned: number, done: number) => void) | undefined} [onProgress]
 * @property {((part: any, last: boolean) => void) | undefined} [add] takes values that come in parts
 * @property {((table: Int32Array, at: number, end: number, text: string, start: number) => number) | undefined} [cut] takes
 *   its strings from the text itself; gives back where they end
 */

const table = new Int32Array(TABLE_WORDS)
/** By number; all but the newest. @type {Map<number, Pending>} */
const older = new Map()
/** The operation that was begun last, for as long as it is under way: where they follow each other no map is touched. @type {Pending | undefined} */
let newest
let newestId = 0
/** @typedef {{ from: string, to: string, reason?: string, at: number }} StateChange */
/** @type {Map<number, (change: StateChange) => void>} */
const watchers = new Map()
/** Who is told that keys changed. @type {Map<number, () => void>} */
const changeWatchers = new Map()
let lastId = 0
/** @type {InstanceType<typeof Port> | undefined} */
let port

/** Made at the first use: loading the package costs no callback and no thread. */
function getPort() {
  // The addon holds the function while something is pending, and the function holds the table.
  // Others have the names of Node's functions and libuv's, but not all that they do.
  port ??= new Port(Object.assign(settle, { table }), table, process.versions.bun === undefined && process.versions.deno === undefined)
  return port
}

/**
 * Hears of what settled.
 * @param {number} words
 * @param {string | undefined} text
 * @param {any[] | undefined} extras
 */
function settle(words, text = '', extras) {
  // First: progress and parts of an operation come before its end.
  if (extras !== undefined) for (const record of extras) settleRecord(record)
  let at = 0
  let start = 0
  while (at < words) {
    const waiting = take(table[at])
    if (table[at + 1] === kind.COUNT) {
      waiting?.resolve(table[at + 2])
      at += 3
      continue
    }
    const first = at + 4
    const end = first + table[at + 3]
    if (waiting?.cut !== undefined) {
      start = waiting.cut(table, first, end, text, start)
    } else {
      // Of an aborted call they go nowhere; others' texts come after them all the same.
      const { results, from } = waiting instanceof Assembly ? waiting : { results: [], from: 0 }
      const hits = table[at + 2]
      start = cutText(results, from, table, first, end, text, start)
      waiting?.resolve({ results, hits, failures: [] })
    }
    at = end
  }
}

/**
 * @param {number} id
 * @param {Pending} waiting
 */
function put(id, waiting) {
  if (newest !== undefined) older.set(newestId, newest)
  newest = waiting
  newestId = id
}

/** @param {number} id */
function find(id) {
  return id === newestId ? newest : older.get(id)
}

/** @param {number} id */
function forget(id) {
  if (id === newestId) newest = undefined
  else older.delete(id)
}

/** @param {number} signed the addon's numbers are unsigned; the table's words are not */
function take(signed) {
  const id = signed >>> 0
  const waiting = find(id)
  forget(id)
  return waiting
}

/**
 * What the caller's function throws is what its call rejects with; others are still to be told.
 * @param {number} id
 * @param {number} scanned
 * @param {number} done
 */
function tell(id, scanned, done) {
  const waiting = find(id)
  try {
    waiting?.onProgress?.(scanned, done)
  } catch (error) {
    forget(id)
    waiting?.resolve(new Broken(error))
  }
}

/**
 * A row for each item that failed: most fail alike, and cross in one row.
 * @param {[rows: import('./errors.js').Row[], indices: Int32Array, places: Int32Array]} packed
 * @returns {import('./errors.js').Row[]}
 */
function eachFailure([rows, indices, places]) {
  /** @type {import('./errors.js').Row[]} */
  const all = []
  for (let at = 0; at < indices.length; at++) {
    const [, code, message, retryable, applied, name, cause] = rows[places[at]]
    all.push([indices[at], code, message, retryable, applied, name, cause])
  }
  return all
}

/**
 * @param {Pending | undefined} waiting
 * @param {any[]} part
 * @param {boolean} last
 */
function addTo(waiting, part, last) {
  try {
    waiting?.add?.(part, last)
  } catch (error) {
    // Out of memory, for all that is known. Others are still to be told.
    waiting?.resolve(new Broken(error))
  }
}

/** @param {any[]} record */
function settleRecord(record) {
  const id = record[0]
  if (record[1] === kind.PROGRESS) {
    tell(id, record[2], record[3])
    return
  }
  if (record[1] === kind.STATE) {
    const [, , from, to, reason, at] = record
    watchers.get(id)?.(reason === undefined ? { from, to, at } : { from, to, reason, at })
    return
  }
  if (record[1] === kind.ASK) {
    require('./password.js').answer(getPort(), id, record[2])
    return
  }
  if (record[1] === kind.CHANGED) {
    changeWatchers.get(id)?.()
    return
  }
  if (record[1] === kind.PART) {
    record[7] = eachFailure(record[7])
    addTo(find(id), record, false)
    return
  }
  const waiting = take(id)
  if (waiting === undefined) return
  switch (record[1]) {
    case kind.VALUES:
    case kind.LAST_PART:
      record[7] = eachFailure(record[7])
      addTo(waiting, record, true)
      break
    case kind.SET:
      waiting.resolve({ count: record[2], failures: eachFailure(record[3]) })
      break
    case kind.DELETED:
      waiting.resolve({ count: record[2], failures: eachFailure(record[3]), existed: record[4] })
      break
    case kind.FAILED:
      waiting.resolve(new Failure(record[2]))
      break
    default:
      waiting.resolve(record[2])
  }
}

/**
 * Begins an operation for which somebody waits already.
 * @param {(id: number) => unknown} begin hands the number to the addon; what it throws is thrown here
 * @param {Pending} waiting
 */
function begin(begin, waiting) {
  const id = (lastId = (lastId + 1) >>> 0)
  try {
    begin(id)
  } catch (error) {
    if (!isPanic(error)) throw error
    waiting.resolve(new Failure(PANIC))
    return
  }
  put(id, waiting)
}

/**
 * Begins an operation.
 * @template T
 * @param {(id: number) => unknown} send
 * @param {Pending['onProgress']} [onProgress]
 * @param {import('./values.js').Form} [form] of the values that it answers
 * @param {import('./values.js').Place} [into] where those go
 * @returns {Promise<T | Failure>}
 */
function start(send, onProgress, form, into) {
  return new Promise((resolve) => begin(send, waitingFor(resolve, onProgress, form, into)))
}

/**
 * @param {(outcome: any) => void} resolve
 * @param {Pending['onProgress']} onProgress
 * @param {import('./values.js').Form | undefined} form
 * @param {import('./values.js').Place | undefined} into
 * @returns {Pending}
 */
function waitingFor(resolve, onProgress, form, into) {
  return form === undefined ? { resolve, onProgress } : new Assembly(form, resolve, onProgress, into)
}

/**
 * Begins an operation that `signal` aborts.
 * @template T
 * @param {InstanceType<typeof import('./native.js').Session>} session
 * @param {AbortSignal} signal
 * @param {(id: number) => unknown} send
 * @param {Pending['onProgress']} [onProgress]
 * @param {import('./values.js').Form} [form]
 * @param {import('./values.js').Place} [into]
 * @returns {Promise<T | Failure | Aborted>}
 */
function startAbortable(session, signal, send, onProgress, form, into) {
  if (signal.aborted) return Promise.resolve(new Aborted(signal.reason))
  const id = (lastId = (lastId + 1) >>> 0)
  session.cancellable(id)
  try {
    send(id)
  } catch (error) {
    session.forget(id)
    if (!isPanic(error)) throw error
    return Promise.resolve(new Failure(PANIC))
  }
  return new Promise((resolve) => {
    const letGo = onAbort(signal, () => {
      letGo()
      forget(id)
      session.cancel(id)
      session.forget(id)
      resolve(new Aborted(signal.reason))
    })
    /** @param {any} outcome */
    const settled = (outcome) => {
      letGo()
      session.forget(id)
      resolve(outcome)
    }
    put(id, waitingFor(settled, onProgress, form, into))
  })
}

/**
 * What each signal aborts, and its one listener: Node warns of more than ten on one signal.
 * @type {WeakMap<AbortSignal, { all: Set<() => void>, listener: () => void }>}
 */
const aborts = new WeakMap()

/**
 * @param {AbortSignal} signal
 * @param {() => void} abort
 * @returns {() => void} ends that
 */
function onAbort(signal, abort) {
  const { all, listener } = aborts.get(signal) ?? listen(signal)
  all.add(abort)
  return () => {
    all.delete(abort)
    if (all.size > 0) return
    signal.removeEventListener('abort', listener)
    aborts.delete(signal)
  }
}

/** @param {AbortSignal} signal */
function listen(signal) {
  /** @type {Set<() => void>} */
  const all = new Set()
  const listener = () => {
    aborts.delete(signal)
    for (const abort of all) abort()
  }
  signal.addEventListener('abort', listener)
  const entry = { all, listener }
  aborts.set(signal, entry)
  return entry
}

/**
 * Hears of every change of the session's state.
 * @param {InstanceType<typeof import('./native.js').Session>} session
 * @param {(change: StateChange) => void} listener
 */
function watch(session, listener) {
  const id = (lastId = (lastId + 1) >>> 0)
  watchers.set(id, listener)
  session.watch(id)
}

/** Operations of all clients that have not settled. */
function underWay() {
  return older.size + (newest === undefined ? 0 : 1)
}

/**
 * Is told whenever keys with one of these prefixes changed; the session's `changes()` says which.
 * @param {InstanceType<typeof import('./native.js').Session>} session
 * @param {string[]} prefixes in full
 * @param {() => void} listener
 * @returns {number | undefined} for `unwatchChanges`; undefined where nothing can be told
 */
function watchChanges(session, prefixes, listener) {
  const id = (lastId = (lastId + 1) >>> 0)
  if (!session.track(id, prefixes)) return undefined
  changeWatchers.set(id, listener)
  return id
}

/**
 * @param {InstanceType<typeof import('./native.js').Session>} session
 * @param {number} id
 */
function unwatchChanges(session, id) {
  changeWatchers.delete(id)
  session.untrack()
}

/**
 * What an operation came to, or the error it failed with, thrown.
 * @param {any} outcome
 */
function settled(outcome) {
  if (outcome instanceof Failure) throw fromRow(outcome.row)
  if (outcome instanceof Broken) throw outcome.error
  if (outcome instanceof Aborted) throw abortError(outcome)
  return outcome
}

/**
 * What a promise is resolved with so that it rejects with the failure, with a stack that leads to whoever awaits it:
 * V8 finds that out for an error made in an async function whose promise is already awaited, which it is three turns
 * of the microtask queue later. An error made at once would show only the event loop.
 * @param {unknown} failure
 * @returns {Promise<never>}
 */
async function rejection(failure) {
  await undefined
  await undefined
  await undefined
  settled(failure)
  throw failure
}

module.exports = { Failure, begin, getPort, rejection, settled, start, startAbortable, underWay, unwatchChanges, watch, watchChanges }
