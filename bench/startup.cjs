// A fresh process: `node startup.cjs NAME URL` prints how long `require` took and when the first answer was there.
'use strict'
const [, , name, url] = process.argv
const { createRequire } = require('node:module')
const path = require('node:path')
const here = createRequire(path.join(__dirname, 'startup.cjs'))
const elapsed = (from) => Number(process.hrtime.bigint() - from) / 1e6

const CONTENDERS = {
  'redis-bulk': [process.env.BENCH_PACKAGE || '..', async ({ createClient }) => {
    const client = createClient({ url })
    await client.bulkLookup('item:', ['first'])
  }],
  ioredis: ['ioredis', ({ Redis }) => new Redis(url).mget(['item:first'])],
  iovalkey: ['iovalkey', ({ Redis }) => new Redis(url).mget(['item:first'])],
  'node-redis': ['redis', async ({ createClient }) => {
    const client = createClient({ url })
    await client.connect()
    await client.mGet(['item:first'])
  }],
  glide: ['@valkey/valkey-glide', async ({ GlideClient }) => {
    const { hostname: host, port } = new URL(url)
    const client = await GlideClient.createClient({ addresses: [{ host, port: Number(port) }] })
    await client.mget(['item:first'])
  }],
  naive: ['./naive/naive.node', async ({ connect }) => {
    const client = await connect(url)
    await client.mget(['item:first'])
  }],
}

async function main() {
  const [id, first] = CONTENDERS[name]
  // Resolving a path of the package is its user's cost too; `here` itself is built beforehand.
  const start = process.hrtime.bigint()
  const module = here(id)
  const requireMs = elapsed(start)
  const connect = process.hrtime.bigint()
  await first(module)
  const firstMs = elapsed(connect)
  process.stdout.write(`${JSON.stringify({ requireMs, firstMs, totalMs: elapsed(start) })}\n`, () => process.exit(0))
}
main().catch((error) => {
  console.error(error)
  process.exit(1)
})
