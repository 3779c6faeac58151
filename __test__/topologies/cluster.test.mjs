// Every operation on a cluster of three primaries with a login.
import test from 'ava'
import rb from '../../index.js'
import { startCluster } from '../support/cluster.js'
import { createAuthority } from '../support/certificates.js'
import { startServer } from '../support/server.js'
import { startTlsProxy } from '../support/tls.js'
import { codes, openClient, runProgram, unique, until } from '../support/work.js'

const { ReplyError, BulkError, ConnectionError } = rb
const password = 'p@ss:word'

let cluster
let client
test.before(async () => {
  cluster = await startCluster({ password })
  client = rb.createClient({ cluster: { nodes: cluster.seeds.slice(0, 1) }, password, clientName: 'cluster-test' })
})
test.after.always(async () => {
  await client?.close()
  await cluster?.stop()
})
test.afterEach.always(async () => {
  for (const server of cluster.servers) await server.cli('FLUSHALL')
})

/** How often the servers answered with an error of that code. */
async function errorCount(code) {
  let sum = 0
  for (const server of cluster.servers) sum += Number(/count=(\d+)/.exec((await server.info('errorstats', `errorstat_${code}`)) ?? '')?.[1] ?? 0)
  return sum
}

/** What each server has. */
async function sizes() {
  return Promise.all(cluster.servers.map((server) => server.cli('DBSIZE')))
}

test('FAULTS 20: 10,000 keys of all slots are written and read in order, as strings, values and buffers', async (t) => {
  const all = codes(10_000)
  const set = await client.pipelineSet(all.map((key, at) => ({ key: `k:${key}`, data: { at, text: 'é✓'.repeat(at % 5) }, ttl: at % 2 === 0 ? 1000 : undefined })))
  t.like(set, { success: true, written: 10_000, failed: 0 })
  const spread = await sizes()
  t.true(
    spread.every((size) => size > 3000),
    String(spread),
  )
  // Duplicates and misses among them, in no order that the servers know.
  const asked = [...all.slice(5000), 'none', ...all.slice(0, 5000), all[7], 'none', all[7]]
  const expected = asked.map((code) => (code === 'none' ? null : Number(code.slice(1))))
  const json = await client.bulkLookup('k:', asked, { as: 'json' })
  t.deepEqual(
    json.results.map((value) => value && value.at),
    expected,
  )
  t.like(json, { cacheHits: 10_002, cacheMisses: 2, errors: [] })
  const strings = await client.bulkLookup('k:', asked)
  t.deepEqual(
    strings.results.map((value) => value && JSON.parse(value).at),
    expected,
  )
  const buffers = await client.bulkLookup('k:', asked, { as: 'buffer', batchSize: 300 })
  t.true(buffers.results.every((value, at) => (value === null ? strings.results[at] === null : value.toString() === strings.results[at])))
  t.is(await cluster.home(await cluster.slot('k:c4')).cli('TTL', 'k:c4').then((ttl) => ttl > 900), true)
})

test('every key goes to its own server at once, whatever its braces', async (t) => {
  await client.connect()
  for (const server of cluster.servers) await server.cli('CONFIG', 'RESETSTAT')
  const pieces = ['', 'a', '{', '}', '{}', '{b}', '{{b}}', 'é', '{✓}', '\n', '\0']
  const keys = pieces.flatMap((one) => pieces.flatMap((two) => pieces.map((three) => `${one}${two}x${three}`)))
  for (const prefix of ['', 'p:', '{tag}:', 'half{', '{}']) {
    const set = await client.pipelineSet(keys.map((key, at) => ({ key: prefix + key, data: String(at) })))
    t.is(set.written, keys.length, prefix)
    const { results } = await client.bulkLookup(prefix, keys)
    // Of two writes to one key the later stands.
    const last = new Map(keys.map((key, at) => [key, String(at)]))
    t.deepEqual(
      results,
      keys.map((key) => last.get(key)),
      prefix,
    )
  }
  t.is(await errorCount('MOVED'), 0)
  t.is(await errorCount('CROSSSLOT'), 0)
  // With a tag, all are in one place.
  const [first, ...others] = (await Promise.all(cluster.servers.map((server) => server.cli('KEYS', '{tag}:*')))).sort((one, other) => other.length - one.length)
  t.is(first.length, new Set(keys).size)
  t.true(others.every((list) => list.length === 0))
})

test('keys of one slot are read with one command, by MGET and by the script', async (t) => {
  const all = codes(3000)
  await client.pipelineSet(all.map((key) => ({ key: `{one}${key}`, data: key })))
  for (const server of cluster.servers) await server.cli('CONFIG', 'RESETSTAT')
  for (const strategy of ['mget', 'script']) {
    const { results } = await client.bulkLookup('{one}', all, { strategy })
    t.deepEqual(results, all)
  }
  const home = cluster.home(await cluster.slot('{one}'))
  t.true(Number(/calls=(\d+)/.exec(await home.info('commandstats', 'cmdstat_mget'))[1]) <= 10)
})

