// A nightly job in CommonJS: writes the day's prices, then reads some of them back.
//
//   node examples/script.cjs                                       the settings of .env.production beside this file
//   REDIS_URL=redis://127.0.0.1:6379 node examples/script.cjs      the environment wins over the file

const path = require('node:path')
const { bulkLookup, configure, pipelineSet } = require('redis-bulk')

// In a service that starts in its own folder this is simply: configure({ envFile: '.env.production' })
configure({ envFile: path.join(__dirname, '.env.production') })

async function main() {
  const prices = new Map(Array.from({ length: 10_000 }, (_, index) => [`S${index}`, { cents: 100 + index }]))
  const entries = [...prices].map(([sku, price]) => ({ key: `price:${sku}`, data: price }))

  const { success, written, failed, errors, durationMs } = await pipelineSet(entries, { ttl: 86_400 })
  console.log(`${written} of ${entries.length} prices written in ${durationMs.toFixed(1)} ms`)
  if (!success) {
    console.error(`${failed} failed, the first: ${errors[0].key}: ${errors[0].code}: ${errors[0].message}`)
    process.exitCode = 1
  }

  const { results, cacheHits, cacheMisses } = await bulkLookup('price:', ['S7', 'S9999', 'S10000'], { as: 'json' })
  console.log(`${cacheHits} hits, ${cacheMisses} misses:`, results)
}

// No close() is needed here: an idle connection does not keep the process alive.
main().catch((error) => {
  console.error(`${error.code}: ${error.message}`)
  process.exitCode = 1
})
