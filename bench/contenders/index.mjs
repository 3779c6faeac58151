// Every contender: `kind` is `self`, `peer` (counts for "the best peer") or `study` (shown, never the best peer).
//
// A contender's module exports `packageName` and `open(url)`, which resolves to
//   lookup, set, scan, remove   lists of ways: { name, when?(params), run }
//   close()
// and, where the client has something for clusters, `openCluster(seeds)` with the same for `host:port` of each node.
// A way is one manner in which a user of that client would do the job: first the one that most people write, then
// what the client documents as faster. Every way is measured; the best one counts.
//   lookup  run[as](prefix, codes)       → array, null for a miss; as: string | json | buffer
//   set     run(entries, encode)         entries of { key, data, ttl? }; encode turns `data` into a string
//   scan    run(pattern, count)          → array of keys
//   remove  run(keys, size)              → how many keys existed
// `family`: another contender of the same package with other options.
export const CONTENDERS = {
  'redis-bulk': { kind: 'self', module: './redis-bulk.mjs' },
  ioredis: { kind: 'peer', module: './ioredis.mjs' },
  'ioredis-auto': { kind: 'peer', family: 'ioredis', module: './ioredis-auto.mjs' },
  iovalkey: { kind: 'peer', module: './iovalkey.mjs' },
  'iovalkey-auto': { kind: 'peer', family: 'iovalkey', module: './iovalkey-auto.mjs' },
  'node-redis': { kind: 'peer', module: './node-redis.mjs' },
  'node-redis-untimed': { kind: 'peer', family: 'node-redis', module: './node-redis-untimed.mjs' },
  glide: { kind: 'peer', module: './glide.mjs' },
  naive: { kind: 'study', module: './naive.mjs' },
}
