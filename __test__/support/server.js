'use strict'

// Real servers for tests: each on a free loopback port, with its own temporary folder, gone when the test is.
//
//   const server = await startServer(t)                     // stopped by itself when the test ends
//   const server = await startServer({ engine: 'valkey', args: ['--maxmemory', '10mb'] })
//   await server.cli('SET', 'a', '1')                       // over a connection of its own
//   server.url, server.port, await server.stop()

const { spawn } = require('node:child_process')
const { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const { connect } = require('./resp.js')

/** Long for a loaded machine with cold caches; a server is there after some 20 ms. */
const startLimitMs = 60_000
const stopLimitMs = 15_000
/** How often a port that somebody else has taken is tried again, or another one in its place. */
const portAttempts = 20

const running = new Set()
function discardAll() {
  for (const server of running) server.discard()
}
process.on('exit', discardAll)
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => {
    discardAll()
    process.kill(process.pid, signal)
  })
}

/** The engine that this run of the tests is for. */
const currentEngine = process.env.RB_ENGINE === 'valkey' ? 'valkey' : 'redis'

/** The program of an engine: what the test runner found, else what stands on PATH, else what an earlier run fetched. */
function program(engine) {
  if (engine === 'redis') return process.env.REDIS_SERVER_BIN || 'redis-server'
  if (process.env.VALKEY_SERVER_BIN) return process.env.VALKEY_SERVER_BIN
  const cache = path.join(__dirname, '../../.cache/valkey')
  const version = existsSync(cache) ? readdirSync(cache).find((name) => existsSync(path.join(cache, name, 'valkey-server'))) : undefined
  return version ? path.join(cache, version, 'valkey-server') : 'valkey-server'
}

/**
 * Test files run side by side, each in a process: most of them draw from ports of their own, so that a server which is
 * away for a moment finds nobody else on its port.
 */
const PORTS_OF_ONE = 500
const firstPort = 10_000 + (process.pid % 44) * PORTS_OF_ONE

/**
 * A port that nobody listens on now, from below those that systems give to outgoing connections (Linux from 32768 on,
 * others from 49152): so nobody is given it by chance while a server is away. Another program may still take it on
 * purpose before the server does: `start` then takes another.
 */
async function freePort() {
  for (;;) {
    const port = firstPort + Math.floor(Math.random() * PORTS_OF_ONE)
    if (await isFree(port)) return port
  }
}

