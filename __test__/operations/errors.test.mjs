// Errors: their classes, their causes, and stacks that lead to the caller.
import test from 'ava'
import rb from '../../index.js'
import { startServer } from '../support/server.js'
import { handshake, startPeer } from '../support/peer.js'
import { codes, openClient, unique } from '../support/work.js'

const operations = {
  bulkLookup: (client) => client.bulkLookup('', ['a']),
  'bulkLookup with options': (client) => client.bulkLookup('', ['a'], { as: 'json' }),
  'bulkLookup of 50,000': (client) => client.bulkLookup('', codes(50_000)),
  pipelineSet: (client) => client.pipelineSet([{ key: 'a', data: '1' }]),
  'pipelineSet of 30,000': (client) => client.pipelineSet(codes(30_000).map((key) => ({ key, data: '1' }))),
  scanAll: (client) => client.scanAll('*'),
  batchDelete: (client) => client.batchDelete(['a']),
  'batchDelete of 50,000': (client) => client.batchDelete(codes(50_000)),
  sendCommand: (client) => client.sendCommand(['PING']),
  connect: (client) => client.connect(),
}

const failures = {
  refused: (t) => openClient(t, { host: '127.0.0.1', port: 1, clientName: unique(), retry: { attempts: 1 } }),
  disabled: (t) => openClient(t, { url: 'disabled', clientName: unique() }),
  closed: async (t) => {
    const client = openClient(t, { url: 'memory:', clientName: unique() })
    await client.close()
    return client
  },
}
for (const [why, make] of Object.entries(failures)) {
  for (const [name, call] of Object.entries(operations)) {
    if (why === 'closed' && name === 'connect') continue
    test(`the stack of ${name} leads to the caller (${why})`, async (t) => {
      const client = await make(t)
      async function theCallersOwnFunction() {
        return await call(client)
      }
      async function itsCaller() {
        await theCallersOwnFunction()
      }
      const error = await t.throwsAsync(itsCaller())
      t.true(error instanceof rb.ConnectionError && error instanceof rb.RedisBulkError && error instanceof Error)
      t.is(error.name, 'ConnectionError')
      t.true(error.stack.startsWith(`ConnectionError: ${error.message}`), error.stack)
      t.regex(error.stack, /theCallersOwnFunction/, error.stack)
      t.regex(error.stack, /itsCaller/, error.stack)
      t.regex(error.stack, /errors\.test\.mjs/)
    })
  }
}

for (const [name, call] of Object.entries({
  bulkLookup: (client) => client.bulkLookup('', ['a', 5]),
  'bulkLookup with options': (client) => client.bulkLookup('', ['a'], { as: 'x' }),
  'a lone surrogate': (client) => client.bulkLookup('', ['\ud800']),
  pipelineSet: (client) => client.pipelineSet([null]),
  scanAll: (client) => client.scanAll(5),
  batchDelete: (client) => client.batchDelete('a'),
  sendCommand: (client) => client.sendCommand([]),
})) {
  test(`the stack of a wrong argument leads to the caller: ${name}`, async (t) => {
    const client = openClient(t, { url: 'memory:', clientName: unique() })
    async function theCallersOwnFunction() {
      return await call(client)
    }
    const error = await t.throwsAsync(theCallersOwnFunction(), { code: 'INVALID_ARGUMENT' })
    t.regex(error.stack, /theCallersOwnFunction/, error.stack)
  })
}

test('the functions of the package lead to the caller, too', async (t) => {
  const server = await startServer(t)
  rb.configure({ url: server.url, clientName: unique() })
  async function theCallersOwnFunction() {
    return await rb.scanAll('*', { timeoutMs: 0.0001 })
  }
  const error = await t.throwsAsync(theCallersOwnFunction())
  t.is(error.code, 'TIMEOUT')
  t.regex(error.stack, /theCallersOwnFunction/)
  await rb.close()
})

test('classes by what went wrong; facts are own properties; the cause is kept', async (t) => {
  const server = await startServer(t)
  const client = openClient(t, { url: server.url })
  await server.cli('SET', 'a', '1')
  const reply = await t.throwsAsync(client.sendCommand(['LPUSH', 'a', 'x']), { instanceOf: rb.ReplyError })
  t.true(reply instanceof rb.RedisBulkError && !(reply instanceof rb.ConnectionError))
  t.like({ ...reply }, { code: 'WRONGTYPE', retryable: false, applied: false })
  const peer = await startPeer(t, (command, reply) => void handshake(command, reply))
  const timeout = await t.throwsAsync(openClient(t, { url: peer.url, commandTimeoutMs: 100 }).sendCommand(['GET', 'a']), { instanceOf: rb.TimeoutError })
  t.true(timeout instanceof rb.RedisBulkError)
  const config = t.throws(() => rb.createClient({ port: 0 }), { instanceOf: rb.ConfigError })
  t.true(config instanceof rb.RedisBulkError)
  const refused = await t.throwsAsync(openClient(t, { host: '127.0.0.1', port: 1, clientName: unique(), retry: { attempts: 1 } }).connect())
  t.true(refused.cause instanceof Error)
  t.regex(refused.cause.message, /refused/i)
  const file = t.throws(() => rb.createClient({ envFile: '/no/such/file' }), { instanceOf: rb.ConfigError })
  t.is(file.cause.code, 'ENOENT')
  const wrong = await t.throwsAsync(client.scanAll('*', { count: 0 }))
  t.is(wrong.constructor, RangeError)
  t.like({ ...wrong }, { code: 'INVALID_ARGUMENT', retryable: false, applied: false })
})

