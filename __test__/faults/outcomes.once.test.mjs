// The table of docs/reliability.md, row by row: each cell is what a real call came to. A row without its scenario here, or
// a scenario without its row, is a failure too.
import test from 'ava'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { handshake, startPeer } from '../support/peer.js'
import { startServer } from '../support/server.js'
import { openClient, unique } from '../support/work.js'

const docs = readFileSync(new URL('../../docs/reliability.md', import.meta.url), 'utf8')
const lines = docs.slice(docs.indexOf('<!-- outcomes:start -->'), docs.indexOf('<!-- outcomes:end -->')).split('\n').filter((line) => line.startsWith('|'))
const cells = (line) => line.split('|').slice(1, -1).map((cell) => cell.trim())
const [header, , ...body] = lines.map(cells)
const columns = header.slice(1).map((cell) => cell.replaceAll('`', ''))

/** One call of each column. Two items, so that an account of items can be told from a failure of the whole. */
const operations = {
  bulkLookup: (client, options) => client.bulkLookup('', ['a', 'b'], { ...options }),
  'bulkLookup partial': (client, options) => client.bulkLookup('', ['a', 'b'], { ...options, partial: true }),
  scanAll: (client, options) => client.scanAll('*', { ...options }),
  pipelineSet: (client, options) => client.pipelineSet([{ key: 'a', data: '1' }, { key: 'b', data: '2' }], { ...options }),
  'pipelineSet nx': (client, options) => client.pipelineSet([{ key: 'a', data: '1' }, { key: 'b', data: '2' }], { ...options, condition: 'nx' }),
  batchDelete: (client, options) => client.batchDelete(['a', 'b'], { ...options }),
  sendCommand: (client, options) => client.sendCommand(['INCR', 'a'], { ...options }),
}

/** What a server answers when all is well. */
function serve([name, ...args], reply) {
  switch (name.toUpperCase()) {
    case 'MGET':
      return reply(args.map(() => 'v'))
    case 'SCAN':
      return reply(['0', ['a', 'b']])
    case 'SET':
    case 'MSET':
      return reply({ simple: 'OK' })
    case 'UNLINK':
      return reply(args.length)
    default:
      return reply(1)
  }
}

/** A peer that does its handshake and then what `act` says; `nth` counts the commands after the handshake. */
async function peerOf(t, act) {
  let nth = 0
  return startPeer(t, (command, reply, socket) => {
    if (!handshake(command, reply)) act({ command, reply, socket, nth: nth++ })
  })
}
const refusal = (text) => async (t, client) => ({ url: (await peerOf(t, ({ reply }) => reply(new Error(text)))).url, ...client })
const quick = { retry: { attempts: 3, baseDelayMs: 5, maxDelayMs: 20 } }

/**
 * What each row is made by. `options`: the client's; `connected`: it connects first; `before`: runs before the call;
 * `call`: the call's options.
 */
const scenarios = {
  // Nobody listens on port 1.
  'no server on that port': async () => ({ options: { url: 'redis://127.0.0.1:1', ...quick } }),
  'no answer while connecting': async (t) => ({ options: { url: (await startPeer(t, () => {})).url, connectTimeoutMs: 500 } }),
  'a wrong password': async (t) => {
    const peer = await startPeer(t, ([name], reply) => reply(name === 'AUTH' ? new Error('WRONGPASS invalid username-password pair') : { simple: 'OK' }))
    return { options: { url: peer.url, password: 'wrong' } }
  },
  'the connection breaks once, after the command was sent': async (t) => {
    const peer = await peerOf(t, ({ command, reply, socket, nth }) => (nth === 0 ? socket.destroy() : serve(command, reply)))
    return { options: { url: peer.url, ...quick } }
  },
  'the connection breaks each time': async (t) => ({ options: { url: (await peerOf(t, ({ socket }) => socket.destroy())).url, ...quick } }),
  'it breaks, and then there is no server': async (t) => {
    const peer = await peerOf(t, ({ socket }) => {
      peer.stop()
      socket.destroy()
    })
    return { options: { url: peer.url, ...quick } }
  },
  'it breaks, and the repetition is refused (OOM)': async (t) => {
    const peer = await peerOf(t, ({ reply, socket, nth }) => (nth === 0 ? socket.destroy() : reply(new Error('OOM command not allowed'))))
    return { options: { url: peer.url, ...quick } }
  },
  'no answer within `commandTimeoutMs`': async (t) => ({ options: { url: (await peerOf(t, () => {})).url, commandTimeoutMs: 2000 }, connected: true }),
  'no answer within `timeoutMs`': async (t) => ({ options: { url: (await peerOf(t, () => {})).url, commandTimeoutMs: 60_000 }, connected: true, call: { timeoutMs: 2000 } }),
  '`timeoutMs` is over before there is a connection': async (t) => ({ options: { url: (await startPeer(t, () => {})).url, connectTimeoutMs: 30_000 }, call: { timeoutMs: 500 } }),
  'bytes that are no answer': async (t) => ({ options: { url: (await peerOf(t, ({ reply }) => reply.raw('?what\r\n'))).url, ...quick } }),
  'the server refuses the command (NOPERM)': async (t) => ({ options: await refusal('NOPERM this user has no permissions')(t) }),
  'the server is out of memory (OOM)': async (t) => ({ options: await refusal('OOM command not allowed')(t) }),
  'the server is a replica (READONLY)': async (t) => ({ options: await refusal("READONLY You can't write against a read only replica.")(t) }),
  'the server goes on loading (LOADING)': async (t) => ({ options: await refusal('LOADING Redis is loading the dataset in memory')(t, { commandTimeoutMs: 3000, ...quick }) }),
  'your AbortSignal, while the answer is due': async (t) => {
    const abort = new AbortController()
    const peer = await peerOf(t, () => abort.abort())
    return { options: { url: peer.url }, call: { signal: abort.signal } }
  },
  'no room within `maxBufferedBytes`': async (t) => {
    // Each command is answered in its time, but all of them not within the time that others wait for room.
    const answers = []
    const peer = await peerOf(t, ({ reply }) => answers.push(() => reply({ simple: 'OK' })))
    const pace = setInterval(() => answers.shift()?.(), 250)
    t.teardown(() => clearInterval(pace))
    const before = async (client) => {
      client.pipelineSet(Array.from({ length: 80 }, (_, index) => ({ key: `large${index}`, data: 'x'.repeat(20_000) })), { batchSize: 1 }).catch(() => {})
      await peer.until((p) => p.count('MSET') > 0)
    }
    return { options: { url: peer.url, maxBufferedBytes: 65_536, commandTimeoutMs: 4000 }, connected: true, before }
  },
  'after `close()`': async (t) => ({ options: { url: (await peerOf(t, ({ command, reply }) => serve(command, reply))).url }, before: (client) => client.close() }),
  'switched off (`disabled`)': async () => ({ options: { url: 'disabled' } }),
}

