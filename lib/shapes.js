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
  return (makers[number] ??= compile(JSON.parse(/** @type {string} */ (Session.describeShape(number)))))
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
      return [`const ${name}=[];for(let n=W[i++];n>0;n--){${statements}${name}.push(${element})}`, name]
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