test('deletions count and report each key once', async (t) => {
  const all = codes(3000)
  await client.pipelineSet(all.map((key) => ({ key, data: '1' })))
  const asked = all.flatMap((key, at) => (at % 3 === 0 ? [key, `no:${key}`, key] : [key]))
  const report = await client.batchDelete(asked.slice(0, 3000), { report: true })
  const seen = new Set()
  const expected = asked.slice(0, 3000).map((key) => !key.startsWith('no:') && !seen.has(key) && Boolean(seen.add(key)))
  t.deepEqual(report.existed, expected)
  t.like(report, { deleted: seen.size, failed: 0, errors: [] })
  const progress = []
  t.is(await client.batchDelete(all, { onProgress: (step) => progress.push(step), batchSize: 500 }), 3000 - seen.size)
  t.like(progress.at(-1), { scanned: 3000, done: 3000 - seen.size, total: 3000 })
  t.deepEqual(await sizes(), [0, 0, 0])
})

test('nx and xx are answered for each key', async (t) => {
  const entries = codes(2000).map((key, at) => ({ key, data: `v${at}` }))
  await client.pipelineSet(entries.filter((_, at) => at % 2 === 0))
  const xx = await client.pipelineSet(entries, { condition: 'xx' })
  t.is(xx.written, 1000)
  t.true(xx.errors.every(({ index, code, applied }) => index % 2 === 1 && code === 'NOT_SET' && applied === false))
  const nx = await client.pipelineSet(entries, { condition: 'nx', ttl: 100 })
  t.is(nx.written, 1000)
  t.deepEqual(
    nx.errors.map(({ index }) => index),
    entries.map((_, at) => at).filter((at) => at % 2 === 0),
  )
})

test('a scan finds the keys of all servers, each once; a deletion by pattern takes them', async (t) => {
  const all = codes(5000)
  await client.pipelineSet([...all.map((key) => ({ key: `s:${key}`, data: '1' })), ...all.slice(0, 10).map((key) => ({ key: `other:${key}`, data: '1' }))])
  await client.sendCommand(['RPUSH', 's:list', 'a'])
  const progress = []
  const found = await client.scanAll('s:c*', { count: 100, onProgress: (step) => progress.push(step) })
  t.deepEqual(
    [...found].sort(),
    all.map((key) => `s:${key}`).sort(),
  )
  t.like(progress.at(-1), { scanned: 5000, done: 5000 })
  t.deepEqual(await client.scanAll('s:*', { type: 'list' }), ['s:list'])
  t.is((await client.scanAll('s:*', { limit: 1234 })).length, 1234)
  const steps = []
  for await (const keys of client.scanIterator('s:c*', { count: 200 })) steps.push(keys)
  t.is(new Set(steps.flat()).size, 5000)
  t.true(steps.length > 3)
  for await (const keys of client.scanIterator('s:c*')) {
    t.true(keys.length > 0)
    break
  }
  const dry = await client.deleteByPattern('s:*', { dryRun: true })
  t.is(dry.deleted, 0)
  t.true(dry.matched >= 5001)
  t.like(await client.deleteByPattern('s:*', { minBytes: 1 }), { deleted: 5001, failed: 0 })
  t.is((await sizes()).reduce((sum, size) => sum + size), 10)
})

test('FAULTS 23: the script is loaded again where it was lost, callers see nothing', async (t) => {
  const all = codes(1000)
  await client.pipelineSet(all.map((key) => ({ key, data: key })))
  await client.sendCommand(['RPUSH', 'list', 'a'])
  for (const lost of [cluster.servers.slice(0, 1), cluster.servers]) {
    for (const server of lost) await server.cli('SCRIPT', 'FLUSH')
    const { results, errors } = await client.bulkLookup('', [...all, 'list', 'none'], { strategy: 'script' })
    t.deepEqual(results, [...all, null, null])
    t.deepEqual(
      errors.map(({ index, code }) => [index, code]),
      [[1000, 'WRONGTYPE']],
    )
  }
  t.deepEqual((await client.bulkLookup('', ['list', 'c1'])).results, [null, 'c1'])
})

