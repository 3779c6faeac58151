// Many callers at once: answers never mixed, whatever the sizes.
import test from 'ava'
import { startServer } from '../support/server.js'
import { startProxy } from '../support/proxy.js'
import { codes, openClient, randomFrom, timed, unique } from '../support/work.js'

let server
test.before(async () => {
  server = await startServer()
})
test.after.always(() => server?.stop())

const open = (t, options) => openClient(t, { url: server.url, keyPrefix: `${unique()}:`, ...options })
const both = (title, body) => {
  test(title, (t) => body(t, open(t)))
  test(`${title} (memory:)`, (t) => body(t, openClient(t, { url: 'memory:', clientName: unique() })))
}
const valueOf = (key) => `value of ${key}${key.length % 3 ? '' : ' ☃'}`

both('50 callers with different codes at once are each given their own', async (t, client) => {
  const all = codes(50).flatMap((caller) => codes(40, `${caller}:`))
  await client.pipelineSet(all.map((key) => ({ key, data: valueOf(key) })))
  for (let round = 0; round < 20; round++) {
    const calls = codes(50).map(async (caller, index) => {
      const list = codes(1 + ((round * 7 + index) % 45), `${caller}:`)
      const options = [undefined, { as: 'string' }, { strategy: 'script' }, { as: 'buffer' }][index % 4]
      const { results } = await client.bulkLookup('', list, options)
      return results.every((value, at) => (at < 40 ? String(value) === valueOf(list[at]) : value === null)) && results.length === list.length
    })
    t.deepEqual((await Promise.all(calls)).indexOf(false), -1, `round ${round}`)
  }
})

both('calls of every kind and size interleaved', async (t, client) => {
  const random = randomFrom(20_251)
  const keys = codes(30_000)
  await client.pipelineSet(keys.map((key) => ({ key, data: valueOf(key) })))
  const pick = (most) => Math.floor(random() * most)
  const kinds = [
    async () => {
      const size = [1, 2, 5, 255, 256, 257, 1000, 1001, 5000, 25_000][pick(10)]
      const from = pick(30_000)
      const list = Array.from({ length: size }, (_, i) => (i % 11 === 0 ? `none${i}` : keys[(from + i) % 30_000]))
      const options = [undefined, { as: 'buffer' }, { strategy: 'script' }, { batchSize: 1 + pick(400) }][pick(4)]
      const { results, cacheHits, cacheMisses } = await client.bulkLookup('', list, options)
      return cacheHits + cacheMisses === size && results.every((value, i) => (i % 11 === 0 ? value === null : String(value) === valueOf(list[i])))
    },
    async () => {
      const word = `own${pick(1e9)}:`
      const own = codes(1 + pick(1500), word)
      const { written } = await client.pipelineSet(own.map((key) => ({ key, data: key, ttl: pick(2) ? 100 : undefined })))
      const { results } = await client.bulkLookup('', own)
      const deleted = await client.batchDelete(own)
      return written === own.length && results.every((value, i) => value === own[i]) && deleted === own.length
    },
    async () => (await client.scanAll('c1234?', 5000)).length === 10,
    async () => {
      const echo = `say ${pick(1e9)}`
      return (await client.sendCommand(['ECHO', echo])) === echo
    },
    async () => {
      const report = await client.batchDelete(['none1', 'none2'], { report: true })
      return report.deleted === 0 && report.existed.length === 2
    },
  ]
  const outcomes = await Promise.all(
    codes(12).map(async () => {
      const wrong = []
      for (let i = 0; i < 25; i++) {
        const kind = pick(kinds.length)
        const { value, error } = await timed(kinds[kind]())
        if (value !== true) wrong.push(`${kind}: ${error ?? 'a wrong answer'}`)
      }
      return wrong
    }),
  )
  t.deepEqual(outcomes.flat(), [])
})

test('a huge call beside small ones: the small ones are answered meanwhile, all correctly', async (t) => {
  const client = open(t, { commandTimeoutMs: 60_000 })
  const keys = codes(300_000)
  await client.pipelineSet(keys.map((key) => ({ key, data: key })))
  let running = true
  const huge = [client.bulkLookup('', keys), client.bulkLookup('', [...keys].reverse(), { as: 'buffer' })]
  const both = Promise.all(huge).finally(() => (running = false))
  let small = 0
  while (running) {
    const code = keys[(small * 7919) % keys.length]
    const [{ results }, { results: more }] = await Promise.all([client.bulkLookup('', [code, 'none']), client.bulkLookup('c', [code.slice(1)])])
    if (results[0] !== code || results[1] !== null || more[0] !== code) t.fail(`${code} was answered ${results} and ${more}`)
    small++
  }
  const [forth, back] = await both
  t.is(forth.results.findIndex((value, index) => value !== keys[index]), -1)
  t.is(back.results.findIndex((value, index) => String(value) !== keys[keys.length - 1 - index]), -1)
  t.true(small >= 5, `${small} small calls were answered meanwhile`)
})

