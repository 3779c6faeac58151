/// <reference types="node" />

/*
 * redis-bulk: bulk Redis work from Node.js.
 *
 * Units: times are milliseconds where the name ends in `Ms`; a `ttl` is in seconds, fractions kept to the millisecond;
 * sizes are bytes. The full key on the server is `ClientOptions.keyPrefix` + what you pass; keys that are found come
 * without it. Each function also exists as a method of a client of your own: see `createClient`.
 *
 * Names in capitals (SCAN, UNLINK) are command pages at https://redis.io/docs/latest/commands/, where the rule stands.
 */

/* ---------------------------------------------------------------- the four operations */

/**
 * Reads `prefix + code` for every code, in order. A code that occurs twice is answered in both places.
 *
 * A miss is `null`. A key that holds no string is a miss too, as MGET has it; `strategy: 'script'` makes it an item error
 * WRONGTYPE. An empty list gives an empty result and sends nothing.
 *
 * ```js
 * const { results, cacheHits, cacheMisses } = await bulkLookup('user:', ['7', '8'], { as: 'json' })
 * // results [{ name: 'Ada' }, null], cacheHits 1, cacheMisses 1
 * ```
 *
 * Rejects with ConnectionError, TimeoutError or ReplyError where a command as a whole fails (not with `partial`: then
 * its codes are in `errors`), with TypeError or RangeError for wrong arguments, with an AbortError for `signal`. It
 * changes nothing, so it is repeated after a lost connection, at most `retry.attempts` times.
 *
 * @param prefix what all keys begin with, `''` for nothing
 * @param codes the rest of each key
 */
export function bulkLookup(
  prefix: string,
  codes: readonly string[],
  options?: LookupOptions & { as?: 'string' },
): Promise<LookupResult<string>>
export function bulkLookup(
  prefix: string,
  codes: readonly string[],
  options: LookupOptions & { as: 'buffer' },
): Promise<LookupResult<Buffer>>
export function bulkLookup<T = unknown>(
  prefix: string,
  codes: readonly string[],
  options: LookupOptions & { as: 'json' },
): Promise<LookupResult<T>>

/**
 * Writes every entry, each with its own time to live, and says of each one that failed why. Uses pipelined SET, and MSET
 * where no entry has a time to live or a condition. As with any SET, the time to live that a key had is discarded.
 *
 * ```js
 * const { written, errors } = await pipelineSet([{ key: 'user:7', data: { name: 'Ada' }, ttl: 60 }])
 * ```
 *
 * Entries with equal keys are written in order: the last one stays. Rejects where nothing was sent (wrong arguments, no
 * connection, closed); once anything was sent it resolves, and the result accounts for each entry. Plain writes are repeated
 * after a lost connection; those with a `condition` are not, and are reported with `applied: 'unknown'`.
 */
export function pipelineSet(entries: readonly SetEntry[], options?: SetOptions): Promise<SetResult>

/**
 * Every key that matches the glob, each once, found with SCAN (never KEYS).
 *
 * ```js
 * const keys = await scanAll('user:*', 1000)
 * const lists = await scanAll('queue:*', { type: 'list', limit: 10 })
 * ```
 *
 * A key that is there from the start to the end is found; one that comes or goes meanwhile may be or not (SCAN). A key that
 * is not valid UTF-8 comes with U+FFFD in place of what is not. All keys are held in memory: `scanIterator` gives them
 * batch by batch.
 *
 * @param pattern Redis glob (KEYS): `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, and `\` before a character that means itself
 * @param countOrOptions a number is the option `count`
 */
export function scanAll(pattern: string, countOrOptions?: number | ScanOptions): Promise<string[]>

/**
 * Deletes keys in batches with UNLINK, with DEL where the server has no UNLINK. Resolves to how many of them existed.
 *
 * ```js
 * const deleted = await batchDelete(keys, 500)
 * const { existed } = await batchDelete(keys, { report: true })
 * ```
 *
 * A batch that fails does not stop the later ones. Without `report` the call then rejects at the end with a BulkError that
 * carries the DeleteReport; with `report: true` it resolves to it. The number that UNLINK returns cannot be had twice: a
 * batch whose answer was lost is not sent again, its keys are reported with `applied: 'unknown'`.
 *
 * @param batchSizeOrOptions a number is the option `batchSize`
 */
export function batchDelete(keys: readonly string[], batchSizeOrOptions?: number | (DeleteOptions & { report?: false })): Promise<number>
export function batchDelete(keys: readonly string[], options: DeleteOptions & { report: true }): Promise<DeleteReport>

/** What every call takes. */
export interface CallOptions {
  /**
   * Deadline for the whole call, connecting and waiting for room included. Default: none; each server round trip then has
   * the client's `commandTimeoutMs`. When it is over the call rejects with a TimeoutError, code TIMEOUT. An iterator has it
   * for each batch, since the time in between is the consumer's.
   */
  timeoutMs?: number
  /**
   * Rejects the call at once with a DOMException named AbortError. What is not sent yet stays unsent; what was sent may
   * still take effect.
   */
  signal?: AbortSignal
}

