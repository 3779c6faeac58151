// The same calls wherever Redis runs: the environment names the place, the program does not change.
//
//   node examples/anywhere.mjs                                                            the embedded store
//   REDIS_URL=rediss://user:password@redis.example.com:6380 node examples/anywhere.mjs     TLS
//   REDIS_URL=redis+unix:///run/redis/redis.sock node examples/anywhere.mjs                a Unix socket
//   REDIS_SENTINELS=s1:26379,s2:26379 REDIS_SENTINEL_MASTER=mymaster node examples/anywhere.mjs
//   UPSTASH_REDIS_REST_URL=https://….upstash.io UPSTASH_REDIS_REST_TOKEN=… node examples/anywhere.mjs
//
// TOKEN_FILE names a file whose text is the password, read anew for every connection: a secret that is mounted and
// renewed, as in Kubernetes.

import { readFile } from 'node:fs/promises'
import { createClient } from 'redis-bulk'

const named = ['REDIS_URL', 'KV_URL', 'REDIS_HOST', 'REDIS_CLUSTER_NODES', 'REDIS_SENTINELS', 'UPSTASH_REDIS_REST_URL']
const { TOKEN_FILE } = process.env
const client = createClient({
  ...(!named.some((name) => process.env[name]) && { url: 'memory:' }),
  ...(TOKEN_FILE && { password: async () => (await readFile(TOKEN_FILE, 'utf8')).trim() }),
  keyPrefix: 'anywhere:',
})
client.on('state', ({ from, to, reason }) => console.log(`${from} → ${to}${reason ? `: ${reason}` : ''}`))

try {
  const rates = { EUR: 1, USD: 1.08, JPY: 163.2 }
  await client.pipelineSet(Object.entries(rates).map(([key, data]) => ({ key, data, ttl: 60 })))
  const { results, cacheHits } = await client.bulkLookup('', ['EUR', 'USD', 'JPY', 'XXX'], { as: 'json' })
  console.log(`${cacheHits} of ${results.length} found: ${results}`)

  const { mode, latencyMs, nodes } = await client.health()
  console.log(`${mode}, a round trip in ${latencyMs?.toFixed(2)} ms`)
  for (const { address, role, up } of nodes) console.log(`  ${role} ${address} ${up ? 'up' : 'down'}`)
  console.log(`${await client.batchDelete(Object.keys(rates))} deleted`)
} catch (error) {
  console.error(`${error.code}: ${error.message}`)
  process.exitCode = 1
} finally {
  await client.close()
}