/** Each function with every option that it documents, and a slip in one of them: `[call, options, slip, what was meant]`. */
const call = { timeoutMs: 60_000, signal: new AbortController().signal }
const onProgress = () => {}
const lookupOptions = { as: 'json', strategy: 'script', batchSize: 5, partial: true, ...call }
const setOptions = { ttl: 60, condition: 'nx', batchSize: 5, ...call }
const scanOptions = { count: 5, type: 'string', limit: 5, onProgress, ...call }
const deleteOptions = { batchSize: 5, report: true, onProgress, ...call }
async function drained(iterable) {
  for await (const _ of iterable);
}
const options = {
  bulkLookup: [(client, given) => client.bulkLookup('', ['a'], given), lookupOptions, 'As', 'as'],
  lookupIterator: [async (client, given) => drained(client.lookupIterator('', ['a'], given)), lookupOptions, 'stratgey', 'strategy'],
  pipelineSet: [(client, given) => client.pipelineSet([{ key: 'a', data: '1' }], given), setOptions, 'tll', 'ttl'],
  bulkSet: [(client, given) => client.bulkSet([{ key: 'a', value: '1' }], given), setOptions, 'tt1', 'ttl'],
  bulkSyncCache: [(client, given) => client.bulkSyncCache([{ key: 'a', value: '1' }], ['b'], given), setOptions, 'conditions', 'condition'],
  scanAll: [(client, given) => client.scanAll('*', given), scanOptions, 'cuont', 'count'],
  scanIterator: [async (client, given) => drained(client.scanIterator('*', given)), scanOptions, 'on_progress', 'onProgress'],
  batchDelete: [(client, given) => client.batchDelete(['a'], given), deleteOptions, 'batch', 'batchSize'],
  deleteByPattern: [(client, given) => client.deleteByPattern('none*', given), { ...deleteOptions, count: 5, dryRun: true, idleSeconds: 0, minBytes: 1, maxKeysPerSecond: 5000 }, 'dryrun', 'dryRun'],
  bulkFetch: [(client, given) => client.bulkFetch('', ['a'], async () => new Map(), given), { ttl: 60, missTtl: 5, ...call }, 'timeout', 'timeoutMs'],
  sendCommand: [(client, given) => client.sendCommand(['PING'], given), call, 'signals', 'signal'],
  createRateLimiter: [async (client, given) => client.createRateLimiter({ keyPrefix: 'a', points: 1, duration: 1, ...given }), { blockDuration: 5 }, 'blockduration', 'blockDuration'],
  createCache: [
    async (client, given) => client.createCache('a', given),
    { ttl: 60, version: 2, codec: 'raw', compress: { algorithm: 'zstd', minBytes: 5 }, local: { maxEntries: 5, maxBytes: 500, ttl: 5 }, maxEntries: 5, staleWhileRevalidate: 5, flushIntervalMs: 5, lockMs: 5 },
    'maxEntires',
    'maxEntries',
  ],
  'createCache, compress': [async (client, given) => client.createCache('a', { compress: given }), {}, 'minbytes', 'minBytes', 'compress.'],
  'createCache, local': [async (client, given) => client.createCache('a', { local: given }), {}, 'maxByte', 'maxBytes', 'local.'],
}
for (const [name, [make, known, slip, meant, path = '']] of Object.entries(options)) {
  test(`an option of a name that is not known is refused, whatever its value, and what was meant is named: ${name}`, async (t) => {
    const client = openClient(t, { url: 'memory:', clientName: unique() })
    await make(client, known)
    await client.batchDelete(['a'])
    for (const value of [60, undefined]) {
      const error = await t.throwsAsync(() => make(client, { [slip]: value }), { instanceOf: TypeError, code: 'INVALID_ARGUMENT' })
      t.is(error.message, `unknown option ${path}${slip}: did you mean ${path}${meant}?`)
    }
    const far = await t.throwsAsync(() => make(client, { 'unheard\nof': 1 }), { instanceOf: TypeError, code: 'INVALID_ARGUMENT' })
    t.regex(far.message, /^unknown option [a-z.]*unheard\\nof: known are \w+(, \w+)+$/)
    t.deepEqual(await client.scanAll('*'), [], 'nothing was written')
  })
}
