// A cluster of three primaries on loopback, filled and read like the single server.
import { createRequire } from 'node:module'
import { Admin, pack } from './resp.mjs'

const { startCluster } = createRequire(import.meta.url)('../__test__/support/cluster.js')

export async function openCluster() {
  const cluster = await startCluster({ args: ['--loglevel', 'warning'] })
  const admins = await Promise.all(cluster.servers.map((server) => Admin.open(server.port)))
  const everywhere = (...words) => Promise.all(admins.map((admin) => admin.command(...words)))
  /** Pairs by the server that has their slot; asked for in one write each. */
  const homes = new Map()
  async function learn(keys) {
    const unknown = keys.filter((key) => !homes.has(key))
    if (unknown.length === 0) return
    const slots = await admins[0].send(Buffer.concat(unknown.map((key) => pack(['CLUSTER', 'KEYSLOT', key]))), unknown.length)
    unknown.forEach((key, at) => homes.set(key, cluster.primaries.indexOf(cluster.home(slots[at]))))
  }
  return {
    seeds: cluster.seeds,
    clear: () => everywhere('FLUSHALL', 'SYNC'),
    size: async () => (await everywhere('DBSIZE')).reduce((sum, size) => sum + size),
    async fill(pairs) {
      await everywhere('FLUSHALL', 'SYNC')
      await learn(pairs.map(([key]) => key))
      await Promise.all(
        admins.map(async (admin, at) => {
          const own = pairs.filter(([key]) => homes.get(key) === at)
          if (own.length > 0) await admin.send(Buffer.concat(own.map(([key, value]) => pack(['SET', key, value]))), own.length)
        }),
      )
    },
    /** One command for each key, at the server that has it; the replies in the order of the keys. */
    async each(keys, command) {
      await learn(keys)
      const replies = new Map()
      await Promise.all(
        admins.map(async (admin, at) => {
          const own = keys.filter((key) => homes.get(key) === at)
          const answers = own.length > 0 ? await admin.send(Buffer.concat(own.map((key) => pack(command(key)))), own.length) : []
          own.forEach((key, index) => replies.set(key, answers[index]))
        }),
      )
      return keys.map((key) => replies.get(key))
    },
    async stop() {
      for (const admin of admins) admin.close()
      await cluster.stop()
    },
  }
}
