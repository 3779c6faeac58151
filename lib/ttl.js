'use strict'

// Times to live in arguments.

const check = require('./check.js')
const { ttlMillis } = require('./set.js')

/**
 * Seconds, or undefined where they are left out.
 * @param {string} name
 * @param {unknown} value
 * @returns {number | undefined}
 */
function checkTtl(name, value) {
  if (value === undefined) return undefined
  if (typeof value !== 'number') throw check.wrongType(name, 'a number of seconds', value)
  if (ttlMillis(value) === 0) {
    throw check.outOfRange(name, 'a number of seconds from 0.001 to what Redis can add to the present time', value)
  }
  return value
}

exports.checkTtl = checkTtl
