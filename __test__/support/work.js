'use strict'

// What many tests need around the package: clients that close with their test, outcomes with the time they took,
// programs in processes of their own, and what the server counted.

const { spawn } = require('node:child_process')
const path = require('node:path')
const rb = require('../../index.js')

const entry = path.join(__dirname, '../../index.js')

let names = 0
/** A name that no other test uses. Clients of equal configuration share a connection: this keeps tests apart. */
function unique(word = 'test') {
  return `${word}-${process.pid}-${++names}`
}

/** A client that is closed when the test has ended. */
function openClient(t, options) {
  const client = rb.createClient(options)
  t.teardown(() => client.close())
  return client
}

/** What a promise comes to, and how long it took: `{ value, error, ms }`. Never rejects. */
async function timed(promise) {
  const start = performance.now()
  const took = () => performance.now() - start
  return promise.then(
    (value) => ({ value, ms: took() }),
    (error) => ({ error, ms: took() }),
  )
}

/** Resolves once `condition()` holds: for what can only be asked for. */
async function until(condition, limitMs = 60_000) {
  const end = performance.now() + limitMs
  for (;;) {
    const value = await condition()
    if (value) return value
    if (performance.now() > end) throw new Error(`within ${limitMs} ms this did not come true: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/**
 * Runs a program with `rb` (the package) in a process of its own and waits for its end.
 * @param {string} source CommonJS; top-level await is not there, so programs use `main(async () => …)`
 * @param {{ env?: Record<string, string>, limitMs?: number, nodeArgs?: string[], onLine?: (line: string, child: import('node:child_process').ChildProcess) => void }} [options]
 * @returns {Promise<{ code: number | null, signal: string | null, stdout: string, stderr: string, json: any }>} `json` is the last line, parsed
 */
function runProgram(source, { env = {}, limitMs = 180_000, nodeArgs = [], onLine } = {}) {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(REDIS_|KV_URL|UPSTASH_|NODE_OPTIONS|RB_)/.test(name)))
  const program = `'use strict'
const rb = require(${JSON.stringify(entry)})
const print = (value) => process.stdout.write(JSON.stringify(value) + '\\n')
const facts = (error) => ({ class: error?.constructor?.name, name: error?.name, code: error?.code, message: error?.message, retryable: error?.retryable, applied: error?.applied })
const main = (body) => body().catch((error) => { console.error(error); process.exitCode = 97 })
${source}`
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...nodeArgs, '-e', program], { env: { ...clean, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    let lines = ''
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`the program did not end within ${limitMs} ms; it printed:\n${stdout}${stderr}`))
    }, limitMs)
    // A character may come in two pieces.
    child.stdout.setEncoding('utf8')
    child.stderr.setEncoding('utf8')
    child.stdout.on('data', (data) => {
      stdout += data
      lines += data
      for (let end; (end = lines.indexOf('\n')) >= 0; lines = lines.slice(end + 1)) onLine?.(lines.slice(0, end), child)
    })
    child.stderr.on('data', (data) => (stderr += data))
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(timer)
      let json
      try {
        json = JSON.parse(stdout.trim().split('\n').at(-1))
      } catch {
        // It printed something else; the test says what it expected.
      }
      resolve({ code, signal, stdout, stderr, json })
    })
  })
}

/** Calls by command, as the server counted them: `{ set: { calls, rejected_calls, failed_calls }, … }`. */
async function commandStats(server) {
  const text = await server.cli('INFO', 'commandstats')
  const stats = {}
  for (const [, name, fields] of text.matchAll(/^cmdstat_(\S+?):(.*?)\r?$/gm)) {
    stats[name.toLowerCase()] = Object.fromEntries(fields.split(',').map((field) => [field.split('=')[0], Number(field.split('=')[1])]))
  }
  return stats
}

/** `count` codes in order. */
function codes(count, word = 'c') {
  return Array.from({ length: count }, (_, index) => `${word}${index}`)
}

/** Random numbers from 0 to below 1 that are the same for the same seed (mulberry32). */
function randomFrom(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

module.exports = { codes, commandStats, openClient, randomFrom, runProgram, timed, unique, until }