/** Options of `bulkLookup` and `lookupIterator`. */
export interface LookupOptions extends CallOptions {
  /**
   * `'string'` (default) decodes UTF-8 as `Buffer.toString()` does. `'json'` parses; what is not JSON is an item error
   * INVALID_JSON. `'buffer'` gives the exact bytes.
   */
  as?: 'string' | 'json' | 'buffer'
  /**
   * `'mget'` (default): pipelined MGET. `'script'`: a Lua script, called by its SHA (EVALSHA) and loaded again by itself
   * after SCRIPT FLUSH; it tells a key of another type (item error WRONGTYPE) from a missing one.
   */
  strategy?: 'mget' | 'script'
  /** Keys in one server command, from 1. Default: chosen by count and bytes. In `lookupIterator`: codes in one batch, 1000. */
  batchSize?: number
  /**
   * At the deadline, or when a node fails, resolve with what has arrived; the rest is in `errors`. Default false: reject.
   */
  partial?: boolean
}

/** What `bulkLookup` resolves to. */
export interface LookupResult<T> {
  /** One place for each code, in order; null for a miss and for an item that is in `errors`. */
  results: (T | null)[]
  /** Codes with a value. A stored JSON `null` is a hit. */
  cacheHits: number
  /** Codes without. */
  cacheMisses: number
  /** Codes that are neither. `cacheHits + cacheMisses + errors.length === codes.length`. */
  errors: ItemError[]
}

/** One entry of `pipelineSet`. */
export interface SetEntry {
  /** The key without the client's `keyPrefix`. */
  key: string
  /**
   * string, Buffer and Uint8Array are stored as they are; everything else as `JSON.stringify` writes it. What has no JSON
   * form (a cycle, a BigInt, a function, undefined) is an item error INVALID_DATA.
   */
  data: unknown
  /** Seconds; fractions are kept to the millisecond. Left out: `SetOptions.ttl`, else no expiry. */
  ttl?: number
}

/** Options of `pipelineSet`, `bulkSet` and `bulkSyncCache`. */
export interface SetOptions extends CallOptions {
  /** Seconds, for entries without a time to live of their own. Default: no expiry. */
  ttl?: number
  /** Write only where the key is absent (`nx`) or present (`xx`); a refusal is an item error NOT_SET. Default: always write. */
  condition?: 'nx' | 'xx'
  /** Entries in one chunk of the pipeline, from 1. Default: chosen by count and bytes. */
  batchSize?: number
}

/** What `pipelineSet` resolves to. */
export interface SetResult {
  /** `failed === 0`. */
  success: boolean
  /** Entries that were written. `written + failed === entries.length`. */
  written: number
  /** Entries that are in `errors`. */
  failed: number
  /** One for each entry that was not written, or of which nobody knows. */
  errors: ItemError[]
  /** From the call to the last answer. */
  durationMs: number
}

/** Options of `scanAll` and `scanIterator`. */
export interface ScanOptions extends CallOptions {
  /** The COUNT hint: how much of its table the server walks in one step. Default 1000. */
  count?: number
  /** Only keys that hold this type; the server filters (Redis 6.0 and later). Default: any. */
  type?: 'string' | 'list' | 'set' | 'zset' | 'hash' | 'stream'
  /** Stop when this many keys are found. Default: none. */
  limit?: number
  /** Called after each step of the scan. */
  onProgress?: (progress: Progress) => void
}

/** Options of `batchDelete`. */
export interface DeleteOptions extends CallOptions {
  /** Keys in one UNLINK, from 1. Default: chosen. */
  batchSize?: number
  /** Resolve to a report also where keys failed. Default false. */
  report?: boolean
  /** Called after each batch. */
  onProgress?: (progress: Progress) => void
}

/** What became of the keys of a `batchDelete`. */
export interface DeleteReport {
  /** Keys that existed and are gone. */
  deleted: number
  /** Keys that are in `errors`. */
  failed: number
  errors: ItemError[]
  /** With `report: true`: for each key whether it was there. Empty in the report of a BulkError. */
  existed: boolean[]
  /** From the call to the last answer. */
  durationMs: number
}

/** How far a call has come. No number in it ever becomes smaller. */
export interface Progress {
  /** Keys looked at. */
  scanned: number
  /** Keys found, or deleted. */
  done: number
  /** Keys in all, where that is known. */
  total?: number
  /** Since the call. */
  elapsedMs: number
}

/** Why one item of a bulk call failed. */
export interface ItemError {
  /** Its place in what was passed. */
  index: number
  /** The key as it was passed: prefix + code for a look-up. */
  key: string
  /** The server's own code (OOM, WRONGTYPE, NOPERM, READONLY, …) or one of ErrorCode. */
  code: string
  /** In words, for people. */
  message: string
  /** Whether the same item may succeed later without a change. */
  retryable: boolean
  /** Whether the server carried it out: `'unknown'` where it was sent and the answer was lost. */
  applied: boolean | 'unknown'
}

/* ---------------------------------------------------------------- more bulk work */

/**
 * The keys as they are found, batch by batch, in bounded memory. Leaving the loop early stops the scan.
 *
 * ```js
 * for await (const keys of scanIterator('session:*')) console.log(keys.length)
 * ```
 *
 * One step of the scan is under way while you work on the last. A key comes once in a batch; SCAN may name it again in a
 * later one, and remembering all keys to prevent that would not be bounded: use `scanAll` where each may come only once.
 */
export function scanIterator(pattern: string, options?: ScanOptions): AsyncIterable<string[]>

