'use strict'

// A cluster for tests: three primaries and a replica of each on free loopback ports, up in a second or two.
//
//   const cluster = await startCluster({ replicas: 1 })
//   cluster.seeds                          // for the option cluster.nodes
//   await cluster.migrate(slot, from, to)  // a slot with its keys, step by step as redis-cli does it
//   await cluster.stop()

const { randomBytes } = require('node:crypto')
const { freePort, startServer } = require('./server.js')
const { until } = require('./work.js')

const SLOTS = 16384

/** Long for a loaded machine. */
const formedLimitMs = 60_000

class Cluster {
  constructor(servers, ids, count) {
    /** All servers; the first ones began as primaries. */
    this.servers = servers
    this.primaries = servers.slice(0, count)
    this.replicas = servers.slice(count)
    this.ids = ids
  }

  get seeds() {
    return this.servers.map((server) => `${server.host}:${server.port}`)
  }

  idOf(server) {
    return this.ids[this.servers.indexOf(server)]
  }

  /** The slot of a key, by a server's own word. */
  slot(key) {
    return this.#anyone().cli('CLUSTER', 'KEYSLOT', key)
  }

  /** The server that began with the slot. */
  home(slot) {
    return this.primaries[Math.floor((slot * this.primaries.length) / SLOTS)]
  }

  /** The running primaries and their slots, as `server` sees them: `[{ server, first, last, replicas }]`. */
  async layout(server = this.#anyone()) {
    const rows = await server.cli('CLUSTER', 'SLOTS')
    const at = (port) => this.servers.find((each) => each.port === port)
    return rows.map(([first, last, primary, ...replicas]) => ({ first, last, server: at(primary[1]), replicas: replicas.map((node) => at(node[1])) }))
  }

  /** Who has the slot now, as `server` sees it. */
  async owner(slot, server) {
    return (await this.layout(server)).find(({ first, last }) => first <= slot && slot <= last)?.server
  }

  /** Opens a slot for its move: from now on keys that `from` does not have are looked for at `to`. */
  async open(slot, from, to) {
    await to.cli('CLUSTER', 'SETSLOT', slot, 'IMPORTING', this.idOf(from))
    await from.cli('CLUSTER', 'SETSLOT', slot, 'MIGRATING', this.idOf(to))
  }

  /** Moves up to `count` keys of the slot; says how many. */
  async moveKeys(slot, from, to, count = 100) {
    const keys = await from.cliBuffer('CLUSTER', 'GETKEYSINSLOT', slot, count)
    if (keys.length > 0) await from.cli('MIGRATE', to.host, to.port, '', 0, 30_000, 'REPLACE', 'KEYS', ...keys)
    return keys.length
  }

  /** Gives the slot to `to`, once it has all its keys. */
  async close(slot, from, to) {
    // The new owner first: nobody else may be led to a node that does not know of its slot.
    await to.cli('CLUSTER', 'SETSLOT', slot, 'NODE', this.idOf(to))
    await from.cli('CLUSTER', 'SETSLOT', slot, 'NODE', this.idOf(to))
    for (const server of this.primaries) {
      if (server !== to && server !== from && server.isRunning) await server.cli('CLUSTER', 'SETSLOT', slot, 'NODE', this.idOf(to))
    }
    await this.agreed(slot, to)
  }

  /**
   * Every running server knows that `owner` has the slot, and of the epoch in which it got it. Else the next move, to a node
   * that does not know of that epoch yet, happens in the same one, and of two such claims the wrong one may win.
   */
  async agreed(slot, owner) {
    const running = this.servers.filter((server) => server.isRunning)
    await until(async () => {
      const views = await Promise.all(running.map((server) => this.owner(slot, server)))
      const epochs = await Promise.all(running.map(async (server) => /cluster_current_epoch:(\d+)/.exec(await server.cli('CLUSTER', 'INFO'))[1]))
      return views.every((seen) => seen === owner) && epochs.every((epoch) => epoch === epochs[0])
    }, formedLimitMs)
  }

  /** Moves a slot with its keys. */
  async migrate(slot, from, to, batch = 100) {
    await this.open(slot, from, to)
    // A key that is written meanwhile comes to the new place by itself.
    while ((await this.moveKeys(slot, from, to, batch)) > 0);
    await this.close(slot, from, to)
  }

