// The package itself, with its defaults.
import { createRequire } from 'node:module'

export const packageName = 'redis-bulk'
// BENCH_PACKAGE: another build of the package to measure, e.g. of an older commit.
export const entry = process.env.BENCH_PACKAGE || '../..'

export const open = (url) => openWith({ url })
export const openCluster = (nodes) => openWith({ cluster: { nodes } })

async function openWith(options) {
  const { createClient } = createRequire(import.meta.url)(entry)
  const client = createClient(options)
  await client.connect()
  const lookup = (as) => async (prefix, codes) => (await client.bulkLookup(prefix, codes, { as })).results
  return {
    lookup: [{ name: 'bulkLookup', run: { string: async (prefix, codes) => (await client.bulkLookup(prefix, codes)).results, json: lookup('json'), buffer: lookup('buffer') } }],
    set: [
      {
        name: 'pipelineSet',
        run: async (entries) => {
          const result = await client.pipelineSet(entries)
          if (result.failed) throw result.errors[0]
        },
      },
    ],
    scan: [{ name: 'scanAll', run: (pattern, count) => client.scanAll(pattern, count) }],
    remove: [{ name: 'batchDelete', run: (keys, size) => client.batchDelete(keys, size) }],
    close: () => client.close(),
  }
}
