#!/usr/bin/env node
// npm run bench:pattern-delete: what another client of the server feels while deleteByPattern runs, and what the pass itself
// takes. Three processes: the server, the one that deletes, and a neighbour that sends a GET every two milliseconds, whether
// the one before was answered or not. See --help.
import { fork } from 'node:child_process'
import net from 'node:net'
import { createRequire } from 'node:module'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { quantile, sorted } from './measure.mjs'
import { pack, packFill } from './resp.mjs'
import { startServer } from './server.mjs'

/** Bounds of --strict. */
const MOST_P99_MS = 5
const MOST_GROWTH_MIB = 50

const self = fileURLToPath(import.meta.url)
const HELP = `Usage: npm run bench:pattern-delete -- [options]

  --delete N           keys that are deleted (default: 1000000)
  --keep N             keys beside them that stay (default: 1000000)
  --bytes N            length of each value (default: 100)
  --idle SECONDS       how long the neighbour is watched alone (default: 5)
  --json               prints the figures as JSON
  --strict             ends with status 1 when a bound was passed: the neighbour's p99 under
                       ${MOST_P99_MS} ms, resident memory under ${MOST_GROWTH_MIB} MiB more, progress that only grows
  --help

Environment: REDIS_SERVER_BIN (default: redis-server on the PATH),
BENCH_PACKAGE (another build of redis-bulk to measure).
`

/** Between two GETs of the neighbour. */
const EVERY_MS = 2
/** Keys that are written together while the database is filled. */
const FILL = 20_000

const [role, ...rest] = process.argv.slice(2)
if (role === 'neighbour') await neighbour(...rest.map(Number))
else if (role === 'deleter') await deleter(rest[0])
else await main()

/* ------------------------------------------------------------------ the neighbour */

/**
 * GETs in an open loop: a server that stands still is seen by every GET that falls due meanwhile, as users see it.
 * @param {number} port
 * @param {number} kept keys to choose from
 */
async function neighbour(port, kept) {
  const socket = net.connect(port, '127.0.0.1')
  socket.setNoDelay(true)
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  /** When each GET that waits was sent. */
  const sent = []
  let latencies = []
  let answered = 0
  // Replies `$100\r\n<100 bytes>\r\n`, which may come in pieces: only their ends are counted.
  let left = 0
  let head = ''
  socket.on('data', (chunk) => {
    const now = performance.now()
    for (let at = 0; at < chunk.length; ) {
      if (left > 0) {
        const taken = Math.min(left, chunk.length - at)
        left -= taken
        at += taken
        if (left === 0) latencies.push(now - sent[answered++])
        continue
      }
      const end = chunk.indexOf(10, at)
      head += chunk.toString('latin1', at, end < 0 ? chunk.length : end)
      if (end < 0) break
      at = end + 1
      if (!/^\$\d+\r$/.test(head)) throw new Error(`the neighbour's GET was answered ${head}`)
      left = Number(head.slice(1, -1)) + 2
      head = ''
    }
  })
  let due = performance.now()
  const timer = setInterval(() => {
    // A timer that came late makes up for what it missed.
    for (const now = performance.now(); due <= now; due += EVERY_MS) {
      sent.push(performance.now())
      socket.write(pack(['GET', `kept:${Math.floor(Math.random() * kept)}`]))
    }
  }, 1)
  process.on('message', (message) => {
    if (message === 'end') {
      clearInterval(timer)
      socket.destroy()
      process.disconnect()
      return
    }
    // Those that still wait count from their sending on.
    const waiting = sent.slice(answered).map((at) => performance.now() - at)
    if (message === 'take') process.send([...latencies, ...waiting])
    latencies = []
  })
  process.send('ready')
}

/* ------------------------------------------------------------------ the deletion */

/** @param {string} url */
async function deleter(url) {
  const { createClient } = createRequire(import.meta.url)(process.env.BENCH_PACKAGE || path.join(path.dirname(self), '..'))
  const client = createClient({ url })
  // Code that runs the first time takes memory of its own.
  await client.deleteByPattern('none:*')
  process.on('message', async (message) => {
    if (message === 'end') {
      await client.close()
      process.disconnect()
      return
    }
    globalThis.gc?.()
    const before = process.memoryUsage.rss()
    let most = before
    let steps = 0
    let isMonotone = true
    let last = { scanned: 0, done: 0, elapsedMs: 0 }
    const onProgress = (progress) => {
      steps++
      if (progress.scanned < last.scanned || progress.done < last.done || progress.elapsedMs < last.elapsedMs) isMonotone = false
      last = progress
      most = Math.max(most, process.memoryUsage.rss())
    }
    const { deleted, durationMs } = await client.deleteByPattern('gone:*', { onProgress })
    process.send({ deleted, durationMs, steps, isMonotone: isMonotone && last.done === deleted, growthMiB: (most - before) / 2 ** 20 })
  })
  process.send('ready')
}