/**
 * The values as they arrive, batch by batch, for more codes than fit in memory. The codes may come from an array, a
 * generator or an async iterable. They are read only while the consumer waits: of a sync iterable one batch ahead, so that
 * it is looked up meanwhile; of an async iterable none. Leaving the loop early closes the source.
 *
 * ```js
 * for await (const batch of lookupIterator('user:', codesFromFile(), { as: 'json', batchSize: 500 })) {
 *   for (const { code, value } of batch) if (value === null) console.log('no user', code)
 * }
 * ```
 *
 * Rejects as `bulkLookup` does. An item that failed by itself (INVALID_JSON, WRONGTYPE; with `partial` any) has `value: null` and
 * its `error`, whose `index` counts from the first code of the source.
 */
export function lookupIterator(
  prefix: string,
  codes: Iterable<string> | AsyncIterable<string>,
  options?: LookupOptions & { as?: 'string' },
): AsyncIterable<LookupItem<string>[]>
export function lookupIterator(
  prefix: string,
  codes: Iterable<string> | AsyncIterable<string>,
  options: LookupOptions & { as: 'buffer' },
): AsyncIterable<LookupItem<Buffer>[]>
export function lookupIterator<T = unknown>(
  prefix: string,
  codes: Iterable<string> | AsyncIterable<string>,
  options: LookupOptions & { as: 'json' },
): AsyncIterable<LookupItem<T>[]>
export function lookupIterator(
  prefix: string,
  codes: Iterable<string> | AsyncIterable<string>,
  options?: LookupOptions,
): AsyncIterable<LookupItem<unknown>[]>

/** One code of a `lookupIterator`. */
export interface LookupItem<T> {
  code: string
  /** null for a miss and where there is an `error`. */
  value: T | null
  /** Why there is no value, where it is not a miss. */
  error?: ItemError
}

/**
 * Finds keys with SCAN and deletes them in one pass, in bounded memory. Never KEYS.
 *
 * ```js
 * const { matched } = await deleteByPattern('tmp:*', { dryRun: true })
 * const { deleted } = await deleteByPattern('tmp:*', { idleSeconds: 86_400, maxKeysPerSecond: 5000 })
 * ```
 *
 * Where keys failed it rejects at the end with a BulkError that carries the exact PatternDeleteReport; with `report: true` it
 * resolves to it. Where the scan itself breaks off it always rejects: with the error itself when nothing was done yet, else
 * with a BulkError with report and `cause`. An abort rejects with an AbortError that has the PatternDeleteReport in its property
 * `report`; to be exact it waits for the answers under way, at most 250 ms, and counts keys without an answer as failed, with
 * `applied: 'unknown'`. What `onProgress` throws the call rejects with; an Error gets the PatternDeleteReport as its property
 * `report`, unless it is frozen or has a property of that name already. It gives up after 1000 keys that failed in a row, so
 * that `errors` stays bounded.
 *
 * A key that is not valid UTF-8 cannot be named by a string: it is an item error INVALID_DATA. The
 * embedded store (`memory:`) has neither idle times nor sizes to filter by: either option is INVALID_ARGUMENT there.
 */
export function deleteByPattern(pattern: string, options?: PatternDeleteOptions): Promise<PatternDeleteReport>

/** Options of `deleteByPattern`. */
export interface PatternDeleteOptions extends DeleteOptions {
  /** The COUNT hint. Default 1000. */
  count?: number
  /** Delete nothing; the report's `matched` says how many keys would be deleted. Default false. */
  dryRun?: boolean
  /** Only keys that nobody touched for at least this long (OBJECT IDLETIME; not with an LFU eviction policy). Default: any. */
  idleSeconds?: number
  /** Only keys that take at least this much memory (MEMORY USAGE). Default: any. */
  minBytes?: number
  /** Most keys that match the pattern and are taken on in one second. Default: as fast as the server answers. */
  maxKeysPerSecond?: number
}

/** What became of the keys of a `deleteByPattern`. */
export interface PatternDeleteReport {
  /**
   * Keys that the scan found: what is deleted, once; what stays (in a dry run, or by a filter) perhaps twice, as SCAN may name it
   * again while the server's table shrinks.
   */
  scanned: number
  /** Of those, keys that passed `idleSeconds` and `minBytes`. */
  matched: number
  /** Keys that existed and are gone; 0 in a dry run. */
  deleted: number
  /** Keys that are in `errors`. */
  failed: number
  /** `index` counts the keys in the order in which they were found. */
  errors: ItemError[]
  dryRun: boolean
  durationMs: number
}

/**
 * Looks up, loads only what is missing with ONE call of `loader`, writes that back, and returns all. Calls that miss the same
 * code at once, in one process and on one client, share one load, with the options of the first.
 *
 * ```js
 * const users = await bulkFetch('user:', ['7', '8'], (missing) => db.usersById(missing), { ttl: 300, missTtl: 30 })
 * users.get('7') // { name: 'Ada' }; what exists nowhere is not in the map
 * ```
 *
 * Values are stored as JSON, strings too: a value from the cache is what JSON keeps of it. A stored value that is not JSON is
 * loaded anew. A value without a JSON form is returned and not stored, with a process warning. An error of the loader rejects
 * all who share it and is not remembered. A look-up that fails rejects and the loader is not called; a write that fails does
 * not: the values are there. An abort or deadline of one caller leaves the shared load to the others.
 *
 * @param loader gets the missing codes, each once, and gives a Map or an object by code; what it leaves out (or gives as
 *   undefined) does not exist. Codes that nobody asked for are ignored.
 * @param options `ttl`: seconds for loaded values, default no expiry. `missTtl`: seconds for which a code that the loader left
 *   out is not asked for again, default not at all.
 */