test('any other command goes where its first key is; some go to every primary', async (t) => {
  for (const server of cluster.servers) await server.cli('CONFIG', 'RESETSTAT')
  for (const key of codes(30)) {
    t.is(await client.sendCommand(['SET', key, key]), 'OK')
    t.is(await client.sendCommand(['EVAL', 'return redis.call("GET", KEYS[1])', 1, key]), key)
    t.is(await client.sendCommand(['OBJECT', 'ENCODING', key]), 'embstr')
  }
  t.is(await errorCount('MOVED'), 0)
  t.is(await client.sendCommand(['PING']), 'PONG')
  t.is(await client.sendCommand(['EVAL', 'return 7', 0]), 7)
  t.is(await client.sendCommand(['DBSIZE']), 30)
  t.is((await client.sendCommand(['KEYS', '*'])).length, 30)
  const sha = await client.sendCommand(['SCRIPT', 'LOAD', 'return 8'])
  for (const server of cluster.servers) t.is(await server.cli('EVALSHA', sha, 0), 8)
  const error = await t.throwsAsync(client.sendCommand(['MSET', 'a', '1', 'b', '2']), { instanceOf: ReplyError })
  t.is(error.code, 'CROSSSLOT')
  t.is(await client.sendCommand(['FLUSHALL']), 'OK')
  t.deepEqual(await sizes(), [0, 0, 0])
})

test('what stands on the operations works: fetch, sync, rate limits, cached data', async (t) => {
  const fetched = await client.bulkFetch('f:', codes(100), async (missing) => new Map(missing.map((code) => [code, { code }])), { ttl: 100 })
  t.is(fetched.size, 100)
  t.deepEqual((await client.bulkLookup('f:', ['c5'], { as: 'json' })).results, [{ code: 'c5' }])
  t.like(await client.bulkSyncCache([{ key: 'a', value: 1 }], ['f:c1', 'f:c2']), { successful: 3, failed: 0 })
  const limiter = client.createRateLimiter({ keyPrefix: 'rl:', points: 2, duration: 100 })
  const results = []
  for (const id of ['a', 'b', 'c', 'a', 'a']) results.push((await limiter.consume(id)).allowed)
  t.deepEqual(results, [true, true, true, true, false])
  t.is(await client.cacheSet('page:1', 'x'), true)
  t.is(await client.cacheDelPrefix('page:'), 1)
  const cache = client.createCache('things', { ttl: 100, maxEntries: 50 })
  await cache.setMany(codes(40).map((id) => ({ id, value: { id, at: new Date(0) } })))
  t.deepEqual(await cache.getMany(['c1', 'none', 'c39']), [{ id: 'c1', at: new Date(0) }, undefined, { id: 'c39', at: new Date(0) }])
  t.is(await cache.size(), 40)
  t.is(await cache.clear(), 40)
  await cache.close()
  const values = []
  for await (const items of client.lookupIterator('f:', codes(50))) values.push(...items)
  t.is(values.filter(({ value }) => value !== null).length, 48)
})

test('health names every node; every connection is logged in and named', async (t) => {
  await client.connect()
  const health = await client.health()
  t.like(health, { status: 'up', mode: 'cluster', state: 'ready', servedFrom: 'redis' })
  t.deepEqual(health.nodes, [...cluster.seeds].sort().map((address) => ({ address, role: 'primary', up: true })))
  for (const server of cluster.servers) t.true((await server.clients()).some(({ name }) => name === 'cluster-test'))
})

test('a wrong password is AUTH, a server without a cluster its own error, nobody there CONNECTION_REFUSED', async (t) => {
  const wrong = openClient(t, { cluster: { nodes: cluster.seeds }, password: 'wrong', clientName: unique() })
  const refused = await t.throwsAsync(wrong.bulkLookup('', ['a']), { instanceOf: ConnectionError })
  t.is(refused.code, 'AUTH')
  const single = await startServer(t)
  const alone = openClient(t, { cluster: { nodes: [`127.0.0.1:${single.port}`] }, clientName: unique() })
  const error = await t.throwsAsync(alone.pipelineSet([{ key: 'a', data: 1 }]), { instanceOf: ReplyError })
  t.like(error, { code: 'ERR', applied: false })
  const nobody = openClient(t, { cluster: { nodes: ['127.0.0.1:1', 'localhost:1'] }, clientName: unique() })
  for (const call of [() => nobody.bulkLookup('', ['a']), () => nobody.connect(), () => nobody.scanAll('*'), () => nobody.batchDelete(['a'])]) {
    const missing = await t.throwsAsync(call(), undefined)
    t.is(missing.code, 'CONNECTION_REFUSED')
  }
  t.like(await nobody.health(), { status: 'down', mode: 'cluster', nodes: [{ address: '127.0.0.1:1', role: 'primary', up: false }, { address: 'localhost:1' }] })
  // One seed of several is enough.
  const some = openClient(t, { cluster: { nodes: ['127.0.0.1:1', ...cluster.seeds.slice(2)] }, password, clientName: unique() })
  t.like(await some.bulkLookup('', codes(10)), { cacheMisses: 10 })
})

