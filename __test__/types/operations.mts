// Compiled, never run: each line says what the types have to allow, give or refuse.
import {
  BulkError,
  RedisBulkError,
  batchDelete,
  bulkLookup,
  configure,
  createClient,
  pipelineSet,
  scanAll,
  type BulkRedis,
  type ClientOptions,
  type DeleteReport,
  type ErrorCode,
  type ItemError,
  type LookupOptions,
  type LookupResult,
  type PatternDeleteReport,
  type SetResult,
} from 'redis-bulk'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
declare function same<A, B>(_: Same<A, B>): void

interface Airport {
  code: string
  runways: number
}

export async function lookups(codes: readonly string[], controller: AbortController): Promise<void> {
  const plain = await bulkLookup('airport:', codes)
  same<typeof plain, LookupResult<string>>(true)
  same<(typeof plain)['results'], (string | null)[]>(true)
  same<(typeof plain)['errors'], ItemError[]>(true)

  const bytes = await bulkLookup('airport:', codes, { as: 'buffer', strategy: 'script', batchSize: 100 })
  same<(typeof bytes)['results'], (Buffer | null)[]>(true)

  const typed = await bulkLookup<Airport>('airport:', codes, { as: 'json', partial: true, timeoutMs: 50, signal: controller.signal })
  same<(typeof typed)['results'], (Airport | null)[]>(true)

  const untyped = await bulkLookup('airport:', codes, { as: 'json' })
  same<(typeof untyped)['results'][number], unknown>(true)

  const options: LookupOptions = { strategy: 'mget' }
  void options

  // @ts-expect-error -- the prefix comes first
  await bulkLookup(codes)
  // @ts-expect-error -- codes are a list
  await bulkLookup('airport:', 'CDG')
  // @ts-expect-error -- no such form
  await bulkLookup('airport:', codes, { as: 'xml' })
  // @ts-expect-error -- no such strategy
  await bulkLookup('airport:', codes, { strategy: 'get' })
  // @ts-expect-error -- results may be null
  const first: string = plain.results[0]
  void first
}

export async function writes(): Promise<void> {
  const result: SetResult = await pipelineSet(
    [
      { key: 'a', data: 'text', ttl: 0.5 },
      { key: 'b', data: Buffer.from('bytes') },
      { key: 'c', data: { any: ['json', 1, null] } },
    ],
    { ttl: 60, condition: 'nx', batchSize: 10, timeoutMs: 1000 },
  )
  const applied: (boolean | 'unknown')[] = result.errors.map((error) => error.applied)
  void applied
  // @ts-expect-error -- every entry has a key
  await pipelineSet([{ data: 1 }])
  // @ts-expect-error -- no such condition
  await pipelineSet([], { condition: 'gt' })
}

export async function keys(): Promise<void> {
  const found = await scanAll('a:*', 1000)
  same<typeof found, string[]>(true)
  await scanAll('a:*')
  await scanAll('a:*', { count: 10, type: 'hash', limit: 5, onProgress: ({ scanned, done, elapsedMs }) => void (scanned + done + elapsedMs) })
  // @ts-expect-error -- no such type
  await scanAll('a:*', { type: 'text' })

  const deleted = await batchDelete(found, 500)
  same<typeof deleted, number>(true)
  const report = await batchDelete(found, { report: true, batchSize: 100 })
  same<typeof report, DeleteReport>(true)
  const count = await batchDelete(found, { onProgress: (progress) => void progress.total })
  same<typeof count, number>(true)
  // @ts-expect-error -- a list of keys
  await batchDelete('a:*')
}

export async function clients(options: ClientOptions): Promise<unknown> {
  configure(options)
  configure({ url: 'redis://localhost', retry: { attempts: 1 }, tls: { rejectUnauthorized: false }, fallback: { maxBytes: 1 } })
  // @ts-expect-error -- a port is a number
  configure({ port: '6379' })
  await using client: BulkRedis = createClient({ url: 'memory:' })
  const { results } = await client.bulkLookup('p:', ['a'], { as: 'buffer' })
  same<typeof results, (Buffer | null)[]>(true)
  return client.sendCommand(['INCRBY', 'n', 2, Buffer.from('x')])
}

export function errors(error: unknown): ErrorCode | string | undefined {
  if (error instanceof BulkError) {
    same<typeof error.report, DeleteReport | PatternDeleteReport>(true)
  }
  if (error instanceof RedisBulkError) {
    const applied: boolean | 'unknown' = error.applied
    void applied
    // @ts-expect-error -- what an error says does not change
    error.retryable = true
    return error.code
  }
  return undefined
}
