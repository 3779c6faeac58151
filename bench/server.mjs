// A fresh redis-server on a free port of loopback, in a temporary folder; and the floor program.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import readline from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Admin } from './resp.mjs'

export function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

export async function startServer() {
  const bin = process.env.REDIS_SERVER_BIN || 'redis-server'
  const dir = mkdtempSync(path.join(os.tmpdir(), 'redis-bulk-bench-'))
  const port = await freePort()
  const child = spawn(bin, ['--port', port, '--bind', '127.0.0.1', '--dir', dir, '--save', '', '--appendonly', 'no', '--loglevel', 'warning', '--daemonize', 'no'].map(String), { stdio: ['ignore', 'pipe', 'pipe'] })
  let log = ''
  const note = (chunk) => (log = (log + chunk).slice(-4000))
  child.stdout.on('data', note)
  child.stderr.on('data', note)
  let ended = null
  child.once('error', (error) => (ended = error.code === 'ENOENT' ? `${bin} was not found; set REDIS_SERVER_BIN` : String(error)))
  child.once('exit', (status, signal) => (ended ??= `redis-server ended (${status ?? signal}): ${log}`))

  let admin
  for (let attempt = 0; !admin; attempt++) {
    if (ended) throw new Error(ended)
    try {
      admin = await Admin.open(port)
    } catch (error) {
      if (attempt > 200) throw error
      await sleep(25)
    }
  }
  const info = await admin.command('INFO', 'server')
  const version = /^(?:valkey|redis)_version:(\S+)/m.exec(info)?.[1] ?? '?'
  const flavour = /^valkey_version:/m.test(info) ? 'Valkey' : 'Redis'
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    admin,
    dir,
    version: `${flavour} ${version}`,
    async stop() {
      admin.close()
      if (!ended) {
        const gone = new Promise((resolve) => child.once('exit', resolve))
        child.kill('SIGKILL')
        await gone
      }
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** One process of the floor program; requests are answered in order. */
export class Floor {
  #child
  #waiting = []

  static async open(bin, port) {
    const floor = new Floor()
    floor.#child = spawn(bin, [], { stdio: ['pipe', 'pipe', 'inherit'] })
    const fail = (error) => floor.#waiting.splice(0).forEach((waiter) => waiter.reject(error))
    floor.#child.once('error', fail)
    floor.#child.once('exit', () => fail(new Error('the floor program ended')))
    readline.createInterface({ input: floor.#child.stdout }).on('line', (line) => {
      const answer = JSON.parse(line)
      const waiter = floor.#waiting.shift()
      if (answer.error) waiter.reject(new Error(`floor: ${answer.error}`))
      else waiter.resolve(answer)
    })
    await floor.ask('connect', '127.0.0.1', port)
    return floor
  }

  ask(...words) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.#child.stdin.write(`${words.join('\t')}\n`)
    })
  }

  close() {
    this.#child.stdin.end('quit\n')
  }
}
