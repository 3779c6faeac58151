// How many commands the server carries out for the same work: helpers as backends write them over ioredis, and redis-bulk.
//
//   node bench/commands.mjs
//
// Counted by the server itself (INFO commandstats), on a server of its own, commands that scripts call included. Counts do not depend
// on the machine. Needs redis-server on PATH and the addon built (npm run build).

import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const { Redis } = require('ioredis')
const { startServer } = require('../__test__/support/server.js')
const { createClient } = require('../index.js')

const server = await startServer()
const old = new Redis(server.url)
const client = createClient({ url: server.url })
const numbers = (count) => Array.from({ length: count }, (_, index) => index)

/** The helpers that redis-bulk takes the place of, one command at a time as they do it. */
const helpers = {
  async lookup(prefix, codes) {
    return Promise.all(codes.map((code) => old.get(prefix + code)))
  },
  async set(key, value, ttl) {
    await old.set(key, JSON.stringify(value))
    await old.expire(key, ttl)
  },
  async deleteByPattern(pattern) {
    let cursor = '0'
    do {
      const [next, keys] = await old.scan(cursor, 'MATCH', pattern, 'COUNT', 100)
      for (const key of keys) await old.del(key)
      cursor = next
    } while (cursor !== '0')
  },
  async sync(entries, orphans) {
    for (const { key, value } of entries) await old.setex(key, 3600, JSON.stringify(value))
    for (const key of orphans) await old.del(key)
  },
  /** A cache service that keeps hits and access times with each entry. */
  async hit(id) {
    const value = await old.get(`old:${id}`)
    await old.hincrby('old:hits', id, 1)
    await old.zadd('old:access', Date.now(), id)
    return JSON.parse(value)
  },
  async size() {
    let cursor = '0'
    let count = 0
    do {
      const [next, keys] = await old.scan(cursor, 'MATCH', 'old:*', 'COUNT', 100)
      count += keys.length
      cursor = next
    } while (cursor !== '0')
    return count
  },
  async getOrSet(key, load) {
    const value = await old.get(key)
    if (value !== null) return JSON.parse(value)
    const loaded = await load()
    await this.set(key, loaded, 60)
    return loaded
  },
}

const cache = client.createCache('things', { ttl: 3600, maxEntries: 100_000 })
const entries = (prefix) => numbers(500).map((n) => ({ key: `${prefix}${n}`, value: { n } }))
const orphans = (prefix) => numbers(50).map((n) => `${prefix}orphan${n}`)
const load = () => new Promise((resolve) => setTimeout(resolve, 50, { loaded: true }))
const written = (prefix, count) => client.pipelineSet(numbers(count).map((n) => ({ key: prefix + n, data: { n } })))

const rows = [
  ['bulk: look up 1,000 codes', () => written('l:', 1000), () => helpers.lookup('l:', numbers(1000)), () => client.bulkLookup('l:', numbers(1000).map(String))],
  ['bulk: find and delete 1,000 keys by pattern', () => written('d:', 1000), () => helpers.deleteByPattern('d:*'), () => client.deleteByPattern('d:*')],
  ['bulk: write 1,000 entries without expiry', undefined, () => Promise.all(numbers(1000).map((n) => old.set(`w:${n}`, n))), () => written('w:', 1000)],
  ['bulk: start-up synchronisation, 500 entries with a time to live, 50 orphans', undefined, () => helpers.sync(entries('s:'), orphans('s:')), () => client.bulkSyncCache(entries('s:'), orphans('s:'), { ttl: 3600 })],
  ['bulk: the same without times to live', undefined, () => helpers.sync(entries('s:'), orphans('s:')), () => client.bulkSyncCache(entries('s:'), orphans('s:'))],
  ['cache: write one entry with a time to live', undefined, () => helpers.set('one', { n: 1 }, 60), () => client.setCachedData('one', { n: 1 }, 60)],
  ['cache: 1,000 hits, access times and hit counts kept', prepareHits, async () => { for (const n of numbers(1000)) await helpers.hit(n) }, async () => { for (const n of numbers(1000)) await cache.get(String(n)); await flushed() }],
  ['cache: the number of 1,000 entries', prepareHits, () => helpers.size(), () => cache.size()],
  ['cache: 100 callers miss the same entry at once', () => old.del('g'), () => Promise.all(numbers(100).map(() => helpers.getOrSet('g', load))), () => Promise.all(numbers(100).map(() => cache.getOrSet('g', load)))],
  ['cache: 100 callers read 1 entry each at once', prepareHits, () => Promise.all(numbers(100).map((n) => old.get(`old:${n}`))), () => Promise.all(numbers(100).map((n) => cache.get(String(n))))],
]

async function prepareHits() {
  await written('old:', 1000)
  await cache.setMany(numbers(1000).map((n) => ({ id: String(n), value: { n } })))
}

/** Until the access times are written: by the cache's own timer, five seconds after the first hit. */
async function flushed() {
  const until = Date.now() + 20_000
  while ((await server.cli('HGET', 'cache:{things:v1}#hits', '999')) !== '1' && Date.now() < until) await new Promise((resolve) => setTimeout(resolve, 50))
}

/** Commands since the last time, without those of this program's own asking. */
async function counted() {
  const text = await server.cli('INFO', 'commandstats')
  await server.cli('CONFIG', 'RESETSTAT')
  let all = 0
  for (const [, name, calls] of text.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)) if (!/^(info|config|client|hello|ping|hget$)/.test(name)) all += Number(calls)
  return all
}

console.log('| work | helpers | redis-bulk | fewer |\n|---|---|---|---|')
// Scripts are loaded and connections made before anything is counted.
await cache.getOrSet('first', async () => 1)
for (const [title, prepare, before, after] of rows) {
  const counts = []
  for (const run of [before, after]) {
    await old.flushall()
    await prepare?.()
    await counted()
    await run()
    counts.push(await counted())
  }
  const [one, other] = counts
  console.log(`| ${title} | ${one.toLocaleString('en')} | ${other.toLocaleString('en')} | ${((1 - other / one) * 100).toFixed(1)}% |`)
}
await client.close()
old.disconnect()
await server.stop()
