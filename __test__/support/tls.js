'use strict'

// Servers behind TLS: a real one with a port of its own for it, or, where the engine was built without TLS, a real one
// behind a proxy that ends TLS.
//
//   const server = await startTlsServer(t)
//   rb.createClient({ ...server.options })       // host, port and tls with the CA
//   await server.cli('SET', 'a', '1')            // in plain text, on the server's other port

const { writeFileSync } = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const tls = require('node:tls')
const { createAuthority } = require('./certificates.js')
const { freePort, startServer } = require('./server.js')

let authority
/** One CA for all servers of a test process. */
const commonAuthority = () => (authority ??= createAuthority())

/**
 * A proxy that speaks TLS to its clients and plain text to the server.
 * @param {{ port: number, host?: string }} server
 * @param {import('node:tls').TlsOptions} options
 */
async function startTlsProxy(t, server, options) {
  const test = typeof t?.teardown === 'function' ? t : undefined
  const sockets = new Set()
  const listener = tls.createServer({ ...options, noDelay: true }, (client) => {
    const upstream = net.connect(server.port, server.host ?? '127.0.0.1')
    upstream.setNoDelay(true)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    client.pipe(upstream).pipe(client)
    proxy.onConnection?.(client)
  })
  // Handshakes that fail are what some tests are about.
  listener.on('tlsClientError', () => {})
  listener.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(0, '127.0.0.1', resolve)
  })
  const proxy = {
    port: listener.address().port,
    /** Hears of each connection whose handshake is done. @type {((socket: import('node:tls').TLSSocket) => void) | null} */
    onConnection: null,
    /** Closes every connection. */
    cut() {
      for (const socket of sockets) socket.destroy()
    },
    stop() {
      proxy.cut()
      return new Promise((resolve) => listener.close(() => resolve()))
    },
  }
  test?.teardown(() => proxy.stop())
  return proxy
}

/**
 * @param {object} [given]
 * @param {{ cert: string, key: string }} [given.identity] the server's certificate; default: one of the common CA for
 *   localhost and 127.0.0.1
 * @param {boolean} [given.clientCertificates] whether clients must show one of the common CA
 * @param {import('node:tls').SecureVersion} [given.version] the only one that the server speaks
 * @param {string[]} [given.args] for the server, as in startServer
 * @param {string} [given.password]
 */
async function startTlsServer(t, given) {
  const test = typeof t?.teardown === 'function' ? t : undefined
  const { identity, clientCertificates = false, version, args = [], password } = (test ? given : t) ?? {}
  const ca = await commonAuthority()
  const own = identity ?? (await ca.issue({ names: ['localhost', '127.0.0.1'] }))
  const plain = await startServer({ args, password })
  let port
  let stop = () => plain.stop()
  try {
    port = await listenForTls(plain, ca, own, clientCertificates, version)
    if (port === undefined) {
      const options = { ...own, ca: ca.cert, requestCert: clientCertificates, rejectUnauthorized: clientCertificates }
      const proxy = await startTlsProxy(undefined, plain, { ...options, ...(version && { minVersion: version, maxVersion: version }) })
      port = proxy.port
      stop = async () => {
        await proxy.stop()
        await plain.stop()
      }
    }
  } catch (error) {
    await plain.stop()
    throw error
  }
  test?.teardown(() => stop())
  return {
    host: '127.0.0.1',
    port,
    ca,
    /** Whether TLS ends in a proxy of Node, which hangs up on a foreign client certificate without a word. */
    isProxied: engineSpeaksTls === false,
    /** The same server in plain text. */
    plain,
    options: { host: 'localhost', port, password, tls: { ca: ca.cert } },
    cli: (...command) => plain.cli(...command),
    stop: () => stop(),
  }
}

/** Whether the engine was built with TLS, once it is known. @type {boolean | undefined} */
let engineSpeaksTls

/** Makes a running server listen for TLS; undefined where it cannot. */
async function listenForTls(server, ca, own, clientCertificates, version) {
  if (engineSpeaksTls === false) return undefined
  const file = (name, text) => {
    const full = path.join(server.folder, name)
    writeFileSync(full, text)
    return full
  }
  const settings = ['tls-cert-file', file('server.crt', own.cert), 'tls-key-file', file('server.key', own.key)]
  settings.push('tls-ca-cert-file', file('ca.crt', ca.cert), 'tls-auth-clients', clientCertificates ? 'yes' : 'no')
  if (version) settings.push('tls-protocols', version)
  for (let attempt = 1; ; attempt++) {
    const port = await freePort()
    try {
      await server.cli('CONFIG', 'SET', ...settings, 'tls-port', port)
      engineSpeaksTls = true
      return port
    } catch (error) {
      if (engineSpeaksTls === undefined && (error.code === undefined || /unknown option|unsupported/i.test(error.message))) {
        // Built without TLS, a server does not know the settings, or ends.
        engineSpeaksTls = false
        if (error.code === undefined) await server.kill().then(() => server.restart())
        return undefined
      }
      // Another program has taken the port since.
      if (attempt === 5) throw error
    }
  }
}

module.exports = { commonAuthority, startTlsProxy, startTlsServer }
