'use strict'

// The name that was probably meant, by the same rules as for the options of a client (src/config/fields.rs).

/** Longer names differ from every option by more than a slip; this also bounds the work. */
const LONGEST = 40

/**
 * @param {string} name
 * @param {readonly string[]} known
 * @returns {string | undefined}
 */
function nearest(name, known) {
  const given = plain(name)
  if (given === '' || given.length > LONGEST) return undefined
  /** @type {string | undefined} */
  let best
  let fewest = Infinity
  for (const each of known) {
    const other = plain(each)
    const slips = distance(given, other)
    if (slips < fewest && isNear(given, other, slips)) {
      best = each
      fewest = slips
    }
  }
  return best
}

/**
 * @param {string} given
 * @param {string} known
 * @param {number} slips
 */
function isNear(given, known, slips) {
  const [short, long] = given.length < known.length ? [given, known] : [known, given]
  if (short.length > 2 && long.startsWith(short)) return true
  // A short name is soon another one.
  const most = short.length > 4 ? 2 : short.length > 2 ? 1 : 0
  return slips <= most || sorted(given) === sorted(known)
}

/** @param {string} name */
function plain(name) {
  return name.replace(/[^a-z0-9]/gi, '').toLowerCase()
}

/** @param {string} name */
function sorted(name) {
  return [...name].sort().join('')
}

/** Letters to insert, delete or replace. @param {string} a @param {string} b */
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) next.push(Math.min(row[j] + (a[i] === b[j] ? 0 : 1), row[j + 1] + 1, next[j] + 1))
    row = next
  }
  return row[b.length]
}

exports.nearest = nearest
