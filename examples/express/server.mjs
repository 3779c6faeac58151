// An Express 5 server over redis-bulk: warms the cache, serves look-ups, ends cleanly.
//
//   npm install && npm start                              on the embedded store
//   REDIS_URL=redis://127.0.0.1:6379 npm start            on a real server
//   curl 'localhost:3000/products?codes=P0001,P0002,NOPE'
//   curl localhost:3000/reports/Flask, twice
//   http://localhost:3000/ in a browser: hit ratio, latency and state, live; /health and /metrics for machines

import { close, configure, pipelineSet } from 'redis-bulk'
import { PREFIX, app } from './app.mjs'
import { allProducts } from './catalog.mjs'

// Without REDIS_URL the example runs on the embedded store. A real service leaves this line out.
if (!process.env.REDIS_URL) configure({ url: 'memory:' })

const server = app.listen(Number(process.env.PORT ?? 3000), () => {
  console.log(`listening on http://localhost:${server.address().port}`)
})
process.once('SIGTERM', shutDown)
process.once('SIGINT', shutDown)
await warmUp()

/** A cold cache is slow, not wrong: a warm-up that fails is reported and the server stays up. */
async function warmUp() {
  try {
    const entries = allProducts().map((product) => ({ key: PREFIX + product.code, data: product }))
    const { written, failed, errors, durationMs } = await pipelineSet(entries, { ttl: 3600 })
    console.log(`warmed ${written} products in ${durationMs.toFixed(1)} ms`)
    if (failed > 0) console.error(`${failed} were not written, the first: ${errors[0].code}: ${errors[0].message}`)
  } catch (error) {
    console.error(`not warmed: ${error.code}: ${error.message}`)
  }
}

/** Takes no new requests, finishes those that run, then closes the connection. The process ends by itself. */
async function shutDown(signal) {
  console.log(`${signal}: finishing`)
  const closed = new Promise((resolve) => server.close(resolve))
  // A page that listens never ends by itself.
  setTimeout(() => server.closeAllConnections(), 1000).unref()
  await closed
  await close()
}