export function bulkFetch<T>(
  prefix: string,
  codes: readonly string[],
  loader: (missing: string[]) => Promise<Map<string, T> | Record<string, T>>,
  options?: { ttl?: number; missTtl?: number } & CallOptions,
): Promise<Map<string, T>>

/**
 * `pipelineSet` under the names that services use: `value` for `data`, and a result that counts successes.
 *
 * ```js
 * const { successful, failed } = await bulkSet([{ key: 'rate:EUR', value: 1.08, ttl: 3600 }])
 * ```
 */
export function bulkSet(items: readonly { key: string; value: unknown; ttl?: number }[], options?: SetOptions): Promise<BulkResult>

/**
 * Writes `updates` and deletes `deletions` in one pipelined pass, as at the start of a service that brings a cache up to date.
 *
 * ```js
 * await bulkSyncCache(products.map((p) => ({ key: `product:${p.id}`, value: p })), orphans, { ttl: 3600 })
 * ```
 *
 * A deletion succeeds also where the key was not there. A key must not be in both lists: that is INVALID_ARGUMENT. Rejects
 * where nothing was sent; else each item that failed is in `errors`.
 */
export function bulkSyncCache(
  updates: readonly { key: string; value: unknown; ttl?: number }[],
  deletions: readonly string[],
  options?: SetOptions,
): Promise<BulkResult>

/** What `bulkSet` and `bulkSyncCache` resolve to. */
export interface BulkResult {
  /** Items that were written or deleted. `successful + failed` is the number of all items. */
  successful: number
  failed: number
  /** `index` counts the updates, then the deletions. */
  errors: ItemError[]
  /** Milliseconds from the call to the last answer. */
  totalDuration: number
}

/* ---------------------------------------------------------------- connection */

/**
 * Sets the configuration of the default client, which the functions of this package use. Without it everything comes from the
 * environment.
 *
 * ```js
 * configure({ url: 'redis://localhost:6379/2', keyPrefix: 'shop:' })
 * ```
 *
 * Throws ConfigError: ALREADY_CONNECTED after the first command (and before `close()`), INVALID_CONFIG with the name of the option
 * or variable that cannot be used.
 */
export function configure(options: ClientOptions): void

/**
 * Connects now instead of at the first command, so that a wrong address or password shows at the start. Also opens the default
 * client again after `close()`.
 *
 * ```js
 * await connect()
 * ```
 *
 * Rejects with ConnectionError or TimeoutError.
 */
export function connect(): Promise<void>

/**
 * Waits for what is in flight, at most `commandTimeoutMs`, and rejects what then remains; then closes. Twice is fine. Later
 * calls reject with CLOSED until `connect()`. A process may also end without it: an idle client keeps none alive.
 *
 * ```js
 * process.once('SIGTERM', () => void close())
 * ```
 */
export function close(): Promise<void>

/**
 * The same operations on a server of its own. Clients with an equal configuration share a connection.
 *
 * ```js
 * await using sessions = createClient({ url: 'redis://sessions:6379' })
 * await sessions.bulkLookup('session:', ids)
 * ```
 *
 * Throws ConfigError with the name of the option or variable that cannot be used.
 */
export function createClient(options?: ClientOptions): BulkRedis

/** A client of your own. Its operations are those of the package; `await using` closes it. */
export interface BulkRedis extends AsyncDisposable {
  bulkLookup: typeof bulkLookup
  pipelineSet: typeof pipelineSet
  scanAll: typeof scanAll
  batchDelete: typeof batchDelete
  scanIterator: typeof scanIterator
  lookupIterator: typeof lookupIterator
  deleteByPattern: typeof deleteByPattern
  bulkFetch: typeof bulkFetch
  bulkSet: typeof bulkSet
  bulkSyncCache: typeof bulkSyncCache
  cacheGet: typeof cacheGet
  cacheSet: typeof cacheSet
  cacheDelPrefix: typeof cacheDelPrefix
  getCachedData: typeof getCachedData
  setCachedData: typeof setCachedData
  createCache: typeof createCache
  createRateLimiter: typeof createRateLimiter
  /**
   * Any other command, its arguments as they are: keys are full keys, without the client's `keyPrefix`.
   *
   * ```js
   * await client.sendCommand(['INCRBY', 'visits', 2]) // 7
   * ```
   *
   * Replies come as strings (UTF-8; what is not has U+FFFD in its place), numbers, arrays and null; whole numbers beyond 2^53 as
   * strings.
   * Commands that change or block the shared connection (SELECT, MULTI, SUBSCRIBE, BLPOP, …) are refused with INVALID_ARGUMENT.
   * Nothing is assumed of the command, so it is never sent twice after a lost connection.
   */
  sendCommand(args: readonly (string | Buffer | number)[], options?: CallOptions): Promise<unknown>
  /** Connects now; opens the client again after `close()`. */
  connect(): Promise<void>
  /** Waits for what is in flight, at most `commandTimeoutMs`, then closes. Twice is fine. */
  close(): Promise<void>
  /** Measures and describes the server. Never rejects because the server is away: that is `status: 'down'`. */
  health(): Promise<Health>
  /** What was done since the client was made. */
  metrics(): Metrics
  /** `metrics()` in the Prometheus text format. */
  metricsText(): string
  /**
   * Calls `listener` after every change of state. What a listener throws reaches the process as an uncaught exception and
   * keeps no other listener from being called. Adding one twice calls it once.
   *
   * ```js
   * client.on('state', ({ from, to, reason }) => console.log(`${from} -> ${to}`, reason ?? ''))
   * ```
   */
  on(event: 'state', listener: (state: StateChange) => void): this
  /** Takes a listener off again. */
  off(event: 'state', listener: (state: StateChange) => void): this
}