/* ------------------------------------------------------------------ the parent */

/** @param {...(string | number)} args */
async function start(...args) {
  // The client reads none of these while it is measured.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(REDIS_|KV_|UPSTASH_)/.test(name) && name !== 'NODE_OPTIONS'))
  const child = fork(self, args.map(String), { env, execArgv: ['--expose-gc'] })
  const next = () =>
    new Promise((resolve, reject) => {
      const failed = (status, signal) => reject(new Error(`the ${args[0]} ended (${status ?? signal})`))
      child.once('exit', failed)
      child.once('message', (message) => {
        child.off('exit', failed)
        resolve(message)
      })
    })
  await next()
  return {
    tell: (message) => child.send(message),
    ask(message) {
      child.send(message)
      return next()
    },
    end() {
      if (child.connected) child.send('end')
    },
  }
}

async function main() {
  const { values } = parseArgs({
    options: {
      delete: { type: 'string', default: '1000000' },
      keep: { type: 'string', default: '1000000' },
      bytes: { type: 'string', default: '100' },
      idle: { type: 'string', default: '5' },
      json: { type: 'boolean', default: false },
      strict: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(HELP)
    return
  }
  const [toDelete, toKeep, bytes, idle] = [values.delete, values.keep, values.bytes, values.idle].map(Number)
  if (![toDelete, toKeep, bytes, idle].every((n) => Number.isInteger(n) && n > 0)) {
    process.stderr.write('--delete, --keep, --bytes and --idle take positive integers\n')
    process.exitCode = 2
    return
  }

  const server = await startServer()
  const children = []
  try {
    const value = 'x'.repeat(bytes)
    for (const [name, count] of [['gone', toDelete], ['kept', toKeep]]) {
      for (let from = 0; from < count; from += FILL) {
        const pairs = Array.from({ length: Math.min(FILL, count - from) }, (_, at) => [`${name}:${from + at}`, value])
        const { buffer, replies } = packFill(pairs)
        await server.admin.send(buffer, replies)
      }
    }
    const other = await start('neighbour', server.port, toKeep)
    children.push(other)
    const deleting = await start('deleter', server.url)
    children.push(deleting)

    other.tell('forget')
    await sleep(idle * 1000)
    const alone = figures(await other.ask('take'))
    const pass = await deleting.ask('delete')
    const during = figures(await other.ask('take'))
    const left = await server.admin.command('DBSIZE')

    const result = { server: server.version, node: process.version, cpus: os.cpus().length, toDelete, toKeep, bytes, left, ...pass, getMs: { alone, during } }
    const missed = []
    if (pass.deleted !== toDelete || left !== toKeep) missed.push(`${pass.deleted} keys were deleted and ${left} are left`)
    if (!pass.isMonotone) missed.push('the progress went back, or did not end with what was deleted')
    if (during.p99 >= MOST_P99_MS) missed.push(`p99 of the neighbour's GET is ${MOST_P99_MS} ms or more`)
    if (pass.growthMiB >= MOST_GROWTH_MIB) missed.push(`resident memory grew by ${MOST_GROWTH_MIB} MiB or more`)
    process.stdout.write(values.json ? `${JSON.stringify({ ...result, missed })}\n` : text(result, missed))
    if (values.strict && missed.length > 0) process.exitCode = 1
  } finally {
    for (const child of children) child.end()
    await server.stop()
  }
}

/** @param {number[]} latencies in milliseconds */
function figures(latencies) {
  const all = sorted(latencies)
  return { count: all.length, p50: quantile(all, 0.5), p99: quantile(all, 0.99), max: all.at(-1) }
}

function text({ server, node, cpus, toDelete, toKeep, bytes, deleted, durationMs, steps, isMonotone, growthMiB, getMs }, missed) {
  const row = (name, { count, p50, p99, max }) => `  ${name.padEnd(8)} p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, max ${max.toFixed(2)} ms (${count} GETs)\n`
  return `deleteByPattern: ${toDelete} of ${toDelete + toKeep} keys with values of ${bytes} bytes; ${server}, Node.js ${node}, ${cpus} CPUs

  deleted ${deleted} in ${(durationMs / 1000).toFixed(1)} s; progress told ${steps} times, ${isMonotone ? 'never going back' : 'GOING BACK'}
  resident memory of the process: ${growthMiB.toFixed(1)} MiB more at most
a GET of another client, every ${EVERY_MS} ms, from its sending to its answer
${row('alone', getMs.alone)}${row('during', getMs.during)}${missed.map((each) => `  missed: ${each}\n`).join('')}`
}
