// redis-bulk from TypeScript: what each call gives back, and how to tell its errors apart.
//
//   npm install && npm start

import {
  BulkError,
  type ClientOptions,
  ConnectionError,
  type ItemError,
  type LookupResult,
  RedisBulkError,
  ReplyError,
  type SetEntry,
  TimeoutError,
  createClient,
} from 'redis-bulk'

interface Price {
  sku: string
  cents: number
}

// One client of its own; what options leave out comes from the environment.
const options: ClientOptions = { keyPrefix: 'typed:', commandTimeoutMs: 2000 }
if (!process.env.REDIS_URL) options.url = 'memory:'
const redis = createClient(options)

try {
  const prices: Price[] = Array.from({ length: 2000 }, (_, index) => ({ sku: `S${index}`, cents: 100 + index }))
  const entries: SetEntry[] = prices.map((price) => ({ key: `price:${price.sku}`, data: price, ttl: 600 }))
  const { written, errors } = await redis.pipelineSet(entries)
  console.log(`${written} prices written`)
  errors.forEach(report)

  // `as: 'json'` takes the type of a value; without it the results are strings, with 'buffer' they are Buffers.
  const found: LookupResult<Price> = await redis.bulkLookup<Price>('price:', ['S1', 'S1999', 'S2000'], { as: 'json' })
  const total = found.results.reduce((sum, price) => sum + (price?.cents ?? 0), 0)
  console.log(`${found.cacheHits} found, ${found.cacheMisses} missing, ${total} cents together`)

  const keys: string[] = await redis.scanAll('price:S19*', { count: 1000, type: 'string' })
  const { deleted, failed } = await redis.batchDelete(keys, { report: true })
  console.log(`${keys.length} keys found, ${deleted} deleted, ${failed} failed`)
} catch (error) {
  console.error(explain(error))
  process.exitCode = 1
} finally {
  await redis.close()
}

function report({ key, code, message, retryable, applied }: ItemError): void {
  console.error(`${key}: ${code}: ${message} (retryable: ${retryable}, applied: ${applied})`)
}

function explain(error: unknown): string {
  if (error instanceof BulkError) return `${error.report.failed} keys failed, ${error.report.deleted} are deleted`
  if (error instanceof TimeoutError) return `no answer in time; the server may have done it: ${error.applied}`
  if (error instanceof ReplyError) return `the server said ${error.code}: ${error.message}`
  if (error instanceof ConnectionError) return `no connection: ${error.code}: ${error.message}`
  if (error instanceof RedisBulkError) return `${error.code}: ${error.message}`
  return String(error)
}