/**
 * Where the server is and how to talk to it. What is left out comes from the environment: first the address from `REDIS_URL` or
 * `KV_URL`; else `REDIS_CLUSTER_NODES` or `REDIS_CLUSTER=true`; else `REDIS_SENTINELS` with `REDIS_SENTINEL_MASTER`; else
 * `UPSTASH_REDIS_REST_URL` with `UPSTASH_REDIS_REST_TOKEN`; else `REDIS_HOST`, `REDIS_PORT`. Each option below names its variable.
 * A value that cannot be read is a ConfigError that names it; no message holds a password.
 */
export interface ClientOptions {
  /**
   * `redis://user:password@host:port/db`, `rediss://` (TLS), `redis+unix://`, `memory:` (the embedded store) or `disabled` (every
   * call rejects with DISABLED). Overrides host, port, and so on. Variables: `REDIS_URL`, `KV_URL`.
   */
  url?: string
  /** Default `localhost`. Variable: `REDIS_HOST`. */
  host?: string
  /** Default 6379. Variable: `REDIS_PORT`. */
  port?: number
  /** ACL user. Variable: `REDIS_USERNAME`. */
  username?: string
  /** Stands in no error, log or inspection. Variable: `REDIS_PASSWORD`. */
  /**
   * Or a function that gives it, for each connection anew: for tokens that expire (IAM). It goes before a password in a URL or in
   * the environment. What it throws is an `AUTH` error with that as `cause`; it has until `connectTimeoutMs`. Clients with
   * the same function and otherwise equal options share a connection.
   */
  password?: string | (() => string | Promise<string>)
  /** Database number, default 0. Variable: `REDIS_DB`. */
  db?: number
  /**
   * Default false. Variable: `REDIS_TLS`. With `true` the system's CAs are trusted; `ca` names others, `cert` and `key` (PEM)
   * show a client certificate, `servername` is the name to check. `rejectUnauthorized: false` accepts any certificate.
   */
  tls?: boolean | { ca?: string | Buffer; cert?: string | Buffer; key?: string | Buffer; servername?: string; rejectUnauthorized?: boolean }
  /**
   * A Redis Cluster, found through any of `nodes` (`host:port`). Variables: `REDIS_CLUSTER_NODES` (comma separated),
   * `REDIS_CLUSTER=true` with an address.
   */
  cluster?: {
    nodes: readonly string[]
    /** Who answers look-ups. `replica`: a connected replica of the slot, else its primary. Default `primary`. */
    readFrom?: 'primary' | 'replica'
    /** Where nodes announce addresses that cannot be reached from here: announced `host:port` to the `host:port` to use. */
    natMap?: Readonly<Record<string, string>>
    /** How old the knowledge of the cluster may become while it is in use. Default 60000. */
    refreshIntervalMs?: number
  }
  /**
   * The primary `master` that these sentinels know; `username` and `password` are those of the sentinels. Variables:
   * `REDIS_SENTINELS` (comma separated), `REDIS_SENTINEL_MASTER`.
   */
  sentinel?: { nodes: readonly string[]; master: string; username?: string; password?: string }
  /** Upstash over HTTPS. Variables: `UPSTASH_REDIS_REST_URL`, `UPSTASH_REDIS_REST_TOKEN`. */
  upstash?: { url: string; token: string }
  /** Goes before every key and pattern, comes off every key found. Default none. Variable: `REDIS_KEY_PREFIX`. */
  keyPrefix?: string
  /** What CLIENT LIST shows. Default none. */
  clientName?: string
  /** Longest wait for a usable connection. Default 10000. Variable: `REDIS_CONNECTION_TIMEOUT_MS`. */
  connectTimeoutMs?: number
  /** Longest wait for one server round trip. Default 5000. Variable: `REDIS_COMMAND_TIMEOUT_MS`. */
  commandTimeoutMs?: number
  /** TCP keep-alive. Default 30000. */
  keepAliveMs?: number
  /**
   * Attempts for one call whose outcome is safe to repeat (default 3, variable `REDIS_RETRY_ATTEMPTS`), the first included.
   * Between them exponential pauses with jitter: from `baseDelayMs` (50), at most `maxDelayMs` (2000) apart.
   */
  retry?: { attempts?: number; baseDelayMs?: number; maxDelayMs?: number }
  /**
   * Bytes of requests and replies that may wait in memory. Calls beyond it wait for room, then reject with OVERLOADED. Default
   * 64 MiB.
   */
  maxBufferedBytes?: number
  /**
   * Serve from the embedded store while the server is away, for caches: what the server held before is a miss meanwhile. What was
   * written and deleted is brought over when it is back, before anything else. Default false. Variable: `REDIS_ENABLE_FALLBACK`.
   * `maxBytes` (64 MiB) and `maxEntries` (none) bound the store; what is to be brought over takes as many bytes again at most. For
   * `memory:` they are the limits of the store. docs/fallback.md says what becomes of each call.
   */
  fallback?: boolean | { maxBytes?: number; maxEntries?: number }
  /**
   * Fail at once, with CIRCUIT_OPEN, after `failures` (5) consecutive connection failures, for `openMs` (10000); then one call
   * tries. A call that failed after its repetitions is one failure, and so are several that failed together. false: off.
   */
  circuitBreaker?: boolean | { failures?: number; openMs?: number }
  /** File of environment variables, e.g. `'.env.production'`. Those that the process has itself stand above it. Default none. */
  envFile?: string
}

