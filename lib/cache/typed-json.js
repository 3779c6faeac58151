'use strict'

// JSON that also says what JSON has no words for: Date, Map, Set, BigInt, undefined, NaN, the infinities, -0, Buffer and
// Uint8Array. Values without these are plain JSON, written and read at its speed. Each of them stands as an object with
// its type: {"$type":"Date","value":"2026-01-02T03:04:05.006Z"}. An object that has such a key itself stands in one of type Object.

const { types } = require('node:util')

const TAG = '$type'

/** Text without it is plain JSON. */
const MARK = `"${TAG}"`

/** @typedef {(why: string) => Error} Refuse */

/**
 * @param {unknown} value
 * @param {Refuse} refuse makes the error for a value that cannot be kept
 * @returns {string}
 */
function stringify(value, refuse) {
  try {
    return JSON.stringify(plain(value, refuse))
  } catch (error) {
    // The stack has ended, or the text would be longer than a string may be.
    throw error instanceof RangeError ? refuse('it has a cycle, is nested too deeply or is too long') : error
  }
}

/**
 * The same value where JSON says all of it, else a copy that JSON does.
 * @param {any} value
 * @param {Refuse} refuse
 * @returns {any}
 */
function plain(value, refuse) {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0) ? value : tagged('Number', Object.is(value, -0) ? '-0' : String(value))
    case 'bigint':
      return tagged('BigInt', String(value))
    case 'undefined':
      return { [TAG]: 'undefined' }
    case 'object':
      if (value === null) return null
      return Array.isArray(value) ? plainArray(value, refuse) : plainObject(value, refuse)
    default:
      throw refuse(`a ${typeof value} cannot be kept`)
  }
}

/**
 * @param {readonly any[]} list
 * @param {Refuse} refuse
 */
function plainArray(list, refuse) {
  /** @type {any[] | undefined} */
  let copy
  for (let index = 0; index < list.length; index++) {
    const item = list[index]
    const other = plain(item, refuse)
    if (copy === undefined && other !== item) copy = list.slice(0, index)
    copy?.push(other)
  }
  return copy ?? list
}

/**
 * @param {any} value
 * @param {Refuse} refuse
 */
function plainObject(value, refuse) {
  if (types.isDate(value)) return tagged('Date', Number.isNaN(value.getTime()) ? null : value.toISOString())
  if (types.isMap(value)) return tagged('Map', Array.from(value, (pair) => plainArray(pair, refuse)))
  if (types.isSet(value)) return tagged('Set', Array.from(value, (item) => plain(item, refuse)))
  if (types.isUint8Array(value)) {
    const type = Buffer.isBuffer(value) ? 'Buffer' : 'Uint8Array'
    return tagged(type, Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64'))
  }
  if (typeof value.toJSON === 'function') return plain(value.toJSON(''), refuse)
  const name = Object.prototype.toString.call(value).slice(8, -1)
  // JSON would write {} for most of these.
  if (name !== 'Object') throw refuse(`a value of type ${name} cannot be kept`)
  /** @type {Record<string, unknown> | undefined} */
  let copy
  const keys = Object.keys(value)
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index]
    const item = value[key]
    const other = plain(item, refuse)
    if (copy === undefined && other !== item) {
      copy = {}
      for (let before = 0; before < index; before++) put(copy, keys[before], value[keys[before]])
    }
    if (copy !== undefined) put(copy, key, other)
  }
  const result = copy ?? value
  return Object.hasOwn(value, TAG) ? tagged('Object', result) : result
}

/**
 * @param {string} type
 * @param {unknown} value
 */
function tagged(type, value) {
  return { [TAG]: type, value }
}

/**
 * Sets a property of a new object. Plain assignment of `__proto__` would set the prototype.
 * @param {Record<string, unknown>} object
 * @param {string} key
 * @param {unknown} value
 */
function put(object, key, value) {
  if (key === '__proto__') Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true })
  else object[key] = value
}

/**
 * @param {string} text
 * @returns {unknown}
 * @throws where it is not what `stringify` writes
 */
function parse(text) {
  const value = JSON.parse(text)
  return text.includes(MARK) ? revived(value) : value
}

/**
 * @param {any} value as parsed, which nobody else has
 * @returns {any}
 */
function revived(value) {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) value[index] = revived(value[index])
    return value
  }
  return Object.hasOwn(value, TAG) ? ofType(value[TAG], value.value) : withRevived(value)
}

/** @param {any} object */
function withRevived(object) {
  if (typeof object !== 'object' || object === null) throw notOurs('Object')
  // The keys are the object's own: none of them reaches its prototype.
  for (const key of Object.keys(object)) object[key] = revived(object[key])
  return object
}

/**
 * @param {unknown} type
 * @param {any} value
 */
function ofType(type, value) {
  switch (type) {
    case 'undefined':
      return undefined
    case 'Number':
      return Number(text(type, value))
    case 'BigInt':
      return BigInt(text(type, value))
    case 'Date':
      return new Date(value === null ? NaN : text(type, value))
    case 'Map':
      return new Map(list(type, value).map((pair) => /** @type {[any, any]} */ (revived(list(type, pair)))))
    case 'Set':
      return new Set(revived(list(type, value)))
    case 'Buffer':
      return Buffer.from(text(type, value), 'base64')
    case 'Uint8Array':
      return new Uint8Array(Buffer.from(text(type, value), 'base64'))
    case 'Object':
      return withRevived(value)
    default:
      throw notOurs(type)
  }
}

/**
 * @param {string} type
 * @param {unknown} value
 * @returns {string}
 */
function text(type, value) {
  if (typeof value !== 'string') throw notOurs(type)
  return value
}

/**
 * @param {string} type
 * @param {unknown} value
 * @returns {any[]}
 */
function list(type, value) {
  if (!Array.isArray(value)) throw notOurs(type)
  return value
}

/** @param {unknown} type */
function notOurs(type) {
  return new SyntaxError(`no value of type ${type} was written so`)
}

exports.parse = parse
exports.stringify = stringify
