// valkey-glide: its Rust core sends concurrent commands together by itself; `Batch(false)` is its pipeline.
import { Batch, ClusterBatch, Decoder, GlideClient, GlideClusterClient, TimeUnit } from '@valkey/valkey-glide'
import { chunks, lookupWays } from './common.mjs'

export const packageName = '@valkey/valkey-glide'

export async function open(url) {
  const { hostname: host, port } = new URL(url)
  const client = await GlideClient.createClient({
    addresses: [{ host, port: Number(port) }],
    // The default of 250 ms ends calls of 100,000 keys on a slow machine.
    requestTimeout: 60_000,
    // The default of 1,000 refuses the sets of one Promise.all.
    inflightRequestsLimit: 200_000,
  })
  const options = (entry) => (entry.ttl === undefined ? undefined : { expiry: { type: TimeUnit.Seconds, count: entry.ttl } })
  return {
    lookup: lookupWays({
      string: (prefix, codes) => client.mget(codes.map((code) => prefix + code)),
      buffer: (prefix, codes) => client.mget(codes.map((code) => prefix + code), { decoder: Decoder.Bytes }),
    }),
    set: [
      {
        name: 'Batch',
        run: async (entries, encode) => {
          const batch = new Batch(false)
          for (const entry of entries) batch.set(entry.key, encode(entry.data), options(entry))
          await client.exec(batch, true, { timeout: 60_000 })
        },
      },
      { name: 'Promise.all of set', when: (params) => params.n <= 10_000, run: (entries, encode) => Promise.all(entries.map((entry) => client.set(entry.key, encode(entry.data), options(entry)))) },
      {
        name: 'mset',
        when: (params) => !params.ttl,
        run: (entries, encode) => {
          const record = {}
          for (const entry of entries) record[entry.key] = encode(entry.data)
          return client.mset(record)
        },
      },
    ],
    scan: [
      {
        name: 'scan loop',
        run: async (match, count) => {
          const keys = []
          let cursor = '0'
          do {
            const [next, found] = await client.scan(cursor, { match, count })
            for (const key of found) keys.push(key)
            cursor = next
          } while (cursor !== '0')
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
      {
        name: 'Batch of unlink',
        run: async (keys, size) => {
          const batch = new Batch(false)
          for (const part of chunks(keys, size)) batch.unlink(part)
          return (await client.exec(batch, true, { timeout: 60_000 })).reduce((a, b) => a + b, 0)
        },
      },
    ],
    close: () => client.close(),
  }
}

/** Its cluster client cuts an MGET, and a batch that is not atomic, by slot itself. */
export async function openCluster(seeds) {
  const addresses = seeds.map((seed) => ({ host: seed.split(':')[0], port: Number(seed.split(':')[1]) }))
  const client = await GlideClusterClient.createClient({ addresses, requestTimeout: 60_000, inflightRequestsLimit: 200_000 })
  const options = (entry) => (entry.ttl === undefined ? undefined : { expiry: { type: TimeUnit.Seconds, count: entry.ttl } })
  const exec = (batch) => client.exec(batch, true, { timeout: 60_000 })
  return {
    lookup: [
      { name: 'mget', run: { string: (prefix, codes) => client.mget(codes.map((code) => prefix + code)) } },
      {
        name: 'ClusterBatch of get',
        run: {
          string: (prefix, codes) => {
            const batch = new ClusterBatch(false)
            for (const code of codes) batch.get(prefix + code)
            return exec(batch)
          },
        },
      },
      { name: 'Promise.all of get', run: { string: (prefix, codes) => Promise.all(codes.map((code) => client.get(prefix + code))) } },
    ],
    set: [
      {
        name: 'ClusterBatch of set',
        run: (entries, encode) => {
          const batch = new ClusterBatch(false)
          for (const entry of entries) batch.set(entry.key, encode(entry.data), options(entry))
          return exec(batch)
        },
      },
      { name: 'Promise.all of set', run: (entries, encode) => Promise.all(entries.map((entry) => client.set(entry.key, encode(entry.data), options(entry)))) },
    ],
    close: () => client.close(),
  }
}
