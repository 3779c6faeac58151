// Compiled, never run: what stands on the four operations.
import {
  bulkFetch,
  bulkSet,
  bulkSyncCache,
  cacheDelPrefix,
  cacheGet,
  cacheSet,
  createCache,
  createClient,
  createRateLimiter,
  deleteByPattern,
  getCachedData,
  health,
  lookupIterator,
  metrics,
  metricsText,
  rateLimitByIp,
  rateLimitByKey,
  scanIterator,
  setCachedData,
  type BulkRedis,
  type BulkResult,
  type Cache,
  type Health,
  type ItemError,
  type LookupItem,
  type Metrics,
  type PatternDeleteReport,
  type RateLimitResult,
  type RateLimiter,
  type State,
  type StateChange,
} from 'redis-bulk'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
declare function same<A, B>(_: Same<A, B>): void

interface User {
  name: string
}

export async function iterators(source: AsyncIterable<string>, signal: AbortSignal): Promise<void> {
  for await (const keys of scanIterator('a:*', { count: 10, type: 'hash', limit: 5, signal })) same<typeof keys, string[]>(true)
  for await (const batch of lookupIterator('a:', ['1'])) same<typeof batch, LookupItem<string>[]>(true)
  for await (const batch of lookupIterator('a:', source, { as: 'buffer', batchSize: 5 })) same<typeof batch, LookupItem<Buffer>[]>(true)
  for await (const batch of lookupIterator<User>('a:', new Set(['1']), { as: 'json' })) {
    for (const { code, value, error } of batch) {
      same<typeof code, string>(true)
      same<typeof value, User | null>(true)
      same<typeof error, ItemError | undefined>(true)
    }
  }
  // @ts-expect-error -- codes are strings
  lookupIterator('a:', [1, 2])
  // @ts-expect-error -- a single code is a list of one
  lookupIterator('a:', 5)
  // @ts-expect-error -- an iterator gives batches, not keys
  for await (const key of scanIterator('a:*')) key.toUpperCase()
}

export async function services(signal: AbortSignal): Promise<void> {
  const report = await deleteByPattern('a:*', {
    dryRun: true,
    idleSeconds: 60,
    minBytes: 10,
    maxKeysPerSecond: 5,
    count: 5,
    batchSize: 5,
    report: true,
    signal,
  })
  same<typeof report, PatternDeleteReport>(true)
  // @ts-expect-error -- a boolean
  await deleteByPattern('a:*', { dryRun: 'yes' })

  const load = async (missing: string[]) => new Map(missing.map((code): [string, User] => [code, { name: code }]))
  const byMap = await bulkFetch('u:', ['1'], load, { ttl: 5, missTtl: 1, signal })
  same<typeof byMap, Map<string, User>>(true)
  const byObject = await bulkFetch<User>('u:', ['1'], async () => ({ 1: { name: 'Ada' } }))
  same<ReturnType<typeof byObject.get>, User | undefined>(true)
  // @ts-expect-error -- the loader is asynchronous
  await bulkFetch<User>('u:', ['1'], () => new Map())
  // @ts-expect-error -- and gives users
  await bulkFetch<User>('u:', ['1'], async () => ({ 1: 5 }))

  const set = await bulkSet([{ key: 'a', value: 1, ttl: 5 }], { condition: 'xx' })
  same<typeof set, BulkResult>(true)
  const { successful, failed, errors, totalDuration } = await bulkSyncCache([{ key: 'a', value: null }], ['b'], { ttl: 5 })
  same<[typeof successful, typeof failed, typeof errors, typeof totalDuration], [number, number, ItemError[], number]>(true)
  // @ts-expect-error -- entries of pipelineSet have `data`, these have `value`
  await bulkSet([{ key: 'a', data: 1 }])
}

export async function simpleCache(): Promise<void> {
  same<string | null, Awaited<ReturnType<typeof cacheGet>>>(true)
  const stored: boolean = await cacheSet('a', 'text', 5)
  const kept: boolean = await setCachedData('a', { any: 1 })
  const user = await getCachedData<User>('a')
  same<typeof user, User | null>(true)
  const deleted: number = await cacheDelPrefix('a')
  void [stored, kept, deleted]
  // @ts-expect-error -- text only; setCachedData takes data
  await cacheSet('a', { any: 1 })
  // @ts-expect-error -- it may be a miss
  user.name
}

type Middleware = (req: { ip?: string }, res: object, next: (error?: unknown) => void) => void

export async function limits(app: { use(middleware: Middleware): void }): Promise<void> {
  const limiter: RateLimiter = createRateLimiter({ keyPrefix: 'rl:', points: 5, duration: 60, blockDuration: 5 })
  const result: RateLimitResult = await limiter.consume('a', 2)
  void (result.allowed && result.resetMs)
  app.use(rateLimitByIp(limiter))
  app.use(rateLimitByKey(limiter, (req) => req.get('x-key')))
  // @ts-expect-error -- points are needed
  createRateLimiter({ keyPrefix: 'rl:', duration: 60 })
  // @ts-expect-error -- a key is a string
  rateLimitByKey(limiter, () => 5)
}

export async function watching(): Promise<void> {
  const client: BulkRedis = createClient()
  const listener = (change: StateChange): void => {
    same<typeof change.to, State>(true)
  }
  same<BulkRedis, ReturnType<typeof client.on>>(true)
  client.on('state', listener).off('state', listener)
  // @ts-expect-error -- no such event
  client.on('ready', listener)
  const state: Health = await health()
  const numbers: Metrics = metrics()
  same<typeof numbers.hitRatio, number | null>(true)
  const text: string = metricsText() + client.metricsText()
  void [state, text]
}

export async function caches(): Promise<void> {
  const users: Cache<User> = createCache<User>('users', { ttl: 5, codec: 'plain-json', local: { maxEntries: 10 }, compress: false })
  const user = await users.getOrSet('1', async () => ({ name: 'Ada' }))
  same<typeof user, User>(true)
  const maybe = await users.get('1')
  same<typeof maybe, User | undefined>(true)
  // @ts-expect-error -- no such codec
  createCache('users', { codec: 'xml' })
  // @ts-expect-error -- the name of a cache does not change
  users.name = 'other'
}
