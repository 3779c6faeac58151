'use strict'

// Many strings into few, so that one call carries them across. NUL stands between them: where an item contains it,
// the addon notices that the count is off, and the items are sent as bytes with their lengths.

const check = require('./check.js')

const SEPARATOR = '\0'

/** @typedef {{ data: string | readonly string[] | Uint8Array, units: number, lengths: Uint32Array | undefined }} Packed */

/** Texts longer than this together are not joined: V8's strings end at 2^29 characters, the addon's offsets at 2^32. */
const LONGEST_JOIN = 2 ** 28

/**
 * Most characters of one piece, unless a single item is longer. An object beyond 128 KiB is a large one for V8, whose
 * pages come from the system each time: joining 10,000 texts of 200 characters in pieces takes a quarter of the time.
 */
const PIECE = 60_000

/**
 * The strings in `list[from..to]`, checked and packed.
 * @param {string} name of the argument
 * @param {readonly unknown[]} list
 * @param {number} from
 * @param {number} to
 * @returns {Packed}
 */
function pack(name, list, from, to) {
  const ends = pieceEnds(list, from, to, name)
  const strings = /** @type {readonly string[]} */ (list)
  if (ends === undefined) {
    check.wellFormed(name, list)
    return counted(strings.slice(from, to))
  }
  const pieces = joined(strings, from, ends)
  if (!pieces.every((piece) => piece.isWellFormed())) {
    const broken = strings.findIndex((each, index) => index >= from && !each.isWellFormed())
    throw check.notWellFormed(`${name}[${broken}]`)
  }
  return inPieces(pieces)
}

/**
 * The strings packed, whether or not they are well formed.
 * @param {readonly string[]} list
 * @returns {Packed}
 */
function packAll(list) {
  const ends = pieceEnds(list, 0, list.length)
  return ends === undefined ? counted(list) : inPieces(joined(list, 0, ends))
}

/**
 * Where the pieces of `list[from..to]` end; `undefined` where the strings are too long together.
 * @param {readonly unknown[]} list
 * @param {number} from
 * @param {number} to
 * @param {string} [name] under which an item that is no string is refused
 */
function pieceEnds(list, from, to, name = 'items') {
  /** @type {number[]} */
  const ends = []
  let start = from
  let total = 0
  let units = 0
  for (let index = from; index < to; index++) {
    const item = list[index]
    if (typeof item !== 'string') throw check.wrongType(`${name}[${index}]`, 'a string', item)
    units += item.length + 1
    if (units > PIECE && index > start) {
      ends.push(index)
      total += units
      start = index
      units = item.length + 1
    }
  }
  ends.push(to)
  return total + units >= LONGEST_JOIN ? undefined : ends
}

/**
 * The pieces, with the separator between their strings.
 * @param {readonly string[]} list
 * @param {number} from
 * @param {readonly number[]} ends
 */
function joined(list, from, ends) {
  let start = from
  return ends.map((end) => {
    const part = start === 0 && end === list.length ? list : list.slice(start, end)
    start = end
    return part.join(SEPARATOR)
  })
}

/**
 * Strings and bytes one after another, with the length of each.
 * @param {readonly (string | Uint8Array)[]} list
 * @returns {Packed}
 */
function counted(list) {
  const lengths = new Uint32Array(list.length)
  let total = 0
  for (let index = 0; index < list.length; index++) {
    const item = list[index]
    total += lengths[index] = typeof item === 'string' ? Buffer.byteLength(item) : item.byteLength
  }
  const data = Buffer.allocUnsafe(total)
  let at = 0
  for (let index = 0; index < list.length; index++) {
    const item = list[index]
    if (typeof item === 'string') data.write(item, at, lengths[index], 'utf8')
    else data.set(item, at)
    at += lengths[index]
  }
  return { data, units: 0, lengths }
}

/**
 * Pieces of what has the separator between its items, or of a JSON array.
 * @param {readonly string[]} pieces
 * @returns {Packed}
 */
function inPieces(pieces) {
  if (pieces.length === 1) return { data: pieces[0], units: pieces[0].length, lengths: undefined }
  let units = pieces.length - 1
  for (const piece of pieces) units += piece.length
  return { data: pieces, units, lengths: undefined }
}

/**
 * Sends the packed form of a list; again with lengths where an item contains the separator.
 * @param {Packed} packed
 * @param {() => readonly string[]} list
 * @param {(packed: Packed) => boolean} send false: an item does
 */
function sendPacked(packed, list, send) {
  if (!send(packed)) send(counted(list()))
}

module.exports = { LONGEST_JOIN, PIECE, counted, inPieces, pack, packAll, sendPacked }
