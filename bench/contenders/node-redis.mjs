// node-redis sends the commands of one tick together by itself; its documentation advises Promise.all for that.
import { createClient, createCluster, RESP_TYPES } from 'redis'
import { chunks, lookupWays } from './common.mjs'

export const packageName = 'redis'

/**
 * `untimed`: without the timeout of 5 s that every command has by default since version 6. It costs an AbortSignal for
 * each command, which shows where there are many commands at once; ioredis has none by default either.
 */
export async function open(url, { untimed = false } = {}) {
  const client = createClient(untimed ? { url, commandOptions: { timeout: undefined } } : { url })
  client.on('error', () => {})
  await client.connect()
  const binary = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer })
  const one = (target, entry, encode) => (entry.ttl === undefined ? target.set(entry.key, encode(entry.data)) : target.set(entry.key, encode(entry.data), { expiration: { type: 'EX', value: entry.ttl } }))
  const ways = {
    lookup: lookupWays({
      string: (prefix, codes) => client.mGet(codes.map((code) => prefix + code)),
      buffer: (prefix, codes) => binary.mGet(codes.map((code) => prefix + code)),
    }),
    set: [
      { name: 'Promise.all of set', run: (entries, encode) => Promise.all(entries.map((entry) => one(client, entry, encode))) },
      {
        name: 'multi().execAsPipeline',
        run: async (entries, encode) => {
          const multi = client.multi()
          for (const entry of entries) one(multi, entry, encode)
          await multi.execAsPipeline()
        },
      },
      { name: 'mSet', when: (params) => !params.ttl, run: (entries, encode) => client.mSet(entries.map((entry) => [entry.key, encode(entry.data)])) },
    ],
    scan: [
      {
        name: 'scanIterator',
        run: async (MATCH, COUNT) => {
          const keys = []
          for await (const found of client.scanIterator({ MATCH, COUNT })) for (const key of found) keys.push(key)
          return keys
        },
      },
    ],
    remove: [
      {
        name: 'unlink, one batch after another',
        run: async (keys, size) => {
          let deleted = 0
          for (const part of chunks(keys, size)) deleted += await client.unlink(part)
          return deleted
        },
      },
      { name: 'Promise.all of unlink', run: async (keys, size) => (await Promise.all(chunks(keys, size).map((part) => client.unlink(part)))).reduce((a, b) => a + b, 0) },
    ],
    close: () => client.destroy(),
  }
  if (!untimed) return ways
  // Where a call is one command or one pipeline of many values, the timeout costs nothing that shows.
  return {
    lookup: [{ ...ways.lookup[0], when: (params) => params.n <= 50 }],
    set: [ways.set[0]],
    close: ways.close,
  }
}

/** Its cluster client sends the commands of one tick together, to each node its own. */
export async function openCluster(seeds, { untimed = false } = {}) {
  const defaults = untimed ? { defaults: { commandOptions: { timeout: undefined } } } : {}
  const cluster = createCluster({ rootNodes: seeds.map((seed) => ({ url: `redis://${seed}` })), ...defaults })
  cluster.on('error', () => {})
  await cluster.connect()
  const one = (entry, encode) => (entry.ttl === undefined ? cluster.set(entry.key, encode(entry.data)) : cluster.set(entry.key, encode(entry.data), { expiration: { type: 'EX', value: entry.ttl } }))
  return {
    lookup: [{ name: 'Promise.all of get', run: { string: (prefix, codes) => Promise.all(codes.map((code) => cluster.get(prefix + code))) } }],
    set: [{ name: 'Promise.all of set', run: (entries, encode) => Promise.all(entries.map((entry) => one(entry, encode))) }],
    close: () => cluster.destroy(),
  }
}
