// The addon that one writes first (bench/naive); for learning, not a peer.
import { createRequire } from 'node:module'
import { lookupWays } from './common.mjs'

export const packageName = null

export async function open(url) {
  const { connect } = createRequire(import.meta.url)('../naive/naive.node')
  const client = await connect(url)
  // napi-rs gives undefined for None inside an array.
  return {
    lookup: lookupWays({ string: async (prefix, codes) => await client.mget(codes.map((code) => prefix + code)) }).slice(0, 1),
    set: [{ name: 'pipeline', run: (entries, encode) => client.setAll(entries.map((entry) => entry.key), entries.map((entry) => encode(entry.data)), entries[0].ttl) }],
    close: () => {},
  }
}
