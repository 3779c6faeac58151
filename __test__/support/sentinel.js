'use strict'

// Three sentinels with a primary and two replicas, on free loopback ports, gone when the test is.
//
//   const rig = await startSentinels(t)
//   rb.createClient({ ...rig.options })
//   await rig.primary.kill(); await rig.promoted()       // until the sentinels have made another one the primary

const { startServer } = require('./server.js')

const master = 'mymaster'
/** Long for a loaded machine; the rig is up within seconds. */
const limitMs = 60_000

async function until(what, condition) {
  const end = Date.now() + limitMs
  for (;;) {
    const value = await condition().catch(() => undefined)
    if (value) return value
    if (Date.now() > end) throw new Error(`${what}: not within ${limitMs} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** The fields of each row of a reply such as that of SENTINEL REPLICAS. */
const rows = (reply) => reply.map((flat) => Object.fromEntries(Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]])))

/**
 * @param {object} [given]
 * @param {string} [given.password] of the servers
 * @param {string} [given.sentinelPassword] of the sentinels
 * @param {number} [given.downAfterMs] how long a silent primary counts as up; longer than a loaded machine lets a server wait
 */
async function startSentinels(t, given) {
  const test = typeof t?.teardown === 'function' ? t : undefined
  const { password, sentinelPassword, downAfterMs = 2000 } = (test ? given : t) ?? {}
  const servers = []
  const sentinels = []
  const stop = async () => {
    await Promise.all([...sentinels, ...servers].map((server) => server.stop()))
  }
  test?.teardown(stop)
  try {
    const common = password ? ['--masterauth', password] : []
    common.push('--repl-diskless-sync-delay', '0')
    servers.push(await startServer({ password, args: common }))
    const [primary] = servers
    const replica = () => startServer({ password, args: [...common, '--replicaof', `127.0.0.1 ${primary.port}`] })
    servers.push(...(await Promise.all([replica(), replica()])))
    await until('two replicas in step', async () => /slave1:.*state=online/.test(await primary.cli('INFO', 'replication')))

    const config = [
      `sentinel monitor ${master} 127.0.0.1 ${primary.port} 2`,
      `sentinel down-after-milliseconds ${master} ${downAfterMs}`,
      `sentinel failover-timeout ${master} 3000`,
      `sentinel parallel-syncs ${master} 2`,
      password ? `sentinel auth-pass ${master} ${password}` : '',
      sentinelPassword ? `sentinel sentinel-pass ${sentinelPassword}` : '',
    ].join('\n')
    const sentinel = () => startServer({ password: sentinelPassword, config: `${config}\n`, args: ['--sentinel'] })
    sentinels.push(...(await Promise.all([sentinel(), sentinel(), sentinel()])))
    for (const each of sentinels) {
      await until('sentinels that know each other and the replicas', async () => {
        const others = await each.cli('SENTINEL', 'SENTINELS', master)
        const replicas = rows(await each.cli('SENTINEL', 'REPLICAS', master))
        return others.length === 2 && replicas.filter((row) => row['master-link-status'] === 'ok' && row.flags === 'slave').length === 2
      })
    }
  } catch (error) {
    await stop()
    throw error
  }

  const rig = {
    master,
    servers,
    sentinels,
    password,
    /** The server that was the primary at first. */
    primary: servers[0],
    options: {
      sentinel: { nodes: sentinels.map((each) => `127.0.0.1:${each.port}`), master, password: sentinelPassword },
      password,
    },
    /** The server that the sentinels name now. */
    async current() {
      for (const each of sentinels) {
        if (!each.isRunning) continue
        const [, port] = await each.cli('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', master)
        return servers.find((server) => String(server.port) === port)
      }
    },
    /** Resolves with the new primary once every running sentinel names it and it says so itself. */
    promoted: (from = rig.primary) =>
      until('another primary', async () => {
        const named = await Promise.all(
          sentinels.filter((each) => each.isRunning).map(async (each) => (await each.cli('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', master))[1]),
        )
        const server = servers.find((each) => String(each.port) === named[0])
        const agreed = server && server !== from && named.every((port) => port === named[0])
        return agreed && (await server.cli('ROLE'))[0] === 'master' && server
      }),
    cli: async (...command) => (await rig.current()).cli(...command),
    stop,
  }
  return rig
}

module.exports = { startSentinels }