  /** Until `server` is primary of what `slot` is in, as all running servers see it. */
  async promoted(slot, limitMs = formedLimitMs) {
    return until(async () => {
      const views = await Promise.all(this.servers.filter((server) => server.isRunning).map((server) => this.owner(slot, server)))
      return views.every((owner) => owner?.isRunning && owner === views[0]) && views[0]
    }, limitMs)
  }

  /** After this long without a word from a node the others take it for dead. At the start a minute: a busy machine is not a dead node. */
  async setNodeTimeout(ms) {
    for (const server of this.servers) if (server.isRunning) await server.cli('CONFIG', 'SET', 'cluster-node-timeout', ms)
  }

  /** Every primary has its replica in sync. */
  async inSync() {
    if (this.replicas.length === 0) return
    await until(async () => {
      const links = await Promise.all(this.replicas.filter((server) => server.isRunning).map((server) => server.info('replication', 'master_link_status')))
      return links.every((link) => link === 'up' || link === undefined)
    }, formedLimitMs)
  }

  async stop() {
    await Promise.all(this.servers.map((server) => server.stop()))
  }

  #anyone() {
    const running = this.servers.find((server) => server.isRunning)
    if (!running) throw new Error('no server of the cluster is running')
    return running
  }
}

/** What a server finds in its folder, so that it need not be introduced to the others. */
function nodesConf(nodes, self) {
  const lines = nodes.map(({ id, port, bus, primary, slots }, at) => {
    const flags = [at === self && 'myself', primary === undefined ? 'master' : 'slave'].filter(Boolean).join(',')
    const tail = slots === undefined ? '' : ` ${slots}`
    return `${id} 127.0.0.1:${port}@${bus} ${flags} ${primary ?? '-'} 0 0 ${at + 1} connected${tail}\n`
  })
  return `${lines.join('')}vars currentEpoch ${nodes.length} lastVoteEpoch 0\n`
}

/**
 * @param {object} [options]
 * @param {number} [options.primaries] default 3
 * @param {number} [options.replicas] of each primary; default 0
 * @param {string} [options.password]
 * @param {string[]} [options.args] further arguments of every server
 * @param {(port: number) => string[]} [options.argsOf] further arguments of the server on that port
 */
async function startCluster(options = {}) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(options)
    } catch (error) {
      // Another program was faster at a port.
      if (attempt === 5 || !/Address already in use|bind:/i.test(error.message)) throw error
    }
  }
}

async function startOnce({ primaries = 3, replicas = 0, password, args = [], argsOf }) {
  const count = primaries * (1 + replicas)
  const ports = new Set()
  while (ports.size < 2 * count) ports.add(await freePort())
  const free = [...ports]
  const nodes = Array.from({ length: count }, (_, at) => ({ id: randomBytes(20).toString('hex'), port: free[at], bus: free[count + at], primary: undefined, slots: undefined }))
  for (const [at, node] of nodes.entries()) {
    if (at >= primaries) node.primary = nodes[at % primaries].id
    else node.slots = `${Math.ceil((at * SLOTS) / primaries)}-${Math.ceil(((at + 1) * SLOTS) / primaries) - 1}`
  }
  const common = ['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf', '--cluster-node-timeout', '60000']
  // Slots go on being served while others are lost; a replica always stands for election.
  common.push('--cluster-require-full-coverage', 'no', '--cluster-replica-validity-factor', '0', '--repl-diskless-sync-delay', '0', '--repl-ping-replica-period', '1')
  if (password) common.push('--masterauth', password)
  const started = await Promise.allSettled(
    nodes.map((node, at) => {
      const own = ['--cluster-port', String(node.bus), ...(argsOf?.(node.port) ?? [])]
      return startServer({ port: node.port, password, args: [...common, ...own, ...args], files: { 'nodes.conf': nodesConf(nodes, at) } })
    }),
  )
  const servers = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const failed = started.find((one) => one.status === 'rejected')
  const cluster = new Cluster(
    servers,
    nodes.map(({ id }) => id),
    primaries,
  )
  try {
    if (failed) throw failed.reason
    await until(async () => {
      const states = await Promise.all(servers.map((server) => server.cli('CLUSTER', 'INFO')))
      return states.every((state) => state.includes('cluster_state:ok'))
    }, formedLimitMs)
    await cluster.inSync()
  } catch (error) {
    await cluster.stop()
    throw error
  }
  return cluster
}

module.exports = { SLOTS, startCluster }