/**
 * Measures and describes the default client's server.
 *
 * ```js
 * app.get('/health', async (req, res) => res.json(await health()))
 * ```
 *
 * Never rejects because the server is away: that is `status: 'down'`, after at most `connectTimeoutMs`.
 */
export function health(): Promise<Health>

/** What `health()` resolves to. */
export interface Health {
  /** `degraded`: served, but not as configured (a node away, or from the embedded store). */
  status: 'up' | 'degraded' | 'down' | 'disabled'
  mode: 'standalone' | 'sentinel' | 'cluster' | 'upstash' | 'memory'
  state: State
  /** One round trip; null where none was possible. */
  latencyMs: number | null
  /** What the server says of itself: `{ version: '7.2.4', flavour: 'redis' }`. */
  server: { version: string; flavour: string } | null
  nodes: { address: string; role: 'primary' | 'replica'; up: boolean }[]
  /** What the circuit breaker does with calls: lets them through, refuses them, lets one try. */
  breaker: 'closed' | 'open' | 'half-open'
  /** Where the next command would be answered. */
  servedFrom: 'redis' | 'memory'
}

/**
 * State of the connection. `idle`: not needed so far. `fallback`: the embedded store answers. `closed`: until `connect()`.
 */
export type State = 'idle' | 'connecting' | 'ready' | 'reconnecting' | 'fallback' | 'closed'

/** What a listener for `state` gets. */
export interface StateChange {
  from: State
  to: State
  /** Why, where there is a reason to tell. */
  reason?: string
  /** Milliseconds since 1970, as `Date.now()`. */
  at: number
}

/** What the default client did since it was made. */
export function metrics(): Metrics

/**
 * `metrics()` in the Prometheus text format, every name beginning with `redis_bulk_`. Serve it as
 * `text/plain; version=0.0.4; charset=utf-8`.
 *
 * ```js
 * app.get('/metrics', (req, res) => res.type('text/plain; version=0.0.4').send(metricsText()))
 * ```
 */
export function metricsText(): string

/** Counters and latencies. */
export interface Metrics {
  /** Calls that have settled. */
  commands: number
  /** Keys and entries that were passed. */
  items: number
  /** Looked-up keys that were there. */
  hits: number
  /** Looked-up keys that were not. */
  misses: number
  /** hits / (hits + misses), from 0 to 1; null before the first look-up. */
  hitRatio: number | null
  /** By code: failures of calls and of items. */
  errors: Record<string, number>
  /** Repetitions after a failure. */
  retries: number
  /** Connections made again after one was lost. */
  reconnects: number
  bytesSent: number
  bytesReceived: number
  /** Bytes of requests and replies that wait in memory now. */
  bufferedBytes: number
  /** Calls that have not settled yet. */
  inFlight: number
  /** By operation: calls, their latencies added up, and the distribution of these. */
  latencyMs: Record<string, { count: number; sum: number; p50: number; p95: number; p99: number; max: number }>
}

/* ---------------------------------------------------------------- cache */

/**
 * The text under `key`; null for a miss, and also where the read failed, which `metrics().errors` counts.
 *
 * ```js
 * const page = (await cacheGet(`page:${url}`)) ?? (await render(url))
 * ```
 *
 * Rejects for a wrong argument only.
 */
export function cacheGet(key: string): Promise<string | null>

/**
 * Writes text with one atomic SET with expiry. False where the write failed, which `metrics().errors` counts.
 *
 * ```js
 * await cacheSet(`page:${url}`, html, 60)
 * ```
 *
 * Rejects for a wrong argument only.
 *
 * @param ttl seconds, default 30
 */
export function cacheSet(key: string, value: string, ttl?: number): Promise<boolean>

/**
 * Deletes every key that begins with `prefix`, in one pass of SCAN and UNLINK. The prefix means itself: a `*` in it is a star.
 * Resolves to how many keys are gone.
 *
 * ```js
 * await cacheDelPrefix('page:/blog/')
 * ```
 *
 * A failure rejects, as in `deleteByPattern`: stale entries that were not deleted must not look like success. An empty prefix, which
 * would delete everything, is INVALID_ARGUMENT.
 */
export function cacheDelPrefix(prefix: string): Promise<number>

/**
 * The data that `setCachedData` wrote; null for a miss, and also where the read failed or the stored text is not JSON, which
 * `metrics().errors` counts.
 *
 * ```js
 * const user = await getCachedData<User>('user:7')
 * ```
 *
 * Rejects for a wrong argument only.
 */
export function getCachedData<T = unknown>(key: string): Promise<T | null>

/**
 * Writes data as JSON, strings too, with one atomic SET with expiry. False where the write failed, which `metrics().errors` counts.
 *
 * ```js
 * await setCachedData('user:7', { name: 'Ada' }, 300)
 * ```
 *
 * Rejects for a wrong argument only; data without a JSON form (a cycle, a BigInt, undefined) is one.
 *
 * @param ttl seconds, default 30
 */
export function setCachedData(key: string, data: unknown, ttl?: number): Promise<boolean>

