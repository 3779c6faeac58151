'use strict'

// cacheGet and its like: a cache that never fails the request it serves. A failed read is a miss, a failed write is
// false; both are counted in the metrics.

const check = require('./check.js')
const { RedisBulkError, invalid } = require('./errors.js')
const { escapeGlob } = require('./scan-steps.js')
const { checkTtl } = require('./ttl.js')

/** Seconds. */
const DEFAULT_TTL = 30

/** @typedef {import('./client.js').Client} Client */

/**
 * @param {Client} client
 * @param {string} key
 * @returns {Promise<string | null>}
 */
async function cacheGet(client, key) {
  return read(client, key, undefined)
}

/**
 * @param {Client} client
 * @param {string} key
 * @returns {Promise<any>}
 */
async function getCachedData(client, key) {
  return read(client, key, { as: 'json' })
}

/**
 * @param {Client} client
 * @param {string} key
 * @param {string} value
 * @param {unknown} ttl
 */
async function cacheSet(client, key, value, ttl) {
  return write(client, key, check.text('value', value), ttl)
}

/**
 * @param {Client} client
 * @param {string} key
 * @param {unknown} data
 * @param {unknown} ttl
 */
async function setCachedData(client, key, data, ttl) {
  return write(client, key, json(data), ttl)
}

/**
 * @param {Client} client
 * @param {string} prefix
 */
async function cacheDelPrefix(client, prefix) {
  if (check.text('prefix', prefix) === '') throw check.outOfRange('prefix', 'a string of at least one character', prefix)
  const { deleted } = await client.deleteByPattern(`${escapeGlob(prefix)}*`)
  return deleted
}

/**
 * @param {Client} client
 * @param {string} key
 * @param {{ as: 'json' } | undefined} options
 */
async function read(client, key, options) {
  check.text('key', key)
  try {
    const { results } = await client.bulkLookup('', [key], options)
    return results[0]
  } catch (error) {
    if (error instanceof RedisBulkError) return null
    throw error
  }
}

/**
 * @param {Client} client
 * @param {string} key
 * @param {string} value
 * @param {unknown} ttl
 */
async function write(client, key, value, ttl) {
  check.text('key', key)
  const entry = { key, data: value, ttl: checkTtl('ttl', ttl) ?? DEFAULT_TTL }
  try {
    const { success } = await client.pipelineSet([entry])
    return success
  } catch (error) {
    if (error instanceof RedisBulkError) return false
    throw error
  }
}

/** @param {unknown} data */
function json(data) {
  let why = `a ${typeof data}`
  try {
    const text = JSON.stringify(data)
    if (text !== undefined) return text
  } catch (error) {
    why = error instanceof Error ? error.message : String(error)
  }
  throw invalid(TypeError, `data has no JSON form: ${why}`)
}

module.exports = { cacheDelPrefix, cacheGet, cacheSet, getCachedData, setCachedData }