/** The words of the table for what a call came to. */
function words({ value, error }) {
  const of = (code, applied) => (applied === undefined ? code : `${code}, ${applied}`)
  const same = (items) => [...new Set(items.map(({ code, applied }) => of(code, applied)))].join(' and ')
  if (error?.name === 'AbortError') return 'rejects: AbortError'
  if (error?.report !== undefined) return `items: ${same(error.report.errors)}`
  if (error !== undefined) return `rejects: ${of(error.code, error.applied)}`
  if (value?.errors?.length > 0) return `items: ${same(value.errors)}`
  return 'as ever'
}

test('the table and its scenarios name the same rows', (t) => {
  t.deepEqual(columns, Object.keys(operations))
  t.deepEqual(body.map(([name]) => name), Object.keys(scenarios))
})

for (const [name, ...expected] of body) {
  test(`outcomes: ${name}`, async (t) => {
    t.timeout(120_000)
    // All listen before any of them stops: none gets the port of another.
    const made = await Promise.all(columns.map(() => scenarios[name](t)))
    const actual = await Promise.all(
      Object.values(operations).map(async (operation, column) => {
        const { options, connected, before, call } = made[column]
        const client = openClient(t, { clientName: unique(), connectTimeoutMs: 10_000, commandTimeoutMs: 10_000, circuitBreaker: false, ...options })
        if (connected) await client.connect()
        await before?.(client)
        return operation(client, call).then((value) => words({ value }), (error) => words({ error }))
      }),
    )
    t.deepEqual(Object.fromEntries(columns.map((column, index) => [column, actual[index]])), Object.fromEntries(columns.map((column, index) => [column, expected[index]])))
  })
}

/** What calls each piece of code of the page, in order. */
const uses = [
  `console.log(JSON.stringify(await writeAll([{ key: 'price:a', data: 1 }, { key: 'price:b', data: 2 }, { key: 'list', data: 3, ttl: -1 }])))`,
  `console.log(JSON.stringify(await prices(['a', 'b', 'c'])))`,
  `console.log(JSON.stringify(await load([{ key: 'x', data: 'y' }])))`,
  `console.log(JSON.stringify(await handler({ ids: ['1'] }, { getRemainingTimeInMillis: () => 30_000 })))`,
  ``,
]
const printed = [
  /^\[\{"index":2,"key":"list","code":"INVALID_ARGUMENT"/,
  // Its limits are short: on a machine that stands still it is answered without the cache.
  /^\[(1|null),(2|null),null\]$/,
  /^1 written, 0 refused, 0 unknown\n\[\]$/,
  /^\[null\]$/,
  /status: 'up'/,
]

test('the code of the page runs', async (t) => {
  const server = await startServer(t)
  const pieces = [...docs.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code)
  t.is(pieces.length, uses.length)
  for (const [index, code] of pieces.entries()) {
    const program = `${code.replace("'redis-bulk'", JSON.stringify(new URL('../../index.mjs', import.meta.url).href))}\n${uses[index]}`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], { env: { ...process.env, REDIS_URL: server.url }, timeout: 60_000 })
    t.regex(stdout.trim(), printed[index])
  }
})
