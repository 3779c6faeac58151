// FAULTS 44: a panic in the core ends the call in which it happens, with an error that says so, and nothing else.
import test from 'ava'
import { execFile } from 'node:child_process'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { checkBinary } from '../../scripts/check-binary.mjs'
import { hostPlatform } from '../../scripts/platforms.mjs'
import { startServer } from '../support/server.js'
import { stagePackage } from '../support/staged.js'
import { runProgram } from '../support/work.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The addon with the hooks: built here, as no other has them. */
let addon
test.before(async (t) => {
  t.timeout(900_000)
  const { stdout } = await promisify(execFile)(process.execPath, ['scripts/build-hooks.mjs'], { cwd: root, maxBuffer: 1 << 26 })
  addon = stdout.trim().split('\n').at(-1)
})

/** Where it happens, and in which calls. */
const places = {
  operation: ['pipelineSet', 'batchDelete', 'sendCommand', 'scanAll', 'large', 'script'],
  settled: ['pipelineSet', 'batchDelete', 'sendCommand', 'scanAll', 'large', 'script'],
  call: ['small', 'pipelineSet', 'batchDelete', 'sendCommand', 'scanAll', 'large', 'abortable'],
  answer: ['small', 'abortable'],
  delivery: ['sendCommand', 'scanAll', 'large'],
}

const prelude = (staged, binary) => `
const staged = require(${JSON.stringify(staged)})
const hooks = require(${JSON.stringify(binary)})
const codes = (count) => Array.from({ length: count }, (_, i) => 'c' + i)
const calls = {
  small: (client) => client.bulkLookup('', ['a']),
  abortable: (client) => client.bulkLookup('', ['a'], { signal: new AbortController().signal }),
  large: (client) => client.bulkLookup('', codes(3000)),
  script: (client) => client.bulkLookup('', ['a'], { strategy: 'script' }),
  pipelineSet: (client) => client.pipelineSet([{ key: 'a', data: '1' }]),
  batchDelete: (client) => client.batchDelete(['none']),
  sendCommand: (client) => client.sendCommand(['ECHO', 'e']),
  scanAll: (client) => client.scanAll('b*'),
}
const fact = (error) => error === undefined ? 'fine' : [error instanceof staged.RedisBulkError, error.constructor.name, error.code, error.retryable, error.applied, /report/.test(error.message)].join(' ')
const settled = (promise) => promise.then(() => undefined, (error) => error)
const INTERNAL = 'true RedisBulkError INTERNAL false unknown true'
`

test('FAULTS 44: the check of binaries for publishing knows this one by its text', (t) => {
  t.throws(() => checkBinary(addon, hostPlatform()), { message: /feature test-hooks/ })
})

test('FAULTS 44: a panic is a rejected promise, other calls go on, later calls work', async (t) => {
  t.timeout(300_000)
  const server = await startServer(t)
  const binary = path.basename(addon)
  const staged = stagePackage(t, addon, binary)
  const { code, signal, stderr, json } = await runProgram(
    `${prelude(staged, path.join(staged, binary))}
    main(async () => {
      const results = {}
      const places = ${JSON.stringify(places)}
      const other = staged.createClient({ url: process.env.URL, clientName: 'other' })
      await other.connect()
      for (const [place, names] of Object.entries(places)) {
        for (const name of names) {
          const client = staged.createClient({ url: process.env.URL })
          await client.connect()
          hooks.panicAt(place)
          // Others are under way at the same time, on this connection and on another one: it ends one of the three.
          const hit = [calls[name](client), client.sendCommand(['PING']), other.bulkLookup('', codes(20000))].map(settled)
          const during = (await Promise.all(hit)).map(fact).sort()
          const after = []
          for (const each of Object.keys(calls)) after.push(fact(await settled(calls[each](client))))
          results[place + ' ' + name] = [during, ...new Set(after)]
          // What had failed is no longer in flight: closing waits for nothing.
          const started = performance.now()
          await client.close()
          if (performance.now() - started > 4000) results[place + ' ' + name].push('close() waited')
        }
      }
      // A call is counted off just after its promise has settled.
      for (let look = 0; look < 200 && other.metrics().inFlight > 0; look++) await new Promise((resolve) => setTimeout(resolve, 25))
      print({ results, internal: INTERNAL, inFlight: other.metrics().inFlight })
    })`,
    { env: { URL: server.url }, limitMs: 200_000 },
  )
  t.is(code, 0, `${signal} ${stderr}`)
  for (const [what, outcome] of Object.entries(json.results)) t.deepEqual(outcome, [['fine', 'fine', json.internal], 'fine'], what)
  t.is(json.inFlight, 0)
  t.is(Object.keys(json.results).length, Object.values(places).flat().length)
  t.is(stderr.match(/panicked at/g).length, Object.values(places).flat().length, 'each panic happened')
})

test('FAULTS 44: small look-ups that go out together, and those that the event loop reads', async (t) => {
  const server = await startServer(t)
  const binary = path.basename(addon)
  const staged = stagePackage(t, addon, binary)
  const { code, signal, stderr, json } = await runProgram(
    `${prelude(staged, path.join(staged, binary))}
    main(async () => {
      const client = staged.createClient({ url: process.env.URL })
      // A row of small ones: now this thread's own event loop reads the answers.
      for (let i = 0; i < 50; i++) await client.bulkLookup('', ['a'])
      const all = async (place) => {
        hooks.panicAt(place)
        return (await Promise.all(codes(20).map((code) => settled(client.bulkLookup('', [code]))))).map(fact)
      }
      const together = await all('answer')
      for (let i = 0; i < 50; i++) await client.bulkLookup('', ['a'])
      const begun = await all('call')
      // The reader itself: the connection is given up, and what may be repeated is.
      for (let i = 0; i < 50; i++) await client.bulkLookup('', ['a'])
      const read = await all('reader')
      hooks.panicAt('reader')
      const runtime = fact(await settled(client.bulkLookup('', codes(3000))))
      const later = fact(await settled(client.bulkLookup('', ['a'])))
      print({ internal: INTERNAL, together, begun, read, runtime, later })
    })`,
    { env: { URL: server.url } },
  )
  t.is(code, 0, `${signal} ${stderr}`)
  t.deepEqual(new Set([...json.together, ...json.begun]), new Set([json.internal]))
  t.deepEqual([new Set(json.read), json.runtime, json.later], [new Set(['fine']), 'fine', 'fine'])
  t.is(stderr.match(/panicked at/g).length, 4)
})

test('FAULTS 44: while a connection is made', async (t) => {
  const server = await startServer(t)
  const binary = path.basename(addon)
  const staged = stagePackage(t, addon, binary)
  const { code, signal, stderr, json } = await runProgram(
    `${prelude(staged, path.join(staged, binary))}
    main(async () => {
      const client = staged.createClient({ url: process.env.URL })
      hooks.panicAt('connect')
      const first = await Promise.all([client.bulkLookup('', ['a']), client.sendCommand(['PING']), client.connect()].map(settled))
      const later = await settled(client.bulkLookup('', ['a']))
      print({ first: first.map((error) => error === undefined ? 'fine' : error.code + ' ' + error.applied), later: fact(later) })
      await client.close()
    })`,
    { env: { URL: server.url } },
  )
  t.is(code, 0, `${signal} ${stderr}`)
  // Those who waited for that connection; nothing was sent for them. Who came later got the next one.
  t.true(json.first.includes('INTERNAL false'), String(json.first))
  t.true(json.first.every((outcome) => outcome === 'INTERNAL false' || outcome === 'fine'), String(json.first))
  t.is(json.later, 'fine')
})
