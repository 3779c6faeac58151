// The app without its server, so that a test can mount it: look-ups, a cache, invalidation, a limit, health, metrics, errors.

import express from 'express'
import { RedisBulkError, batchDelete, bulkLookup, createCache, createRateLimiter, rateLimitByIp, scanAll } from 'redis-bulk'
import { reportFor } from './catalog.mjs'
import { healthHandler, liveHandler, metricsHandler, pageHandler } from './live.mjs'

export const PREFIX = 'shop:product:'
const MOST_CODES = 1000

export const app = express()
app.disable('x-powered-by')

app.get('/', pageHandler)
app.get('/live', liveHandler)
app.get('/health', healthHandler)
app.get('/metrics', metricsHandler)

// Reports are expensive: made once for all who ask at once, kept for a minute, and for ten more served while a new one is made.
const reports = createCache('shop:reports', { ttl: 60, staleWhileRevalidate: 600, maxEntries: 1000 })
const limiter = createRateLimiter({ keyPrefix: 'shop:limit:', points: 100, duration: 60 })

app.get('/reports/:kind', rateLimitByIp(limiter), async (req, res) => {
  res.json(await reports.getOrSet(req.params.kind, () => reportFor(req.params.kind)))
})

// GET /products?codes=P0001,P0002,NOPE: any number of products in one round trip, what is missing named.
app.get('/products', async (req, res) => {
  const codes = String(req.query.codes ?? '').split(',').filter(Boolean)
  if (codes.length === 0 || codes.length > MOST_CODES) {
    res.status(400).json({ error: `codes: 1 to ${MOST_CODES} codes, separated by commas` })
    return
  }
  const { results, cacheMisses, errors } = await bulkLookup(PREFIX, codes, {
    as: 'json',
    timeoutMs: 500,
    signal: goneSignal(res),
  })
  const failed = new Set(errors.map((error) => error.index))
  res.json({
    products: results.filter((product) => product !== null),
    missing: cacheMisses === 0 ? [] : codes.filter((_, index) => results[index] === null && !failed.has(index)),
    // An item that could not be read says why and whether asking again may help; the others are answered all the same.
    errors: errors.map(({ index, code, retryable }) => ({ product: codes[index], code, retryable })),
  })
})

app.get('/products/:code', async (req, res) => {
  const { results, errors } = await bulkLookup(PREFIX, [req.params.code], { as: 'json', signal: goneSignal(res) })
  if (errors.length > 0) res.status(errors[0].retryable ? 503 : 500).json({ error: errors[0].code })
  else if (results[0] === null) res.status(404).json({ error: 'no such product' })
  else res.json(results[0])
})

// DELETE /products?startingWith=P00: forgets every cached product whose code begins so.
app.delete('/products', async (req, res) => {
  const keys = await scanAll(`${PREFIX}${escapeGlob(String(req.query.startingWith ?? ''))}*`, 1000)
  res.json({ deleted: await batchDelete(keys, 500) })
})

// Express 5 brings a rejected handler here by itself.
app.use((error, req, res, next) => {
  if (error.name === 'AbortError') return // the caller has gone
  if (res.headersSent) {
    next(error)
    return
  }
  const known = error instanceof RedisBulkError
  console.error(`${req.method} ${req.path}:`, known ? `${error.code}: ${error.message}` : error)
  if (known && error.retryable) res.set('Retry-After', '1').status(503)
  else res.status(500)
  res.json({ error: known ? error.code : 'INTERNAL' })
})

/** Aborts when the caller hangs up, so that work nobody waits for is not sent. */
function goneSignal(res) {
  const controller = new AbortController()
  res.once('close', () => controller.abort())
  return controller.signal
}

/** What came from outside is no pattern: its `*`, `?`, `[` and `\` mean themselves. */
function escapeGlob(text) {
  return text.replace(/[*?[\]\\]/g, '\\$&')
}