/** @returns {Promise<boolean>} */
function isFree(port) {
  return new Promise((resolve, reject) => {
    const probe = net.createServer()
    // Windows keeps some ports for itself (EACCES).
    probe.once('error', (error) => (['EADDRINUSE', 'EACCES'].includes(error.code) ? resolve(false) : reject(error)))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}

class Server {
  #child
  #exited
  #log = ''
  #paused = false
  #cli

  constructor(options) {
    this.engine = options.engine ?? currentEngine
    this.port = options.port
    this.password = options.password
    this.args = options.args ?? []
    this.config = options.config
    this.folder = mkdtempSync(path.join(os.tmpdir(), 'redis-bulk-'))
    // A socket's path has to stay below 108 bytes, which the temporary folder's does.
    this.socketPath = path.join(this.folder, 's.sock')
    for (const [name, text] of Object.entries(options.files ?? {})) writeFileSync(path.join(this.folder, name), text)
  }

  get host() {
    return '127.0.0.1'
  }

  get url() {
    const login = this.password ? `:${encodeURIComponent(this.password)}@` : ''
    return `redis://${login}${this.host}:${this.port}`
  }

  get pid() {
    return this.#child?.pid
  }

  /** What the server has printed. */
  get log() {
    return this.#log
  }

  get isRunning() {
    return this.#child !== undefined
  }

  async start() {
    const fixed = this.port !== undefined
    for (let attempt = 1; ; attempt++) {
      if (!fixed) this.port = await freePort()
      try {
        await this.#startOnce()
        return this
      } catch (error) {
        if (attempt === portAttempts || !/Address already in use|bind:/i.test(this.#log)) throw error
        // Whoever has the port may let go of it.
        if (fixed) await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  }

  async #startOnce() {
    const args = ['--port', this.port, '--bind', this.host, '--dir', this.folder, '--unixsocket', this.socketPath]
    args.push('--save', '', '--appendonly', 'no', '--daemonize', 'no', ...this.args)
    if (this.password) args.push('--requirepass', this.password)
    if (this.config) {
      const file = path.join(this.folder, 'server.conf')
      writeFileSync(file, this.config)
      args.unshift(file)
    }
    const log = (data) => (this.#log += data)
    this.#log = ''
    const child = spawn(program(this.engine), args.map(String), { cwd: this.folder, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    this.#paused = false
    running.add(this)
    child.stdout.on('data', log)
    child.stderr.on('data', log)
    let failure
    this.#exited = new Promise((resolve) => {
      child.once('error', (error) => {
        failure = error
        resolve()
      })
      child.once('exit', () => resolve())
    }).then(() => {
      if (this.#child === child) this.#child = undefined
      running.delete(this)
    })
    const ready = this.#answers(child)
    const gone = this.#exited.then(() => {
      const why = failure?.code === 'ENOENT' ? `${program(this.engine)} was not found; npm test installs it.` : (failure?.message ?? this.#log)
      throw new Error(`${this.engine} did not start on port ${this.port}: ${why}`)
    })
    gone.catch(() => {})
    await Promise.race([ready, gone])
  }

  /**
   * Until the server answers PING, also with an error that only a server gives (NOAUTH, LOADING). Asked on the unix
   * socket, which no other server can have: on the port it may be somebody else who answers. It opens after the port.
   */
  async #answers(child) {
    const deadline = Date.now() + startLimitMs
    while (this.#child === child) {
      try {
        const client = await connect({ path: this.socketPath })
        try {
          await client.command('PING')
          return
        } catch (error) {
          if (error.code && /^(NOAUTH|LOADING|NOPERM|DENIED|MASTERDOWN)$/.test(error.code)) return
        } finally {
          // Answered by the server's own end of the connection: nobody finds it among the clients.
          await client.command('QUIT').catch(() => {})
          client.close()
        }
      } catch {
        // Not listening yet.
      }
      if (Date.now() > deadline) {
        child.kill('SIGKILL')
        throw new Error(`${this.engine} did not answer within ${startLimitMs} ms: ${this.#log}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }

  /** One command; error replies reject with their code in `code`. */
  async cli(...args) {
    return (await this.#client()).command(...args)
  }

  /** The same, the reply's strings as Buffers. */
  async cliBuffer(...args) {
    return (await this.#client()).commandBuffer(...args)
  }

  #client() {
    this.#cli ??= this.connect().catch((error) => {
      this.#cli = undefined
      throw error
    })
    return this.#cli
  }

  /** A connection of the caller's own, logged in. */
  async connect() {
    const client = await connect(this)
    if (this.password) await client.command('AUTH', this.password)
    return client
  }

  /** Ids of the connections of clients, without those of `cli`. */
  async clients() {
    const list = await this.cli('CLIENT', 'LIST')
    const own = String(await this.cli('CLIENT', 'ID'))
    return list
      .trim()
      .split('\n')
      .map((line) => Object.fromEntries(line.split(' ').map((field) => [field.slice(0, field.indexOf('=')), field.slice(field.indexOf('=') + 1)])))
      .filter((client) => client.id !== own)
  }

  /** A field of INFO. */
  async info(section, field) {
    const text = await this.cli('INFO', section)
    return new RegExp(`^${field}:(.*?)\\r?$`, 'm').exec(text)?.[1]
  }

  /** Resolves when the process is gone. */
  async kill(signal = 'SIGKILL') {
    this.#dropCli()
    const child = this.#child
    if (!child) return
    child.kill(signal)
    if (this.#paused && signal !== 'SIGKILL') child.kill('SIGCONT')
    await this.#exited
  }

  /** The process stands still; its connections stay open. */
  pause() {
    this.#paused = true
    this.#child?.kill('SIGSTOP')
  }

  resume() {
    this.#paused = false
    this.#child?.kill('SIGCONT')
  }

  /** SIGTERM, and SIGKILL where that takes too long. */
  async #end() {
    this.#dropCli()
    const child = this.#child
    if (!child) return
    if (this.#paused) this.resume()
    child.kill('SIGTERM')
    const force = setTimeout(() => child.kill('SIGKILL'), stopLimitMs)
    await this.#exited
    clearTimeout(force)
  }

  /** Ends it and starts it again on the same port, empty; `between` runs while it is away. */
  async restart(between) {
    await this.#end()
    await between?.()
    return this.start()
  }

  /** Ends it and removes its folder. Twice is fine. */
  async stop() {
    await this.#end()
    rmSync(this.folder, { recursive: true, force: true })
  }

  #dropCli() {
    this.#cli?.then((client) => client.close()).catch(() => {})
    this.#cli = undefined
  }

  /** At the end of the process, where nothing can be waited for. */
  discard() {
    this.#child?.kill('SIGKILL')
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/**
 * Starts a server. The first argument may be ava's `t`: the server then stops when the test has ended.
 * @param {object} [options]
 * @param {'redis' | 'valkey'} [options.engine] default: the engine of this run (RB_ENGINE)
 * @param {string[]} [options.args] as on the server's command line
 * @param {string} [options.config] text of a configuration file; what stands in args goes before it
 * @param {number} [options.port] default: a free one
 * @param {string} [options.password]
 * @param {Record<string, string>} [options.files] what stands in its folder at the start
 */
async function startServer(t, options) {
  const test = typeof t?.teardown === 'function' ? t : undefined
  const server = new Server((test ? options : t) ?? {})
  test?.teardown(() => server.stop())
  return server.start()
}

module.exports = { startServer, freePort, currentEngine }
