// All that the app knows about Redis.
//
// Next.js loads this module once for each bundle that it makes (routes, pages, instrumentation), and again at each hot
// reload. createClient() is right for that: clients with an equal configuration share one connection, or one embedded
// store. configure() would find that another bundle's copy is connected already, and throw.

import { createClient } from 'redis-bulk'

const PREFIX = 'shop:product:'

// Without REDIS_URL the example runs on the embedded store. A real app says createClient() and no more.
const redis = createClient(process.env.REDIS_URL ? {} : { url: 'memory:' })

/** The products with these codes, null where there is none, in the order asked for. */
export async function findProducts(codes) {
  const { results, errors } = await redis.bulkLookup(PREFIX, codes, { as: 'json', timeoutMs: 500 })
  for (const error of errors) console.error(`${error.key}: ${error.code}: ${error.message}`)
  return results
}

/** Fills the cache with the products P001 to P500. */
export async function warmUp() {
  const entries = Array.from({ length: 500 }, (_, index) => {
    const code = `P${String(index + 1).padStart(3, '0')}`
    return { key: PREFIX + code, data: { code, name: `Product ${index + 1}` }, ttl: 3600 }
  })
  return redis.pipelineSet(entries)
}
