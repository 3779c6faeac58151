'use strict'

// The options of a cache.

const check = require('../check.js')
const { checkTtl } = require('../ttl.js')
const { codecOf } = require('./codec.js')

/** Bytes below which compression gains little. */
const DEFAULT_MIN_BYTES = 1024

/** Milliseconds between two writes of access times. */
const DEFAULT_FLUSH_MS = 5000

/** Milliseconds after which the lock of a dead process is free. */
const DEFAULT_LOCK_MS = 5000

/** A name with a segment like a version could lead into the keys of another cache. */
const VERSION_LIKE = /(^|:)v\d+([:#]|$)/

const OPTIONS = ['ttl', 'version', 'codec', 'compress', 'local', 'maxEntries', 'staleWhileRevalidate', 'flushIntervalMs', 'lockMs']

/** @typedef {ReturnType<typeof readOptions>} Options */

/** @param {unknown} name */
function readName(name) {
  const text = check.text('name', name)
  if (text === '') throw check.outOfRange('name', 'a string of at least one character', text)
  if (VERSION_LIKE.test(text)) throw check.outOfRange('name', 'a name without a part like a version, such as v1', text)
  return text
}

/** @param {unknown} given */
function readOptions(given) {
  const options = check.options('options', given, OPTIONS)
  return {
    ttl: checkTtl('options.ttl', options.ttl),
    version: check.positive('options.version', options.version) || 1,
    codec: codecOf(options.codec),
    compression: readCompression(options.compress),
    local: readLocal(options.local),
    maxEntries: check.positive('options.maxEntries', options.maxEntries, Number.MAX_SAFE_INTEGER),
    staleFor: checkTtl('options.staleWhileRevalidate', options.staleWhileRevalidate),
    flushMs: check.millis('options.flushIntervalMs', options.flushIntervalMs) || DEFAULT_FLUSH_MS,
    lockMs: Math.ceil(check.millis('options.lockMs', options.lockMs)) || DEFAULT_LOCK_MS,
  }
}

/** @param {unknown} given */
function readCompression(given) {
  if (given === undefined || given === false) return undefined
  const options = check.options('options.compress', given, ['algorithm', 'minBytes'])
  return {
    algorithm: check.choice('options.compress.algorithm', options.algorithm, /** @type {const} */ (['lz4', 'zstd'])) ?? 'lz4',
    minBytes: check.positive('options.compress.minBytes', options.minBytes) || DEFAULT_MIN_BYTES,
  }
}

/** @param {unknown} given */
function readLocal(given) {
  if (given === undefined || given === false) return undefined
  const options = check.options('options.local', given, ['maxEntries', 'maxBytes', 'ttl'])
  return {
    maxEntries: check.positive('options.local.maxEntries', options.maxEntries) || undefined,
    maxBytes: check.positive('options.local.maxBytes', options.maxBytes, Number.MAX_SAFE_INTEGER) || undefined,
    ttl: checkTtl('options.local.ttl', options.ttl),
  }
}

exports.readName = readName
exports.readOptions = readOptions