test('with replies cut into pieces of every size', async (t) => {
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, keyPrefix: `${unique()}:`, commandTimeoutMs: 60_000 })
  const keys = codes(300)
  await client.pipelineSet(keys.map((key) => ({ key, data: `${valueOf(key)}😀` })))
  for (const fragment of [1, 2, 3, 7, 64, 1000]) {
    proxy.fragment = fragment
    const calls = codes(fragment < 7 ? 4 : 20).map(async (_, index) => {
      const list = keys.slice(index * 3, index * 3 + 1 + index * 2)
      const { results } = await client.bulkLookup('', list, index % 2 ? { strategy: 'script' } : { as: 'string' })
      return results.every((value, at) => value === `${valueOf(list[at])}😀`)
    })
    t.deepEqual((await Promise.all(calls)).indexOf(false), -1, `pieces of ${fragment}`)
  }
  t.is(proxy.connections, 1)
})

test('calls that time out or are aborted between others never shift an answer', async (t) => {
  const proxy = await startProxy(t, server)
  const client = openClient(t, { url: proxy.url, keyPrefix: `${unique()}:`, commandTimeoutMs: 30_000 })
  const keys = codes(500)
  await client.pipelineSet(keys.map((key) => ({ key, data: key })))
  proxy.delayMs = 2
  const random = randomFrom(7)
  const outcomes = await Promise.all(
    codes(200).map(async (_, index) => {
      const list = keys.slice(index, index + 1 + (index % 60))
      const controller = new AbortController()
      const options = index % 3 === 0 ? { timeoutMs: 1 + random() * 200 } : index % 3 === 1 ? { signal: controller.signal } : { as: 'buffer' }
      const call = timed(client.bulkLookup('', list, options))
      if (index % 3 === 1 && random() < 0.5) setTimeout(() => controller.abort(), random() * 100)
      const { value, error } = await call
      if (error) return index % 3 === 0 ? error.code === 'TIMEOUT' : index % 3 === 1 && error.name === 'AbortError'
      return value.results.every((each, at) => String(each) === list[at])
    }),
  )
  t.is(outcomes.indexOf(false), -1)
  t.is(proxy.connections, 1)
})

test('calls of one turn on many prefixes, clients and databases', async (t) => {
  const clients = codes(4).map((_, db) => openClient(t, { url: server.url, db, clientName: unique() }))
  const word = unique()
  await Promise.all(clients.map((client, db) => client.pipelineSet(codes(100, `${word}:`).map((key) => ({ key, data: `${db} ${key}` })))))
  const calls = []
  for (let i = 0; i < 400; i++) {
    const db = i % 4
    const number = i % 100
    const cut = i % (word.length + 1)
    const key = `${word}:${number}`
    calls.push(clients[db].bulkLookup(key.slice(0, cut), [key.slice(cut)]).then(({ results }) => results[0] === `${db} ${key}`))
  }
  t.is((await Promise.all(calls)).indexOf(false), -1)
})

test('calls made while the socket takes no more bytes are sent in their turn, and each is given its own answer', async (t) => {
  const own = await startServer(t)
  const client = openClient(t, { url: own.url, commandTimeoutMs: 20_000 })
  const keys = codes(200)
  await client.pipelineSet(keys.map((key) => ({ key, data: valueOf(key) })))
  own.pause()
  // More than the system's buffers hold, so that what follows has to wait in the process.
  const big = Array.from({ length: 20 }, (_, index) => ({ key: `big${index}`, data: Buffer.alloc(2_000_000, index), ttl: 100 }))
  const writes = big.map((entry) => client.pipelineSet([entry]))
  const reads = keys.map((key, index) => client.bulkLookup('', [key], index % 2 ? { as: 'string' } : { strategy: 'script' }))
  const commands = codes(20, 'echo').map((word) => client.sendCommand(['ECHO', word]))
  setTimeout(() => own.resume(), 50)
  const outcomes = await Promise.all([...writes, ...reads, ...commands].map(timed))
  t.deepEqual(outcomes.flatMap(({ error }) => error ?? []), [])
  t.deepEqual(outcomes.slice(0, 20).flatMap(({ value }) => value.errors), [])
  t.deepEqual(outcomes.slice(20, 220).map(({ value }) => value.results[0]), keys.map(valueOf))
  t.deepEqual(outcomes.slice(220).map(({ value }) => value), codes(20, 'echo'))
  t.is(await own.cli('STRLEN', 'big19'), 2_000_000)
})

test('many entries of a megabyte among small ones are all written, without a pause', async (t) => {
  const client = open(t, { commandTimeoutMs: 20_000 })
  const entries = Array.from({ length: 10_000 }, (_, index) => ({ key: `k${index}`, data: index % 1000 === 7 ? Buffer.alloc(3_000_000, 1) : `v${index}`, ttl: index % 3 ? undefined : 1000 }))
  for (let round = 0; round < 10; round++) {
    const { written, errors } = await client.pipelineSet(entries)
    t.deepEqual([written, errors[0]], [10_000, undefined], `round ${round}`)
  }
})
