// Health, metrics and a page that shows both live. Plain handlers of (req, res): they serve Express, Connect and node:http alike.

import { channel } from 'node:diagnostics_channel'
import { health, metrics, metricsText } from 'redis-bulk'
import { page } from './page.mjs'

/** Between two figures on the page, in milliseconds. */
const EVERY_MS = 1000

/** Changes of state that the page shows. */
const KEPT = 10

const changes = []
// Without an error to catch: the package tells of every change by itself. Subscribed before the first command.
channel('redis-bulk:state').subscribe(({ from, to, reason, at }) => {
  changes.push({ from, to, reason, at })
  if (changes.length > KEPT) changes.shift()
})

/** For a load balancer: 200 while the cache answers, 503 while it does not. Never waits longer than `connectTimeoutMs`. */
export async function healthHandler(req, res) {
  const report = await health()
  send(res, report.status === 'up' || report.status === 'degraded' ? 200 : 503, 'application/json', JSON.stringify(report))
}

/** For Prometheus. */
export function metricsHandler(req, res) {
  send(res, 200, 'text/plain; version=0.0.4; charset=utf-8', metricsText())
}

/** The page itself. */
export function pageHandler(req, res) {
  send(res, 200, 'text/html; charset=utf-8', page)
}

/** What the page listens to: a stream of events (EventSource), one figure a second. */
export async function liveHandler(req, res) {
  res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache', connection: 'keep-alive' })
  let before = metrics()
  let gone = false
  res.once('close', () => (gone = true))
  while (!gone) {
    const now = metrics()
    const { status, state, latencyMs, servedFrom } = await health()
    res.write(`data: ${JSON.stringify({ ...since(before, now), status, state, servedFrom, roundTripMs: latencyMs, changes })}\n\n`)
    before = now
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, EVERY_MS)
      res.once('close', () => {
        clearTimeout(timer)
        resolve()
      })
    })
  }
}

/** What happened between two readings of `metrics()`. */
function since(before, now) {
  const hits = now.hits - before.hits
  const misses = now.misses - before.misses
  const lookup = now.latencyMs.bulkLookup
  return {
    calls: now.commands - before.commands,
    hitRatio: hits + misses === 0 ? null : hits / (hits + misses),
    hitRatioSinceStart: now.hitRatio,
    lookupMs: lookup ? { p50: lookup.p50, p95: lookup.p95, p99: lookup.p99, max: lookup.max } : null,
    errors: now.errors,
    retries: now.retries,
    reconnects: now.reconnects,
    inFlight: now.inFlight,
  }
}

function send(res, status, type, body) {
  res.writeHead(status, { 'content-type': type })
  res.end(body)
}
