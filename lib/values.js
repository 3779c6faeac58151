'use strict'

// Slabs of values, cut into items.

/**
 * Values as the addon gives them: `entries[i]` of `lengths` belong to `slabs[i]`; -1 is an item that is not there.
 * JSON has no lengths; objects may be in parts (`shapes.js`), else each slab is an array.
 * @typedef {[id: number, kind: number, offset: number, slabs: (string | Buffer)[], entries: Int32Array, lengths: Int32Array, hits: number, failures: Row[], objects?: import('./shapes.js').Objects]} Part
 * @typedef {import('./errors.js').Row} Row
 * @typedef {'string' | 'json' | 'buffer'} Form
 * @typedef {{ results: any[], hits: number, failures: Row[] }} Found
 * @typedef {{ results: any[], from: number }} Place in a list that has room for the items
 */

/** Unpacks the parts of one answer as they come. */
class Assembly {
  hits = 0
  /** @type {Row[]} */
  failures = []

  /**
   * @param {Form} form
   * @param {(outcome: any) => void} resolve gets a `Found`, or what the operation came to instead
   * @param {((scanned: number, done: number) => void) | undefined} [onProgress]
   * @param {Place} [into] where the items go; else into an array of their own
   */
  constructor(form, resolve, onProgress, into) {
    this.form = form
    this.resolve = resolve
    this.onProgress = onProgress
    /** @type {any[]} */
    this.results = into?.results ?? []
    this.from = into?.from ?? 0
  }

  /**
   * @param {Part} part
   * @param {boolean} last
   */
  add(part, last) {
    this.#place(part)
    if (last) this.resolve(this)
  }

  /** @param {Part} part */
  #place([, , offset, slabs, entries, lengths, hits, failures, objects]) {
    if (objects === undefined) unpack(this.results, this.from + offset, slabs, entries, lengths, this.form)
    else require('./shapes.js').makeObjects(this.results, this.from + offset, /** @type {string[]} */ (slabs), entries, objects)
    this.hits += hits
    for (const row of failures) {
      row[0] = offset + /** @type {number} */ (row[0])
      this.failures.push(row)
    }
  }
}

/**
 * Writes the items into `results`, from `place` on.
 * @param {any[]} results
 * @param {number} place
 * @param {readonly (string | Buffer)[]} slabs
 * @param {Int32Array} entries
 * @param {Int32Array} lengths
 * @param {Form} form
 */
function unpack(results, place, slabs, entries, lengths, form) {
  let at = 0
  for (let index = 0; index < slabs.length; index++) {
    const slab = slabs[index]
    const end = at + entries[index]
    if (typeof slab !== 'string') cutBytes(results, place, lengths, at, end, slab)
    else if (form === 'json') copyInto(results, place, JSON.parse(slab))
    else cutText(results, place, lengths, at, end, slab, 0)
    place += end - at
    at = end
  }
}

/**
 * @param {any[]} results
 * @param {number} place
 * @param {readonly any[]} items
 */
function copyInto(results, place, items) {
  for (let index = 0; index < items.length; index++) results[place + index] = items[index]
}

/**
 * Writes one item for each length, cut from `start` on; gives back where they end.
 * @param {(string | null)[]} results
 * @param {number} place
 * @param {Int32Array} lengths -1 for what is not there
 * @param {number} at
 * @param {number} end
 * @param {string} text
 * @param {number} start
 */
function cutText(results, place, lengths, at, end, text, start) {
  for (; at < end; at++) {
    const length = lengths[at]
    results[place++] = length < 0 ? null : text.substring(start, (start += length))
  }
  return start
}

/**
 * @param {(Buffer | null)[]} results
 * @param {number} place
 * @param {Int32Array} lengths
 * @param {number} at
 * @param {number} end
 * @param {Buffer} slab
 */
function cutBytes(results, place, lengths, at, end, slab) {
  let start = 0
  for (; at < end; at++) {
    const length = lengths[at]
    results[place++] = length < 0 ? null : slab.subarray(start, (start += length))
  }
}

/**
 * `push(...more)` has a limit of arguments.
 * @param {any[]} list
 * @param {readonly any[]} more
 */
function append(list, more) {
  for (let index = 0; index < more.length; index++) list.push(more[index])
}

exports.Assembly = Assembly
exports.append = append
exports.copyInto = copyInto
exports.cutText = cutText
