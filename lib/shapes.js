'use strict'

// Objects of shapes that the addon knows, made from their scalars. For each shape there is a function that writes the
// objects as literals with their keys in them: four times as fast as JSON.parse, which reads every key of every object.

const { Session } = require('./native.js')
const { copyInto } = require('./values.js')

/** What is no shape, the same numbers as in src/batch/objects.rs. */
const kind = { NOTHING: -1, TEXT: -2, ELEMENT: -3 }

/** What stands among the words, the same numbers as in src/batch/shape/mod.rs. */
const word = { NULL: -1, TRUE: -2, FALSE: -3, INTEGER: -4, NUMBER: -5 }

/**
 * The scalars of one part of an answer, and how far they are used.
 * @typedef {object} Scalars
 * @property {string} text the characters of the strings, one after another
 * @property {Int32Array} words lengths of strings, marks, whole numbers
 * @property {Float64Array} numbers
 * @property {number} p in the text
 * @property {number} i in the words
 * @property {number} f in the numbers
 */

/**
 * As the addon gives them. `runs` are pairs: the number of a shape or a kind, and how many values of that follow each other.
 * @typedef {[runs: Int32Array, words: Int32Array, numbers: Float64Array]} Objects
 */

/** @typedef {(scalars: Scalars, results: any[], at: number, end: number) => void} Maker */

/** By the number of the shape. @type {Maker[]} */
const makers = []

/**
 * Whether functions may be made from text here: not under `node --disallow-code-generation-from-strings`. Then JSON.parse
 * makes everything.
 */
const canMake = (() => {
  try {
    return new Function('return true')() === true
  } catch {
    return false
  }
})()

/**
 * The function for a shape. Of what came from a server only names of keys stand in its text, quoted by JSON.stringify.
 * @param {number} number
 */
function makerOf(number) {
  return (makers[number] ??= maker(JSON.parse(/** @type {string} */ (Session.describeShape(number)))))
}

/** @param {unknown} shape */
function maker(shape) {
  try {
    return compile(shape)
  } catch {
    // It was allowed when the package was loaded, and is not any more.
    return interpreted(shape)
  }
}

const SCALAR = `(w=W[i++])>=0?t.substring(p,p+=w):w===${word.INTEGER}?W[i++]:w===${word.NUMBER}?F[f++]:w===${word.NULL}?null:w===${word.TRUE}`

/**
 * @param {unknown} shape objects and lists; anything else is a scalar
 * @returns {Maker}
 */
function compile(shape) {
  let variables = 0
  /** Statements that read a value into a variable, in the order of the text. @param {unknown} node @returns {[statements: string, name: string]} */
  const read = (node) => {
    const name = `v${variables++}`
    if (Array.isArray(node)) {
      const [statements, element] = read(node[0])
      // A list that grows has room for many more.
      return [`const ${name}=new Array(W[i++]);for(let n=0;n<${name}.length;n++){${statements}${name}[n]=${element}}`, name]
    }
    if (typeof node === 'object' && node !== null) {
      const fields = Object.entries(node).map(([key, value]) => ({ key, value: read(value) }))
      const literal = fields.map(({ key, value }) => `${JSON.stringify(key)}:${value[1]}`).join()
      return [`${fields.map(({ value }) => value[0]).join('')}const ${name}={${literal}};`, name]
    }
    return [`const ${name}=${SCALAR};`, name]
  }
  const [statements, value] = read(shape)
  const body = `const t=s.text,W=s.words,F=s.numbers;let p=s.p,i=s.i,f=s.f,w=0;for(;at<end;at++){${statements}results[at]=${value}}s.p=p;s.i=i;s.f=f`
  return /** @type {Maker} */ (new Function('s', 'results', 'at', 'end', body))
}

/**
 * The same without making a function: several times slower.
 * @param {unknown} shape
 * @returns {Maker}
 */
function interpreted(shape) {
  return (scalars, results, at, end) => {
    for (; at < end; at++) results[at] = read(shape, scalars)
  }
}

/**
 * @param {any} shape
 * @param {Scalars} s
 * @returns {any}
 */
function read(shape, s) {
  if (Array.isArray(shape)) return Array.from({ length: s.words[s.i++] }, () => read(shape[0], s))
  if (typeof shape === 'object') {
    /** @type {Record<string, any>} */
    const made = {}
    for (const key in shape) made[key] = read(shape[key], s)
    return made
  }
  const what = s.words[s.i++]
  switch (what) {
    case word.INTEGER:
      return s.words[s.i++]
    case word.NUMBER:
      return s.numbers[s.f++]
    case word.NULL:
      return null
    case word.TRUE:
    case word.FALSE:
      return what === word.TRUE
    default:
      return s.text.substring(s.p, (s.p += what))
  }
}

/**
 * Writes the values into `results`, from `place` on.
 * @param {any[]} results
 * @param {number} place
 * @param {readonly string[]} slabs
 * @param {Int32Array} entries of each slab
 * @param {Objects} objects
 */
function makeObjects(results, place, slabs, entries, [runs, words, numbers]) {
  /** @type {Scalars} */
  const scalars = { text: '', words, numbers, p: 0, i: 0, f: 0 }
  let run = 0
  for (let index = 0; index < slabs.length; index++) {
    scalars.text = slabs[index]
    scalars.p = 0
    for (const slabEnd = place + entries[index]; place < slabEnd; ) {
      const what = runs[run]
      const end = place + runs[run + 1]
      run += 2
      if (what >= 0) makerOf(what)(scalars, results, place, end)
      else if (what === kind.NOTHING) results.fill(null, place, end)
      else if (what === kind.TEXT) parseTexts(scalars, results, place, end)
      else copyInto(results, place, JSON.parse(scalars.text))
      place = end
    }
  }
}

/**
 * @param {Scalars} scalars
 * @param {any[]} results
 * @param {number} at
 * @param {number} end
 */
function parseTexts(scalars, results, at, end) {
  for (; at < end; at++) results[at] = JSON.parse(scalars.text.substring(scalars.p, (scalars.p += scalars.words[scalars.i++])))
}

module.exports = { canMake, makeObjects }
