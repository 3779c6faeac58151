'use strict'

// Metrics in the Prometheus text format, version 0.0.4. Base units, as Prometheus asks for: seconds and bytes.

/** @typedef {import('../index.js').Metrics} Metrics */
/** @typedef {[suffix: string, labels: Record<string, string | number>, value: number]} Sample */

/** @param {Metrics} metrics */
function metricsText(metrics) {
  const latencies = Object.entries(metrics.latencyMs)
  /** @type {Sample[]} */
  const slowest = latencies.map(([operation, { max }]) => ['', { operation }, max / 1000])
  /** @type {Sample[]} */
  const failures = Object.entries(metrics.errors).map(([code, count]) => ['', { code }, count])
  return [
    counter('commands_total', 'Calls that have settled.', metrics.commands),
    counter('items_total', 'Keys and entries that were passed.', metrics.items),
    counter('hits_total', 'Looked-up keys that were there.', metrics.hits),
    counter('misses_total', 'Looked-up keys that were not.', metrics.misses),
    family('errors_total', 'counter', 'Failures of calls and of items, by code.', failures),
    counter('retries_total', 'Repetitions after a failure.', metrics.retries),
    counter('reconnects_total', 'Connections made again after one was lost.', metrics.reconnects),
    counter('sent_bytes_total', 'Bytes sent to the server.', metrics.bytesSent),
    counter('received_bytes_total', 'Bytes received from the server.', metrics.bytesReceived),
    gauge('buffered_bytes', 'Bytes of requests and replies that wait in memory.', metrics.bufferedBytes),
    gauge('in_flight_calls', 'Calls that have not settled yet.', metrics.inFlight),
    family('latency_seconds', 'summary', 'Latency of calls, by operation.', latencies.flatMap(([operation, { count, sum, p50, p95, p99 }]) => [
      ['', { operation, quantile: 0.5 }, p50 / 1000],
      ['', { operation, quantile: 0.95 }, p95 / 1000],
      ['', { operation, quantile: 0.99 }, p99 / 1000],
      ['_sum', { operation }, sum / 1000],
      ['_count', { operation }, count],
    ])),
    family('latency_max_seconds', 'gauge', 'The slowest call, by operation.', slowest),
  ].join('')
}

/**
 * @param {string} name
 * @param {string} help
 * @param {number} value
 */
function counter(name, help, value) {
  return family(name, 'counter', help, [['', {}, value]])
}

/**
 * @param {string} name
 * @param {string} help
 * @param {number} value
 */
function gauge(name, help, value) {
  return family(name, 'gauge', help, [['', {}, value]])
}

/**
 * @param {string} name
 * @param {string} type
 * @param {string} help
 * @param {Sample[]} samples
 */
function family(name, type, help, samples) {
  const full = `redis_bulk_${name}`
  const lines = [`# HELP ${full} ${help}`, `# TYPE ${full} ${type}`]
  for (const [suffix, labels, value] of samples) lines.push(`${full}${suffix}${labelText(labels)} ${value}`)
  return `${lines.join('\n')}\n`
}

/** @param {Record<string, string | number>} labels */
function labelText(labels) {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escaped(String(value))}"`)
  return parts.length === 0 ? '' : `{${parts.join(',')}}`
}

/** @param {string} text */
function escaped(text) {
  return text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')
}

exports.metricsText = metricsText
