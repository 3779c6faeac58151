'use strict'

// Calls and changes of state on `node:diagnostics_channel`, with OpenTelemetry's names for databases. Nothing that was
// stored, asked for or logged in with stands in them. While nobody listens a call costs a look at five flags.

const { channel, tracingChannel } = require('node:diagnostics_channel')
const { traced } = require('./call-site.js')
const { RedisBulkError, ReplyError } = require('./errors.js')

const CALLS = 'redis-bulk:call'
const STATES = 'redis-bulk:state'

// Held here: a channel that nobody holds is forgotten with its subscribers.
const calls = tracingChannel(CALLS)
const { start, end, asyncStart, asyncEnd, error: failed } = calls
const states = tracingChannel(STATES)
const state = channel(STATES)

/** @typedef {import('./client.js').Client} Client */
/** @typedef {{ operation: string, attributes: Record<string, string | number>, failures?: Record<string, number>, error?: unknown }} Context */

/** Whether somebody listens to calls. `hasSubscribers` of the whole is not in every Node 20. */
function isWatched() {
  return start.hasSubscribers || asyncEnd.hasSubscribers || failed.hasSubscribers || end.hasSubscribers || asyncStart.hasSubscribers
}

function isStateWatched() {
  return state.hasSubscribers || states.start.hasSubscribers || states.end.hasSubscribers
}

/**
 * Runs a call and tells of its beginning and its end, as `tracePromise` does, but without what it results in.
 * @template T
 * @param {Client} client
 * @param {string} operation the method
 * @param {string | undefined} command its name on the server
 * @param {unknown} items
 * @param {() => Promise<T>} run
 * @returns {Promise<T>}
 */
function watched(client, operation, command, items, run) {
  /** @type {Context} */
  const context = { operation, attributes: attributesOf(client) }
  if (command !== undefined) context.attributes['db.operation.name'] = command
  // One operation is no batch.
  const size = Array.isArray(items) ? items.length : 0
  if (size > 1) context.attributes['db.operation.batch.size'] = size
  return traced(async () => {
    /** @type {Promise<T>} */
    const running = start.runStores(context, () => {
      try {
        return run()
      } finally {
        end.publish(context)
      }
    })
    try {
      const result = await running
      noteItems(context, result, size)
      return result
    } catch (error) {
      noteError(context, error)
      throw error
    } finally {
      asyncStart.publish(context)
      asyncEnd.publish(context)
    }
  })
}

/**
 * @param {Context} context
 * @param {any} error
 */
function noteError(context, error) {
  context.error = error
  const type = String(error?.name === 'AbortError' ? error.name : (error?.code ?? error?.name))
  context.attributes['error.type'] = type
  if (error instanceof ReplyError) context.attributes['db.response.status_code'] = type
  failed.publish(context)
}

/**
 * Items that failed while their call went well.
 * @param {Context} context
 * @param {any} result
 * @param {number} size
 */
function noteItems(context, result, size) {
  const errors = result?.errors
  if (!Array.isArray(errors) || errors.length === 0) return
  /** @type {Record<string, number>} */
  const failures = {}
  for (const { code } of errors) failures[code] = (failures[code] ?? 0) + 1
  const { code, retryable, applied } = errors[0]
  context.failures = failures
  noteError(context, new RedisBulkError(`${errors.length} of ${Math.max(size, 1)} items failed, the first with ${code}`, { code, retryable, applied }))
}

/**
 * The name of a command as the server knows it; what does not look like one may be anything.
 * @param {unknown} args
 */
function commandName(args) {
  const name = Array.isArray(args) ? String(args[0]) : ''
  return /^[a-z.]{1,32}$/i.test(name) ? name.toUpperCase() : undefined
}

/** @param {Client} client */
function attributesOf(client) {
  const { address, port, namespace } = client.target
  /** @type {Record<string, string | number>} */
  const attributes = { 'db.system.name': 'redis' }
  if (namespace !== undefined) attributes['db.namespace'] = namespace
  if (address !== undefined) attributes['server.address'] = address
  if (port !== undefined) attributes['server.port'] = port
  return attributes
}

/**
 * @param {Client} client
 * @param {import('./events.js').StateChange} change
 */
function tellState(client, change) {
  const context = { ...change, attributes: attributesOf(client) }
  state.publish(context)
  // It has no length: it ends as it begins.
  states.traceSync(() => {}, context)
}

module.exports = { commandName, isStateWatched, isWatched, tellState, watched }
