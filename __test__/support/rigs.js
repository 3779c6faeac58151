'use strict'

// Every kind of place that the same calls must work on. A rig starts what is needed and says how to get there:
//
//   const place = await rig.start()
//   rb.createClient(place.options)
//   await place.cli('GET', 'key')        // beside the package; undefined where there is no server
//   await place.stop()
//
// `mode` is what health() says; `bytes: false`: only text can be stored.

const { startCluster } = require('./cluster.js')
const { startSentinels } = require('./sentinel.js')
const { startServer } = require('./server.js')
const { startTlsServer } = require('./tls.js')
const { startUpstash } = require('./upstash.js')
const { unique } = require('./work.js')

/**
 * @typedef {{ options: object, cli?: (...command: any[]) => Promise<any>, stop: () => Promise<unknown> }} Place
 * @typedef {{ name: string, mode: string, bytes?: false, start: () => Promise<Place> }} Rig
 */

/** @param {(server: any) => object} options @param {object} [given] */
async function onServer(options, given) {
  const server = await startServer(given)
  return { options: options(server), cli: (...command) => server.cli(...command), stop: () => server.stop() }
}

/** @type {Rig[]} */
const rigs = [
  { name: 'one server', mode: 'standalone', start: () => onServer((server) => ({ url: server.url })) },
  { name: 'a server with a password, by address', mode: 'standalone', start: () => onServer(({ host, port, password }) => ({ host, port, password }), { password: 'pä ss' }) },
  { name: 'memory', mode: 'memory', start: async () => ({ options: { url: 'memory:', clientName: unique('memory') }, stop: async () => {} }) },
  { name: 'a Unix socket', mode: 'standalone', start: () => onServer((server) => ({ url: `redis+unix://${server.socketPath}` })) },
  { name: 'TLS', mode: 'standalone', start: () => startTlsServer() },
  { name: 'Sentinel', mode: 'sentinel', start: () => startSentinels() },
  {
    name: 'Cluster',
    mode: 'cluster',
    start: async () => {
      const cluster = await startCluster()
      // The key stands second in the commands that are asked for beside the package.
      const cli = async (command, key, ...rest) => (await cluster.owner(await cluster.slot(key))).cli(command, key, ...rest)
      return { options: { cluster: { nodes: cluster.seeds } }, cli, stop: () => cluster.stop() }
    },
  },
  {
    name: 'Upstash',
    mode: 'upstash',
    bytes: false,
    start: async () => {
      const server = await startServer()
      const bridge = await startUpstash(server)
      const stop = async () => {
        await bridge.stop()
        await server.stop()
      }
      return { options: bridge.options, cli: (...command) => server.cli(...command), stop }
    },
  },
]

module.exports = { rigs }