test('FAULTS 25: keys that the login may not touch fail alone', async (t) => {
  const names = codes(300)
  await client.pipelineSet(names.map((key) => ({ key: `{t}${key}`, data: key })))
  for (const server of cluster.servers) await server.cli('ACL', 'SETUSER', 'some', 'on', '>secret', '+@all', '~{t}c1*', '~c1*')
  const some = openClient(t, { cluster: { nodes: cluster.seeds }, username: 'some', password: 'secret', clientName: unique() })
  for (const prefix of ['{t}', '']) {
    await client.pipelineSet(names.map((key) => ({ key: `${prefix}${key}`, data: key })))
    const allowed = names.map((code) => code.startsWith('c1'))
    const { results, errors } = await some.bulkLookup(prefix, names)
    t.deepEqual(
      results,
      names.map((code, at) => (allowed[at] ? code : null)),
    )
    t.deepEqual(
      errors.map(({ index, code }) => [index, code]),
      names.flatMap((_, at) => (allowed[at] ? [] : [[at, 'NOPERM']])),
    )
    const set = await some.pipelineSet(names.map((key) => ({ key: prefix + key, data: '2' })))
    t.is(set.written, allowed.filter(Boolean).length)
    const deleted = await t.throwsAsync(some.batchDelete(names.map((key) => prefix + key)), { instanceOf: BulkError })
    t.is(deleted.report.deleted, allowed.filter(Boolean).length)
  }
  const all = await t.throwsAsync(some.bulkLookup('', names.slice(20, 90)), { instanceOf: ReplyError })
  t.is(all.code, 'NOPERM')
})

test('found from the environment alone; the process ends by itself', async (t) => {
  const source = `main(async () => {
    await rb.pipelineSet([{ key: 'env', data: 'here' }])
    print([(await rb.bulkLookup('', ['env', 'c1', 'c2'])).results, (await rb.health()).mode])
  })`
  for (const env of [{ REDIS_CLUSTER_NODES: cluster.seeds.join(','), REDIS_PASSWORD: password }, { REDIS_CLUSTER: 'true', REDIS_URL: cluster.servers[1].url }]) {
    const { code, json, stderr } = await runProgram(source, { env })
    t.is(code, 0, stderr)
    t.deepEqual(json, [['here', null, null], 'cluster'])
  }
})

test('close ends every connection; connect makes them again', async (t) => {
  const name = unique('closing')
  const own = rb.createClient({ cluster: { nodes: cluster.seeds }, password, clientName: name })
  await own.bulkLookup('', codes(100))
  const connections = async () => (await Promise.all(cluster.servers.map((server) => server.clients()))).flat().filter((each) => each.name === name).length
  t.is(await connections(), 3)
  await own.close()
  await until(async () => (await connections()) === 0)
  await t.throwsAsync(own.bulkLookup('', ['a']), { code: 'CLOSED' })
  await own.connect()
  await until(async () => (await connections()) === 3)
  t.like(await own.bulkLookup('', codes(100)), { cacheMisses: 100 })
  await own.close()
})

test('nodes that announce no host are the ones that were asked', async (t) => {
  for (const server of cluster.servers) await server.cli('CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'unknown-endpoint')
  t.teardown(async () => {
    for (const server of cluster.servers) await server.cli('CONFIG', 'SET', 'cluster-preferred-endpoint-type', 'ip')
  })
  const own = openClient(t, { cluster: { nodes: [`localhost:${cluster.servers[0].port}`] }, password, clientName: unique() })
  t.is((await own.pipelineSet(codes(100).map((key) => ({ key, data: key })))).written, 100)
  t.deepEqual((await own.bulkLookup('', codes(100))).results, codes(100))
  t.true((await own.health()).nodes.some(({ address }) => address.startsWith('localhost:')))
})

test('TLS to every node, whose announced addresses are mapped to where TLS is spoken', async (t) => {
  const ca = await createAuthority()
  const identity = await ca.issue({ names: ['localhost'] })
  const natMap = {}
  for (const server of cluster.servers) natMap[`127.0.0.1:${server.port}`] = `localhost:${(await startTlsProxy(t, server, identity)).port}`
  const nodes = Object.values(natMap).slice(0, 1)
  const own = openClient(t, { cluster: { nodes, natMap }, tls: { ca: ca.cert }, password, clientName: unique() })
  const all = codes(500)
  t.is((await own.pipelineSet(all.map((key) => ({ key, data: key })))).written, 500)
  t.deepEqual((await own.bulkLookup('', all)).results, all)
  t.deepEqual((await own.scanAll('*')).sort(), [...all].sort())
  t.deepEqual(
    (await own.health()).nodes.map(({ address, up }) => [address, up]),
    Object.values(natMap).sort().map((address) => [address, true]),
  )
  // Without the CA nobody is trusted, and nothing goes on in plain text.
  const wary = openClient(t, { cluster: { nodes, natMap }, tls: true, password, clientName: unique() })
  t.is((await t.throwsAsync(wary.bulkLookup('', ['a']))).code, 'TLS')
})
