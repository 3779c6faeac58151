'use strict'

// Compression of what is stored, off the JavaScript thread: in the addon, or by Node's own Zstandard where it has one,
// which makes values half as large as the addon's small one does. Both write standard frames.

const { promisify } = require('node:util')
const zlib = require('node:zlib')
const { Session } = require('../native.js')
const { bufferOf, mark, marked } = require('./codec.js')

/** The longest value that is unpacked, as in the addon: Redis stores no longer one. */
const LONGEST = 512 * 1024 * 1024

/** @typedef {import('./codec.js').Body} Body */
/** @typedef {{ algorithm: 'lz4' | 'zstd', minBytes: number }} Compression */

/** Node's, from 22.15 and 23.8. */
const { zstdCompress, zstdDecompress } = /** @type {any} */ (zlib)
/** @type {((bytes: Buffer) => Promise<Buffer>) | undefined} */
const packByNode = zstdCompress && promisify(zstdCompress)
/** @type {((bytes: Buffer, options: object) => Promise<Buffer>) | undefined} */
const unpackByNode = zstdDecompress && promisify(zstdDecompress)

/**
 * The bodies, each compressed where that makes it shorter.
 * @param {readonly Body[]} bodies
 * @param {Compression} compression
 * @returns {Promise<Body[]>}
 */
async function compressed(bodies, { algorithm, minBytes }) {
  const result = [...bodies]
  /** @type {number[]} */
  const places = []
  /** @type {Buffer[]} */
  const values = []
  for (let index = 0; index < bodies.length; index++) {
    const body = bodies[index]
    const length = Buffer.byteLength(body)
    if (length < minBytes || length > LONGEST) continue
    places.push(index)
    values.push(typeof body === 'string' ? Buffer.from(body) : body)
  }
  if (values.length === 0) return result
  const packed = await pack(values, algorithm)
  for (let at = 0; at < places.length; at++) {
    const shorter = packed[at]
    if (shorter !== null && shorter.length < values[at].length) result[places[at]] = shorter
  }
  return result
}

/**
 * @param {Buffer[]} values
 * @param {'lz4' | 'zstd'} algorithm
 * @returns {Promise<(Buffer | null)[]>}
 */
async function pack(values, algorithm) {
  if (algorithm === 'lz4' || packByNode === undefined) return Session.compress(values, algorithm === 'zstd')
  const frames = await Promise.all(values.map((value) => packByNode(value)))
  return frames.map((frame) => marked(mark.zstd, frame))
}

/**
 * The bodies as they were before; null for one that is damaged.
 * @param {readonly Buffer[]} bodies
 * @returns {Promise<(Buffer | null)[]>}
 */
async function decompressed(bodies) {
  /** @type {(Buffer | null)[]} */
  const result = [...bodies]
  /** @type {number[]} */
  const places = []
  /** @type {Buffer[]} */
  const values = []
  /** @type {Promise<void>[]} */
  const byNode = []
  for (let index = 0; index < bodies.length; index++) {
    const body = bodies[index]
    if (!isCompressed(body)) continue
    if (body[0] === mark.zstd && unpackByNode !== undefined) {
      const read = unpackByNode(body.subarray(1), { maxOutputLength: LONGEST })
      byNode.push(read.then((value) => void (result[index] = bufferOf(value)), () => void (result[index] = null)))
    } else {
      places.push(index)
      values.push(body)
    }
  }
  if (values.length > 0) {
    const read = await Session.decompress(values)
    for (let at = 0; at < places.length; at++) result[places[at]] = read[at]
  }
  await Promise.all(byNode)
  return result
}

/** @param {Body} body */
function isCompressed(body) {
  return typeof body !== 'string' && (body[0] === mark.lz4 || body[0] === mark.zstd)
}

module.exports = { compressed, decompressed, isCompressed }
