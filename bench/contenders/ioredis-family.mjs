// ioredis and iovalkey (its fork) have one API.
import { chunks, lookupWays } from './common.mjs'

const failed = (replies) => replies.find(([error]) => error)?.[0]

export function openFamily(Redis, url, { auto }) {
  // Defaults throughout; `enableAutoPipelining` is what both documents for many commands of one tick.
  const redis = new Redis(url, { enableAutoPipelining: auto })
  const lookup = lookupWays({
    string: (prefix, codes) => redis.mget(codes.map((code) => prefix + code)),
    buffer: (prefix, codes) => redis.mgetBuffer(codes.map((code) => prefix + code)),
  })
  const one = (entry, encode) => (entry.ttl === undefined ? redis.set(entry.key, encode(entry.data)) : redis.set(entry.key, encode(entry.data), 'EX', entry.ttl))

  // With auto-pipelining: what it is for, many single commands of one tick. Without: explicit pipelines.
  const set = auto
    ? [{ name: 'Promise.all of set', run: (entries, encode) => Promise.all(entries.map((entry) => one(entry, encode))) }]
    : [
        {
          name: 'pipeline',
          run: async (entries, encode) => {
            const pipeline = redis.pipeline()
            for (const entry of entries) {
              if (entry.ttl === undefined) pipeline.set(entry.key, encode(entry.data))
              else pipeline.set(entry.key, encode(entry.data), 'EX', entry.ttl)
            }
            const error = failed(await pipeline.exec())
            if (error) throw error
          },
        },
        {
          name: 'mset',
          when: (params) => !params.ttl,
          run: async (entries, encode) => {
            const flat = []
            for (const entry of entries) flat.push(entry.key, encode(entry.data))
            await redis.mset(flat)
          },
        },
      ]

  const scan = [
    {
      name: 'scanStream',
      run: (match, count) =>
        new Promise((resolve, reject) => {
          const keys = []
          redis
            .scanStream({ match, count })
            .on('data', (found) => {
              for (const key of found) keys.push(key)
            })
            .on('error', reject)
            .on('end', () => resolve(keys))
        }),
    },
    {
      name: 'scan loop',
      run: async (match, count) => {
        const keys = []
        let cursor = '0'
        do {
          const [next, found] = await redis.scan(cursor, 'MATCH', match, 'COUNT', count)
          for (const key of found) keys.push(key)
          cursor = next
        } while (cursor !== '0')
        return keys
      },
    },
  ]

  const remove = [
    {
      name: 'unlink, one batch after another',
      run: async (keys, size) => {
        let deleted = 0
        for (const part of chunks(keys, size)) deleted += await redis.unlink(part)
        return deleted
      },
    },
    {
      name: 'pipeline of unlink',
      run: async (keys, size) => {
        const pipeline = redis.pipeline()
        for (const part of chunks(keys, size)) pipeline.unlink(part)
        const replies = await pipeline.exec()
        const error = failed(replies)
        if (error) throw error
        return replies.reduce((sum, [, count]) => sum + count, 0)
      },
    },
  ]
  return new Promise((resolve, reject) => {
    redis.once('error', reject)
    redis.once('ready', () => {
      const client = { lookup, set, close: () => redis.disconnect() }
      // Auto-pipelining changes nothing where one command, or an explicit pipeline, does the work.
      if (auto) client.lookup = lookup.slice(0, 1).map((way) => ({ ...way, when: (params) => params.callers !== undefined }))
      else Object.assign(client, { scan, remove })
      resolve(client)
    })
  })
}

/** A cluster has no MGET over slots and no pipeline over nodes: single commands, sent together where `auto` is on. */
export function openFamilyCluster(Cluster, seeds, { auto }) {
  const nodes = seeds.map((seed) => ({ host: seed.split(':')[0], port: Number(seed.split(':')[1]) }))
  const cluster = new Cluster(nodes, { enableAutoPipelining: auto })
  const one = (entry, encode) => (entry.ttl === undefined ? cluster.set(entry.key, encode(entry.data)) : cluster.set(entry.key, encode(entry.data), 'EX', entry.ttl))
  return new Promise((resolve, reject) => {
    cluster.once('error', reject)
    cluster.once('ready', () => {
      resolve({
        lookup: [{ name: 'Promise.all of get', run: { string: (prefix, codes) => Promise.all(codes.map((code) => cluster.get(prefix + code))) } }],
        set: [{ name: 'Promise.all of set', run: (entries, encode) => Promise.all(entries.map((entry) => one(entry, encode))) }],
        close: () => cluster.disconnect(),
      })
    })
  })
}