/**
 * A named cache of values. Make it once and share it.
 *
 * ```js
 * const users = createCache<User>('users', { ttl: 300, maxEntries: 100_000 })
 * const user = await users.getOrSet('7', () => db.user('7'))
 * ```
 *
 * A read that fails is a miss, a write that fails is none; both are counted in `stats().errors` and `metrics().errors` and told on the
 * diagnostics channel. Wrong arguments reject, values without a stored form (INVALID_DATA), and failed deletions: stale entries
 * that are still there must not look like success. Throws TypeError or RangeError for wrong options.
 *
 * @param name part of every key, `cache:{name}:v{version}:{id}`: the entry 42 of `users` is `cache:users:v1:42`. No part of it
 *   between colons may look like a version (`v1`).
 */
export function createCache<T = unknown>(name: string, options?: CacheOptions): Cache<T>

/** Options of `createCache`. */
export interface CacheOptions {
  /** Seconds that an entry lives. Default: no expiry. */
  ttl?: number
  /** Part of every key, so that raising it leaves all older entries behind. Whole number from 1, default 1. */
  version?: number
  /**
   * `'json'` (default): JSON that keeps Date, Map, Set, BigInt, undefined, NaN, the infinities, -0, Buffer and Uint8Array as what they
   * were; what has a `toJSON` is stored as that. Objects become plain ones. Functions, symbols, cycles and other types are refused.
   * `'plain-json'`: JSON as it is. `'raw'`: strings and Buffers as they are; only bytes that could be taken for text get one
   * byte in front. Or a codec of your own, whose `decode` gets the bytes that `encode` made.
   */
  codec?: 'json' | 'plain-json' | 'raw' | { encode(value: unknown): string | Buffer; decode(stored: Buffer): unknown }
  /**
   * Compress values of at least `minBytes` (default 1024), off the JavaScript thread, with `lz4` (default) or `zstd`. Values from before it
   * was switched on or off are still read. Default: off.
   */
  compress?: false | { algorithm?: 'lz4' | 'zstd'; minBytes?: number }
  /**
   * A bounded in-process copy in front of the server: `maxEntries` (default 10,000), `maxBytes` (default 32 MiB). What another process
   * writes is seen when the server tells of it (one server from Redis 6 on, over one more connection), else when `ttl` seconds are over: default 60
   * where changes are told, 5 where they are not. Default: off.
   */
  local?: false | { maxEntries?: number; maxBytes?: number; ttl?: number }
  /** Evict the least recently used entries beyond this many. Access times and hit counts are written in batches. Default: none. */
  maxEntries?: number
  /**
   * Seconds for which `getOrSet` and `getOrSetMany` go on serving a value whose `ttl` is over, while a fresh one is loaded. For `get` and `has`
   * it is gone. Default: not at all.
   */
  staleWhileRevalidate?: number
  /** Milliseconds between two writes of access times and hit counts. Default 5000. */
  flushIntervalMs?: number
  /** Milliseconds after which a load whose process died is taken on by another. A living process renews its lock. Default 5000. */
  lockMs?: number
}

/** A named cache. */
export interface Cache<T> {
  readonly name: string
  /** The value; undefined for a miss, and where the read failed. */
  get(id: string): Promise<T | undefined>
  /**
   * Resolves when it is written, or the write has failed and is counted. Rejects for a value without a stored form (INVALID_DATA).
   *
   * @param ttl seconds, default `CacheOptions.ttl`
   */
  set(id: string, value: T, ttl?: number): Promise<void>
  /** Whether there is a value, which may be undefined. */
  has(id: string): Promise<boolean>
  /** Whether it was there. Rejects where it could not be deleted. */
  delete(id: string): Promise<boolean>
  /** In the order of the ids, with one look-up. */
  getMany(ids: readonly string[]): Promise<(T | undefined)[]>
  /** With one bulk write; the account of `pipelineSet`, which rejects where nothing was sent. */
  setMany(entries: readonly { id: string; value: T; ttl?: number }[]): Promise<SetResult>
  /** How many were there. Rejects with a BulkError where some could not be deleted. */
  deleteMany(ids: readonly string[]): Promise<number>
  /**
   * Value from the cache, else from `load`: one load for all who ask at once in this process, and, by a lock on the server, in
   * others. An error of `load` rejects all who wait for it and is not remembered. Without a server `load` is called all the same.
   */
  getOrSet(id: string, load: () => Promise<T>, ttl?: number): Promise<T>
  /**
   * The same for many, with one call of `load` for all ids that are missing and that nobody in this process loads yet. There is no
   * lock for other processes. What `load` leaves out is not in the result.
   */
  getOrSetMany(ids: readonly string[], load: (missing: string[]) => Promise<Map<string, T>>, ttl?: number): Promise<Map<string, T>>
  /** The ids of all entries, found with SCAN: one that is there all along comes at least once. */
  keys(): AsyncIterable<string>
  /** Number of entries, by the account kept beside them: one command, no scan. */
  size(): Promise<number>
  /** Deletes every entry of this name and version, and nothing else; how many there were. Rejects where some could not be deleted. */
  clear(): Promise<number>
  /**
   * With `maxEntries`: how often an entry was found since it was written, by all processes as far as they have written it down, and when it was
   * last written or found, in milliseconds since 1970. Undefined where there is none.
   */
  usage(id: string): Promise<{ hits: number; lastUsedAt: number } | undefined>
  /** What this object did since it was made. */
  stats(): { hits: number; misses: number; sets: number; deletes: number; evictions: number; errors: number; hitRatio: number | null }
  /** Writes what waits to be written and stops; later calls reject with CLOSED. `close()` of the client writes it too. */
  close(): Promise<void>
}

