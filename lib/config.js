'use strict'

// What the addon's configuration is made from: the options, the environment, and a file of variables.

const { readFileSync } = require('node:fs')
const util = require('node:util')
const check = require('./check.js')
const { ConfigError } = require('./errors.js')

/** Every variable that the addon reads. */
const VARIABLES = [
  'REDIS_URL',
  'KV_URL',
  'REDIS_CLUSTER_NODES',
  'REDIS_CLUSTER',
  'REDIS_SENTINELS',
  'REDIS_SENTINEL_MASTER',
  'UPSTASH_REDIS_REST_URL',
  'UPSTASH_REDIS_REST_TOKEN',
  'REDIS_HOST',
  'REDIS_PORT',
  'REDIS_USERNAME',
  'REDIS_PASSWORD',
  'REDIS_DB',
  'REDIS_TLS',
  'REDIS_CONNECTION_TIMEOUT_MS',
  'REDIS_COMMAND_TIMEOUT_MS',
  'REDIS_RETRY_ATTEMPTS',
  'REDIS_KEY_PREFIX',
  'REDIS_ENABLE_FALLBACK',
]

/** @param {string} message @param {unknown} [cause] */
function configError(message, cause) {
  return new ConfigError(message, { code: 'INVALID_CONFIG', cause })
}

/**
 * The configuration as the JSON that the addon reads, and the function that gives the password, where there is one.
 * @param {unknown} given
 * @returns {{ configuration: string, givePassword: import('./password.js').PasswordFunction | undefined }}
 */
function describe(given) {
  const { password, ...others } = check.options('options', given)
  const asked = typeof password === 'function'
  const options = asked || password === undefined ? others : { ...others, password }
  const env = { ...fromFile(options.envFile), ...defined(process.env) }
  return {
    configuration: JSON.stringify({ options: plain(options), env: pick(env) }),
    givePassword: asked ? /** @type {import('./password.js').PasswordFunction} */ (password) : undefined,
  }
}

/** @param {Record<string, string | undefined>} env */
function defined(env) {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''))
}

/** @param {Record<string, string | undefined>} env */
function pick(env) {
  return Object.fromEntries(VARIABLES.filter((name) => env[name] !== undefined).map((name) => [name, env[name]]))
}

/**
 * The variables of a file. Those of the process itself stand above them.
 * @param {unknown} file
 * @returns {Record<string, string | undefined>}
 */
function fromFile(file) {
  if (file === undefined) return {}
  if (typeof file !== 'string' || file === '') throw configError('envFile must be the path of a file')
  if (typeof util.parseEnv !== 'function') throw configError('envFile needs Node.js 20.12 or later')
  let text
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    const reason = /** @type {NodeJS.ErrnoException} */ (error).code
    throw configError(`envFile: ${file} could not be read (${reason})`, error)
  }
  return util.parseEnv(text)
}

/**
 * Options as JSON can say them: certificates as text, nothing that would get lost on the way.
 * @param {Record<string, unknown>} options
 */
function plain(options, path = '') {
  /** @type {Record<string, unknown>} */
  const result = {}
  for (const [name, value] of Object.entries(options)) {
    const full = path + name
    switch (typeof value) {
      case 'undefined':
        break
      case 'function':
      case 'symbol':
      case 'bigint':
        throw configError(`${full} must not be a ${typeof value}`)
      case 'number':
        if (!Number.isFinite(value)) throw configError(`${full} must be a finite number`)
        result[name] = value
        break
      case 'object':
        if (value instanceof Uint8Array) result[name] = Buffer.from(value).toString('utf8')
        else if (value === null || Array.isArray(value)) result[name] = value
        else result[name] = plain(/** @type {Record<string, unknown>} */ (value), `${full}.`)
        break
      default:
        result[name] = value
    }
  }
  return result
}

module.exports = { configError, describe }
