'use strict'

// Values to what is stored, and back.
//
// Text stands as it is: other programs read it under the key. In front of anything else stands one byte that UTF-8 never
// begins with, or the moment at which the value is stale, between two unit separators:
//
//   [US milliseconds US] [F8 LZ4 | F9 Zstandard | FA bytes | FB text] payload

const { isUtf8 } = require('node:buffer')
const check = require('../check.js')
const { RedisBulkError } = require('../errors.js')
const typedJson = require('./typed-json.js')

const mark = { lz4: 0xf8, zstd: 0xf9, bytes: 0xfa, text: 0xfb }

/** Begins and ends the moment at which a value is stale. JSON never begins with it. */
const SEPARATOR = '\x1f'
const SEPARATOR_BYTE = 0x1f

/** What the first byte of a mark is read as where bytes are read as text. */
const REPLACED = '\ufffd'

/** Digits of a moment: until the year 5138 in milliseconds, and some. */
const MOST_DIGITS = 16

/** What is stored without compression and staleness: text, or bytes with their mark where they need one. @typedef {string | Buffer} Body */
/**
 * @typedef {object} Codec
 * @property {boolean} textual whether all it writes is text that begins with no mark
 * @property {(value: unknown) => Body} encode throws INVALID_DATA
 * @property {(body: Body) => unknown} decode throws for what it did not write
 */

/** @type {Record<'json' | 'plain-json' | 'raw', Codec>} */
const codecs = {
  json: {
    textual: true,
    encode: (value) => typedJson.stringify(value, refused),
    decode: (body) => typedJson.parse(textOf(body)),
  },
  'plain-json': {
    textual: true,
    encode: plainJson,
    decode: (body) => JSON.parse(textOf(body)),
  },
  raw: { textual: false, encode: encodeRaw, decode: decodeRaw },
}

/**
 * @param {unknown} given
 * @returns {Codec}
 */
function codecOf(given) {
  const own = /** @type {any} */ (given)
  if (typeof own === 'object' && own !== null && typeof own.encode === 'function' && typeof own.decode === 'function') return custom(own)
  if (typeof given === 'object') throw check.wrongType('options.codec', 'a name or an object with encode and decode', given)
  return codecs[check.choice('options.codec', given, /** @type {const} */ (['json', 'plain-json', 'raw'])) ?? 'json']
}

/**
 * @param {{ encode(value: unknown): string | Buffer, decode(stored: Buffer): unknown }} own
 * @returns {Codec}
 */
function custom(own) {
  return {
    textual: false,
    encode(value) {
      const encoded = own.encode(value)
      if (typeof encoded === 'string') return textBody(encoded)
      if (!(encoded instanceof Uint8Array)) throw refused('the codec made neither a string nor a Buffer')
      const bytes = bufferOf(encoded)
      return isMark(bytes[0]) ? marked(mark.bytes, bytes) : bytes
    },
    decode: (body) => own.decode(typeof body === 'string' ? Buffer.from(body) : isMark(body[0]) ? body.subarray(1) : body),
  }
}

/** @param {string} why */
function refused(why) {
  return new RedisBulkError(`the value cannot be stored: ${why}`, { code: 'INVALID_DATA' })
}

/** @param {unknown} value */
function plainJson(value) {
  let text
  try {
    text = JSON.stringify(value)
  } catch (error) {
    throw refused(error instanceof Error ? error.message.split('\n', 1)[0] : String(error))
  }
  if (text === undefined) throw refused(`${value === undefined ? 'undefined' : `a ${typeof value}`} has no JSON form`)
  return text
}

/** @param {unknown} value */
function encodeRaw(value) {
  if (typeof value === 'string') return textBody(value)
  if (!(value instanceof Uint8Array)) throw refused('the codec raw takes a string or a Buffer')
  // A copy: the caller may use the memory again. Bytes that could be text have a mark, so that they come back as bytes.
  return isUtf8(value) || isMark(value[0]) ? marked(mark.bytes, value) : Buffer.from(value)
}

/** @param {Body} body */
function decodeRaw(body) {
  if (typeof body === 'string') return body
  if (body[0] === mark.bytes) return Buffer.from(body.subarray(1))
  if (body[0] === mark.text) return body.toString('utf8', 1)
  return isUtf8(body) ? body.toString() : Buffer.from(body)
}

/** @param {string} text */
function textBody(text) {
  if (!text.isWellFormed()) throw refused('the text has a lone surrogate, which UTF-8 cannot say')
  return text.startsWith(SEPARATOR) ? marked(mark.text, Buffer.from(text)) : text
}

/** @param {Body} body */
function textOf(body) {
  return typeof body === 'string' ? body : body.toString()
}

/** @param {number | undefined} byte */
function isMark(byte) {
  return byte === SEPARATOR_BYTE || (byte !== undefined && byte >= mark.lz4 && byte <= mark.text)
}

/**
 * @param {number} byte
 * @param {Uint8Array} bytes
 */
function marked(byte, bytes) {
  const all = Buffer.allocUnsafe(bytes.byteLength + 1)
  all[0] = byte
  all.set(bytes, 1)
  return all
}

/** @param {Uint8Array} bytes */
function bufferOf(bytes) {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * With the moment at which the value is stale in front.
 * @param {Body} body
 * @param {number | undefined} staleAt milliseconds since 1970
 * @returns {Body}
 */
function withStaleness(body, staleAt) {
  if (staleAt === undefined) return body
  const head = `${SEPARATOR}${staleAt}${SEPARATOR}`
  return typeof body === 'string' ? head + body : Buffer.concat([Buffer.from(head), body])
}

/**
 * @template {Body} T
 * @param {T} stored
 * @returns {{ body: T, staleAt: number | undefined }}
 */
function splitStaleness(stored) {
  const first = typeof stored === 'string' ? stored.charCodeAt(0) : stored[0]
  if (first !== SEPARATOR_BYTE) return { body: stored, staleAt: undefined }
  const end = stored.indexOf(SEPARATOR, 1)
  const digits = typeof stored === 'string' ? stored.slice(1, end) : stored.toString('latin1', 1, Math.min(end, MOST_DIGITS + 2))
  if (end < 2 || !/^\d{1,16}$/.test(digits)) throw new SyntaxError('a moment was expected')
  const body = /** @type {T} */ (typeof stored === 'string' ? stored.slice(end + 1) : stored.subarray(end + 1))
  return { body, staleAt: Number(digits) }
}

/** Whether text was read where bytes stand. @param {string} body */
function wasBytes(body) {
  return body.startsWith(REPLACED)
}

module.exports = { bufferOf, codecOf, mark, marked, splitStaleness, wasBytes, withStaleness }
