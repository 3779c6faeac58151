// The same package, required from CommonJS.
import redisBulk = require('redis-bulk')

export async function all(): Promise<number> {
  redisBulk.configure({ url: 'memory:' })
  const { results }: redisBulk.LookupResult<string> = await redisBulk.bulkLookup('p:', ['a'])
  const keys: string[] = await redisBulk.scanAll('p:*', 100)
  return results.length + (await redisBulk.batchDelete(keys, 500))
}

export async function more(limiter: redisBulk.RateLimiter): Promise<string[]> {
  const found: string[] = []
  for await (const batch of redisBulk.scanIterator('p:*')) found.push(...batch)
  const report: redisBulk.PatternDeleteReport = await redisBulk.deleteByPattern('p:*', { dryRun: true })
  redisBulk.rateLimitByIp(limiter)
  // @ts-expect-error -- there is no default export
  void redisBulk.default
  return [...found, String(report.matched)]
}
