'use strict'

// Rate limits for Express and Connect, with the plain response of Node's http.

const check = require('./check.js')

const TOO_MANY = 429

/** @typedef {import('../index.js').RateLimiter} RateLimiter */
/** @typedef {import('../index.js').RateLimitResult} Result */
/** @typedef {(error?: unknown) => void} Next */

/** @param {RateLimiter} limiter */
function rateLimitByIp(limiter) {
  // Connect has no req.ip. Once the connection is gone neither has an address, and nobody waits for the answer.
  return rateLimitByKey(limiter, (req) => req.ip ?? req.socket?.remoteAddress ?? 'unknown')
}

/**
 * @param {RateLimiter} limiter
 * @param {(req: any) => string} keyOf
 */
function rateLimitByKey(limiter, keyOf) {
  if (typeof limiter?.consume !== 'function') throw check.wrongType('limiter', 'a rate limiter', limiter)
  if (typeof keyOf !== 'function') throw check.wrongType('keyOf', 'a function', keyOf)
  return (/** @type {any} */ req, /** @type {any} */ res, /** @type {Next} */ next) => {
    // next() is called outside: what it throws is not an error of the limiter.
    ask(limiter, keyOf, req).then((result) => answer(result, res, next), next)
  }
}

/**
 * @param {RateLimiter} limiter
 * @param {(req: any) => string} keyOf
 * @param {any} req
 */
async function ask(limiter, keyOf, req) {
  return limiter.consume(check.text('the key of a request', keyOf(req)))
}

/**
 * @param {Result} result
 * @param {any} res
 * @param {Next} next
 */
function answer({ allowed, limit, remaining, resetMs }, res, next) {
  // Somebody answered meanwhile, a time limit for instance.
  if (res.headersSent) return
  const reset = Math.ceil(resetMs / 1000)
  res.setHeader('RateLimit-Limit', String(limit))
  res.setHeader('RateLimit-Remaining', String(remaining))
  res.setHeader('RateLimit-Reset', String(reset))
  if (allowed) {
    next()
    return
  }
  res.statusCode = TOO_MANY
  res.setHeader('Retry-After', String(reset))
  res.setHeader('Content-Type', 'text/plain; charset=utf-8')
  res.end('Too Many Requests\n')
}

exports.rateLimitByIp = rateLimitByIp
exports.rateLimitByKey = rateLimitByKey
