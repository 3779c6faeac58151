'use strict'

// Checks of arguments. Each names the argument and says what it must be.

const { invalid } = require('./errors.js')

/** @param {unknown} value */
function shown(value) {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  switch (typeof value) {
    case 'string':
      return value.length > 40 ? `'${value.slice(0, 40)}…'` : `'${value}'`
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value)
    case 'bigint':
      return `${value}n`
    case 'object':
      return 'an object'
    default:
      return `a ${typeof value}`
  }
}

/**
 * @param {string} name
 * @param {string} wanted
 * @param {unknown} value
 */
function wrongType(name, wanted, value) {
  return invalid(TypeError, `${name} must be ${wanted}, not ${shown(value)}`)
}

/**
 * @param {string} name
 * @param {string} wanted
 * @param {unknown} value
 */
function outOfRange(name, wanted, value) {
  return invalid(RangeError, `${name} must be ${wanted}, not ${shown(value)}`)
}

/** UTF-8 has no form for half a surrogate pair: two different keys would become one. @param {string} name */
function notWellFormed(name) {
  return invalid(TypeError, `${name} has a lone surrogate, which UTF-8 cannot say`)
}

/**
 * @param {string} name
 * @param {unknown} value
 * @returns {string}
 */
function text(name, value) {
  if (typeof value !== 'string') throw wrongType(name, 'a string', value)
  if (!value.isWellFormed()) throw notWellFormed(name)
  return value
}

/**
 * @param {string} name
 * @param {unknown} value
 * @returns {readonly unknown[]}
 */
function array(name, value) {
  if (!Array.isArray(value)) throw wrongType(name, 'an array', value)
  return value
}

/**
 * Every item, before any is sent.
 * @param {string} name
 * @param {readonly unknown[]} list
 */
function wellFormed(name, list) {
  for (let index = 0; index < list.length; index++) {
    const item = list[index]
    // The name is made only for the error.
    if (typeof item !== 'string' || !item.isWellFormed()) text(`${name}[${index}]`, item)
  }
}

/**
 * A positive whole number, or 0 where it is left out.
 * @param {string} name
 * @param {unknown} value
 */
function positive(name, value, most = 0xffff_ffff) {
  if (value === undefined) return 0
  if (typeof value !== 'number') throw wrongType(name, 'a number', value)
  if (!Number.isInteger(value) || value < 1 || value > most) {
    throw outOfRange(name, `a whole number from 1 to ${most}`, value)
  }
  return value
}

/**
 * Milliseconds, or 0 where they are left out.
 * @param {string} name
 * @param {unknown} value
 */
function millis(name, value) {
  if (value === undefined) return 0
  if (typeof value !== 'number') throw wrongType(name, 'a number of milliseconds', value)
  // The longest that timers of the platform wait.
  if (!(value > 0 && value <= 0x7fff_ffff)) throw outOfRange(name, 'a number of milliseconds above 0 and below 2^31', value)
  return value
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function flag(name, value) {
  if (value !== undefined && typeof value !== 'boolean') throw wrongType(name, 'true or false', value)
  return value === true
}

/**
 * @template {string} T
 * @param {string} name
 * @param {unknown} value
 * @param {readonly T[]} choices
 * @returns {T | undefined}
 */
function choice(name, value, choices) {
  if (value === undefined || choices.includes(/** @type {T} */ (value))) return /** @type {T | undefined} */ (value)
  const wanted = `one of ${choices.map((each) => `'${each}'`).join(', ')}`
  throw typeof value === 'string' ? outOfRange(name, wanted, value) : wrongType(name, wanted, value)
}

/**
 * @param {string} name
 * @param {unknown} value
 * @returns {((...args: any[]) => unknown) | undefined}
 */
function callback(name, value) {
  if (value !== undefined && typeof value !== 'function') throw wrongType(name, 'a function', value)
  return /** @type {any} */ (value)
}

/**
 * An object of options, none of a name that is not known: it would have no effect, and nobody would notice.
 * @param {string} name
 * @param {unknown} value
 * @param {readonly string[]} [known] undefined: what the object is handed on to knows them
 * @returns {Record<string, unknown>}
 */
function options(name, value, known) {
  if (value === undefined) return {}
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw wrongType(name, 'an object', value)
  if (known !== undefined) for (const each of Object.keys(value)) if (!known.includes(each)) throw unknownOption(name, each, known)
  return /** @type {Record<string, unknown>} */ (value)
}

/**
 * In the words of the client's own options.
 * @param {string} object `options` or `options.local`
 * @param {string} name
 * @param {readonly string[]} known
 */
function unknownOption(object, name, known) {
  const path = object.startsWith('options.') ? `${object.slice('options.'.length)}.` : ''
  const near = require('./nearest.js').nearest(name, known)
  const hint = near === undefined ? `known are ${known.join(', ')}` : `did you mean ${path}${near}?`
  return invalid(TypeError, `unknown option ${path}${printable(name.slice(0, 60))}: ${hint}`)
}

/** On one line. @param {string} text */
function printable(text) {
  return JSON.stringify(text).slice(1, -1)
}

/** What `callOptions` reads. */
const CALL_OPTIONS = /** @type {const} */ (['timeoutMs', 'signal'])

/**
 * The options that every call takes.
 * @param {Record<string, unknown>} given
 * @returns {{ timeoutMs: number, signal: AbortSignal | undefined }}
 */
function callOptions(given) {
  const { signal } = given
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    // Another realm's (jest has its own) has the same parts.
    const like = /** @type {any} */ (signal)
    if (typeof like !== 'object' || like === null || typeof like.aborted !== 'boolean' || typeof like.addEventListener !== 'function') {
      throw wrongType('options.signal', 'an AbortSignal', signal)
    }
  }
  return { timeoutMs: millis('options.timeoutMs', given.timeoutMs), signal: /** @type {any} */ (signal) }
}

module.exports = { CALL_OPTIONS, array, callOptions, callback, choice, flag, millis, notWellFormed, options, outOfRange, positive, text, wellFormed, wrongType }