/* ---------------------------------------------------------------- rate limiting */

/**
 * A limit of `points` in each window of `duration` seconds, shared by all processes: a fixed window for each id, which begins
 * with its first call, by the server's clock.
 *
 * ```js
 * const limiter = createRateLimiter({ keyPrefix: 'limit:login:', points: 5, duration: 60, blockDuration: 300 })
 * const { allowed, resetMs } = await limiter.consume(user)
 * ```
 *
 * A call is all or nothing: one that does not fit is refused and takes no points. While the server surely counts nothing (no
 * connection, so that nothing was sent; LOADING, OOM and other passing refusals), where Redis is switched off and on `memory:` the
 * same limit is kept in process. Throws TypeError or RangeError for wrong options.
 *
 * @param options `keyPrefix`: the key is `keyPrefix + id`. `points`: whole number from 1. `duration`: seconds. `blockDuration`: seconds
 *   for which an id is refused after its first refusal, default: until the window ends.
 */
export function createRateLimiter(options: { keyPrefix: string; points: number; duration: number; blockDuration?: number }): RateLimiter

/** Counts calls by id. */
export interface RateLimiter {
  /**
   * Takes `points` (default 1) with one atomic script on the server (EVALSHA). No call is ever counted twice: where the answer
   * was lost it rejects with that error, `applied: 'unknown'`. Resolves also when refused.
   */
  consume(id: string, points?: number): Promise<RateLimitResult>
  /** How things stand, without taking anything. `allowed`: whether one more point would be. */
  get(id: string): Promise<RateLimitResult>
  /** Forgets what was counted for the id, a block too. */
  reset(id: string): Promise<void>
}

/** How an id stands. */
export interface RateLimitResult {
  allowed: boolean
  /** The limiter's `points`. */
  limit: number
  /** Points left in this window; 0 while blocked. */
  remaining: number
  /** Points taken in this window. */
  consumed: number
  /** Until the window or the block ends; 0 where none has begun. */
  resetMs: number
}

/**
 * Middleware for Express 4 and 5 and Connect that limits by `req.ip` (behind a proxy: as Express's `trust proxy` says), where there
 * is none by the address of the socket.
 *
 * Sets `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset` (seconds), as the IETF draft "RateLimit header fields for
 * HTTP" has them, answers 429 with `Retry-After` (RFC 6585, RFC 9110) when refused, and passes an error of the limiter to `next`.
 *
 * ```js
 * app.use('/login', rateLimitByIp(limiter))
 * ```
 */
export function rateLimitByIp(limiter: RateLimiter): (req: unknown, res: unknown, next: (error?: unknown) => void) => void

/**
 * The same by a key of the request. What `keyOf` throws goes to `next`.
 *
 * ```js
 * app.use('/api', rateLimitByKey(limiter, (req) => req.get('x-api-key') ?? 'anonymous'))
 * ```
 */
export function rateLimitByKey(
  limiter: RateLimiter,
  keyOf: (req: any) => string,
): (req: unknown, res: unknown, next: (error?: unknown) => void) => void

/* ---------------------------------------------------------------- errors */

/** Codes of the package itself; a ReplyError has the server's own. */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'INVALID_CONFIG'
  | 'INVALID_DATA'
  | 'INVALID_JSON'
  | 'ALREADY_CONNECTED'
  | 'CLOSED'
  | 'DISABLED'
  | 'CONNECTION_REFUSED'
  | 'CONNECTION_LOST'
  | 'CONNECT_TIMEOUT'
  | 'TIMEOUT'
  | 'TLS'
  | 'AUTH'
  | 'PROTOCOL'
  | 'CIRCUIT_OPEN'
  | 'OVERLOADED'
  | 'NOT_SET'
  | 'TOO_LARGE'
  | 'INTERNAL'

/**
 * Base of every error of the package. `cause` keeps the one beneath; the stack shows the caller's own frames. Two kinds of errors
 * are the language's own: TypeError and RangeError for wrong arguments, with `code: 'INVALID_ARGUMENT'`, and a DOMException named
 * AbortError.
 *
 * ```js
 * try {
 *   await batchDelete(keys)
 * } catch (error) {
 *   if (error instanceof RedisBulkError && error.retryable) later(keys)
 *   else throw error
 * }
 * ```
 */
export class RedisBulkError extends Error {
  /** What went wrong. */
  readonly code: ErrorCode | string
  /** Whether the same call may succeed later without a change. */
  readonly retryable: boolean
  /** Whether the server did it: `'unknown'` where it was sent and the answer was lost. */
  readonly applied: boolean | 'unknown'
}

/** No connection, a lost one, a refused login, a closed or disabled client. */
export class ConnectionError extends RedisBulkError {}

/** A connection or an answer did not come in time: CONNECT_TIMEOUT, TIMEOUT. */
export class TimeoutError extends RedisBulkError {}

/** The server answered with an error; `code` is the server's. */
export class ReplyError extends RedisBulkError {}

/** An option or a variable that cannot be used: INVALID_CONFIG, ALREADY_CONNECTED. */
export class ConfigError extends RedisBulkError {}

/** Part of a bulk call failed; `report` says which part. */
export class BulkError extends RedisBulkError {
  readonly report: DeleteReport | PatternDeleteReport
}
