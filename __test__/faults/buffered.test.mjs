// FAULTS 43: more work than maxBufferedBytes.
import test from 'ava'
import { startServer } from '../support/server.js'
import { runProgram } from '../support/work.js'

const MB = 1024 * 1024
const LIMIT = 16 * MB
/**
 * What comes on top of the limit: the requests once more in the form in which they are written, what the kernel's and V8's
 * own memory take. Without the limit the work below would take 300 MB, and that more than once.
 */
const CONSTANT = 160

const program = (body) => `
const MB = ${MB}
const CALLS = 300
const codes = Array.from({ length: 15000 }, (_, i) => ('c' + i).padEnd(70, '-'))
const works = {
  buffers: (client, value) => (i) => client.pipelineSet([{ key: 'k' + i % 20, data: value }]),
  strings: (client) => (i) => client.pipelineSet([{ key: 's' + i % 20, data: text, ttl: 60 }]),
  keys: (client) => () => client.bulkLookup('', codes, { as: 'buffer' }),
  deletions: (client) => () => client.batchDelete(codes),
  commands: (client, value) => (i) => client.sendCommand(['SET', 'o' + i % 20, value]),
}
const text = 'x'.repeat(MB)
main(async () => {
  const value = Buffer.alloc(MB, 'v')
  const client = rb.createClient({ url: process.env.URL, maxBufferedBytes: ${LIMIT}, connectTimeoutMs: 2000, commandTimeoutMs: Number(process.env.COMMAND_TIMEOUT) })
  await client.connect()
  for (const work of Object.values(works)) await work(client, value)(0)
  const results = {}
  for (const [name, work] of Object.entries(works)) {
    gc(); gc()
    const before = process.memoryUsage.rss()
    let peak = 0
    let buffered = 0
    const look = () => {
      peak = Math.max(peak, process.memoryUsage.rss())
      buffered = Math.max(buffered, client.metrics().bufferedBytes)
    }
    const timer = setInterval(look, 5)
    const outcome = {}
    let soonest = Infinity
    ${body}
    clearInterval(timer)
    // What was given up is let go just after its promise has settled.
    for (let wait = 0; wait < 400 && client.metrics().bufferedBytes > 0; wait++) await new Promise((resolve) => setTimeout(resolve, 25))
    results[name] = { outcome, soonest: Math.round(soonest), grown: Math.round((peak - before) / MB), buffered: buffered / MB, left: client.metrics().bufferedBytes }
  }
  print(results)
  await client.close()
})
async function all(work, outcome, note) {
  await Promise.all(Array.from({ length: CALLS }, async (_, i) => {
    const began = performance.now()
    const error = await work(i).then((value) => value.errors?.[0], (error) => error)
    const name = error === undefined ? 'fine' : error.code + ' ' + error.applied + ' ' + error.retryable
    outcome[name] = (outcome[name] ?? 0) + 1
    note?.(error, performance.now() - began)
  }))
}`

test('FAULTS 43: more work than maxBufferedBytes waits its turn', async (t) => {
  t.timeout(300_000)
  const server = await startServer(t)
  const { code, stderr, json } = await runProgram(program('await all(work(client, value), outcome, look)'), {
    env: { URL: server.url, COMMAND_TIMEOUT: '120000' }, nodeArgs: ['--expose-gc'], limitMs: 280_000,
  })
  t.is(code, 0, stderr)
  for (const [name, result] of Object.entries(json)) {
    t.log(name, JSON.stringify(result))
    t.deepEqual(result.outcome, { fine: 300 }, name)
    // Resident memory is looked at below, where all this stands still: here it is mostly garbage that V8 has yet to collect.
    t.true(result.buffered < LIMIT / MB + 4, `${name}: ${result.buffered} MB`)
    t.is(result.left, 0, name)
  }
})

test('FAULTS 43: what finds no room in time is OVERLOADED, in bounded memory', async (t) => {
  t.timeout(300_000)
  const server = await startServer(t)
  const { code, stderr, json } = await runProgram(
    program(`process.kill(Number(process.env.SERVER), 'SIGSTOP')
    await all(work(client, value), outcome, (error, ms) => { if (error?.code === 'OVERLOADED') soonest = Math.min(soonest, ms) })
    process.kill(Number(process.env.SERVER), 'SIGCONT')
    // Late answers are dropped; the next call is served as before.
    for (let tries = 1; !(await client.sendCommand(['PING']).catch((error) => { if (tries++ === 10) throw error })); );`),
    { env: { URL: server.url, COMMAND_TIMEOUT: '3000', SERVER: String(server.pid) }, nodeArgs: ['--expose-gc'], limitMs: 280_000 },
  )
  t.is(code, 0, stderr)
  for (const [name, { outcome, soonest, grown, buffered, left }] of Object.entries(json)) {
    t.log(name, JSON.stringify({ outcome, soonest, grown, buffered }))
    const overloaded = outcome['OVERLOADED false true'] ?? 0
    const others = Object.keys(outcome).filter((each) => !/^(OVERLOADED false|TIMEOUT (unknown|false)|CONNECTION_LOST (unknown|false)|CONNECT_TIMEOUT false) true$/.test(each))
    t.deepEqual(others, [], name)
    t.true(overloaded >= 200, `${name}: ${overloaded} were`)
    // They waited: as long as a round trip may take.
    t.true(soonest >= 1000, `${name}: ${soonest} ms`)
    t.true(grown < LIMIT / MB + CONSTANT, `${name}: ${grown} MB`)
    t.true(buffered >= LIMIT / MB - 2 && buffered < LIMIT / MB + 4, `${name}: ${buffered} MB`)
    t.is(left, 0, name)
  }
})
