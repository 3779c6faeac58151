import test from 'ava'
import proxySupport from '../support/proxy.js'
import { clientOf, collect, entries, onAll, startServer, until } from './support.mjs'

const { startProxy } = proxySupport

onAll(test, 'scanIterator gives every key in batches, without the prefix', async (t, client) => {
  await client.pipelineSet([...entries('a:', 2500), ...entries('b:', 10)])
  const batches = await collect(client.scanIterator('a:*', { count: 100 }))
  t.true(batches.length > 1)
  t.true(batches.every((batch) => batch.length > 0))
  // SCAN may name a key again in a later batch.
  t.deepEqual([...new Set(batches.flat())].sort(), entries('a:', 2500).map(({ key }) => key).sort())
  for (const batch of batches) t.is(new Set(batch).size, batch.length)
  t.deepEqual(await collect(client.scanIterator('none:*')), [])
})

onAll(test, 'scanIterator: limit, progress that only grows, type', async (t, client, server, place) => {
  await client.pipelineSet(entries('a:', 500))
  const progress = []
  const keys = (await collect(client.scanIterator('a:*', { count: 50, limit: 120, onProgress: (each) => progress.push(each) }))).flat()
  t.is(keys.length, 120)
  t.is(progress.at(-1).done, 120)
  for (const [index, each] of progress.entries()) {
    const before = progress[index - 1] ?? { scanned: 0, done: 0, elapsedMs: 0 }
    t.true(each.scanned >= before.scanned && each.done >= before.done && each.elapsedMs >= before.elapsedMs)
  }
  t.is(new Set((await collect(client.scanIterator('a:*', { type: 'string' }))).flat()).size, 500)
  t.deepEqual(await collect(client.scanIterator('a:*', { type: 'hash' })), [])
  if (place !== 'memory') {
    await client.sendCommand(['HSET', `${client.keyPrefix}a:hash`, 'f', 'v'])
    t.deepEqual((await collect(client.scanIterator('a:*', { type: 'hash' }))).flat(), ['a:hash'])
  }
})

test('scanIterator stops scanning when the loop is left', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = clientOf(t, { url: proxy.url })
  await client.pipelineSet(entries('a:', 3000))
  for await (const batch of client.scanIterator('*', { count: 10 })) {
    t.true(batch.length > 0)
    break
  }
  // A command of its own shows that no further SCAN was queued before it.
  await client.sendCommand(['PING'])
  t.true(proxy.count('SCAN') <= 2 && proxy.count('SCAN') > 0, `${proxy.count('SCAN')} SCANs`)
})

test('scanIterator goes on after a lost connection', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = clientOf(t, { url: proxy.url })
  await client.pipelineSet(entries('a:', 1000))
  const keys = new Set()
  let cuts = 0
  for await (const batch of client.scanIterator('a:*', { count: 50 })) {
    if (cuts++ === 1) proxy.cut()
    for (const key of batch) keys.add(key)
  }
  t.is(keys.size, 1000)
  t.true(proxy.connections > 1)
})

test('scanIterator: a key that is no UTF-8 comes with U+FFFD', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url, keyPrefix: 'ü:' })
  await server.cli('SET', Buffer.concat([Buffer.from('ü:a'), Buffer.from([0xff])]), '1')
  await server.cli('SET', 'ü:b', '1')
  t.deepEqual((await collect(client.scanIterator('*'))).flat().sort(), ['a\ufffd', 'b'])
})

onAll(test, 'scanIterator: abort and wrong arguments', async (t, client) => {
  await client.pipelineSet(entries('a:', 500))
  const controller = new AbortController()
  const scan = async () => {
    for await (const batch of client.scanIterator('a:*', { count: 10, signal: controller.signal })) {
      t.true(batch.length > 0)
      controller.abort()
    }
  }
  await t.throwsAsync(scan, { any: true, name: 'AbortError' })
  t.throws(() => client.scanIterator(1), { instanceOf: TypeError, code: 'INVALID_ARGUMENT' })
  t.throws(() => client.scanIterator('*', { limit: 0 }), { instanceOf: RangeError, code: 'INVALID_ARGUMENT' })
  t.throws(() => client.scanIterator('*', { type: 'text' }), { code: 'INVALID_ARGUMENT' })
})

onAll(test, 'lookupIterator: sync and async sources, in order, misses as null', async (t, client) => {
  await client.pipelineSet(entries('a:', 25))
  const codes = Array.from({ length: 30 }, (_, index) => String(index))
  const wanted = codes.map((code, index) => ({ code, value: index < 25 ? `v${index}` : null }))
  const batches = await collect(client.lookupIterator('a:', codes, { batchSize: 8 }))
  t.deepEqual(batches.map((batch) => batch.length), [8, 8, 8, 6])
  t.deepEqual(batches.flat(), wanted)
  async function* later() {
    yield* codes
  }
  t.deepEqual((await collect(client.lookupIterator('a:', later(), { batchSize: 7 }))).flat(), wanted)
  t.deepEqual((await collect(client.lookupIterator('a:', new Set(codes)))).flat(), wanted)
  t.deepEqual(await collect(client.lookupIterator('a:', [])), [])
  const [[first]] = await collect(client.lookupIterator('a:', ['1'], { as: 'buffer' }))
  t.deepEqual(first, { code: '1', value: Buffer.from('v1') })
})

onAll(test, 'lookupIterator: the default batch is 1000 codes', async (t, client) => {
  const batches = await collect(client.lookupIterator('a:', entries('', 2100).map(({ key }) => key)))
  t.deepEqual(batches.map((batch) => batch.length), [1000, 1000, 100])
})

onAll(test, 'lookupIterator: an item that fails has its error, by its place in the source', async (t, client) => {
  await client.pipelineSet([{ key: 'j:0', data: { n: 0 } }, { key: 'j:3', data: 'no json' }])
  const items = (await collect(client.lookupIterator('j:', ['0', '1', '2', '3'], { as: 'json', batchSize: 2 }))).flat()
  t.deepEqual(items.slice(0, 3), [{ code: '0', value: { n: 0 } }, { code: '1', value: null }, { code: '2', value: null }])
  t.is(items[3].value, null)
  t.like(items[3].error, { index: 3, key: 'j:3', code: 'INVALID_JSON' })
})

onAll(test, 'lookupIterator reads a sync source one batch ahead, and closes it when the loop is left', async (t, client) => {
  let read = 0
  let closed = 0
  function* codes() {
    try {
      for (;;) yield String(read++)
    } finally {
      closed++
    }
  }
  const iterator = client.lookupIterator('a:', codes(), { batchSize: 10 })
  t.is(read, 0)
  await iterator.next()
  t.is(read, 20)
  await iterator.next()
  t.is(read, 30)
  await iterator.return()
  t.deepEqual([read, closed], [30, 1])
})

onAll(test, 'lookupIterator reads an async source only while the consumer waits', async (t, client) => {
  let read = 0
  let closed = 0
  async function* codes() {
    try {
      for (;;) yield String(read++)
    } finally {
      closed++
    }
  }
  for await (const batch of client.lookupIterator('a:', codes(), { batchSize: 10 })) {
    t.is(batch.length, 10)
    await client.sendCommand(['PING'])
    t.is(read % 10, 0)
    if (read === 30) break
  }
  t.deepEqual([read, closed], [30, 1])
})

onAll(test, 'lookupIterator tells what came before the source failed', async (t, client) => {
  const failure = new Error('the file ended')
  function* sync() {
    yield '1'
    throw failure
  }
  async function* async() {
    yield '1'
    throw failure
  }
  for (const source of [sync(), async()]) {
    const iterator = client.lookupIterator('a:', source)
    t.deepEqual((await iterator.next()).value, [{ code: '1', value: null }])
    t.is(await t.throwsAsync(iterator.next()), failure)
  }
})

onAll(test, 'lookupIterator: an abort ends it also while the source is silent', async (t, client) => {
  const controller = new AbortController()
  let asked = false
  const silent = {
    [Symbol.asyncIterator]: () => ({
      next() {
        asked = true
        return new Promise(() => {})
      },
      return: () => new Promise(() => {}),
    }),
  }
  const pending = client.lookupIterator('a:', silent, { signal: controller.signal }).next()
  await until(() => asked)
  controller.abort()
  await t.throwsAsync(pending, { any: true, name: 'AbortError' })
})

test('lookupIterator: wrong arguments', (t) => {
  const client = clientOf(t, { url: 'memory:' })
  for (const codes of ['abc', undefined, null, 5, {}]) {
    t.throws(() => client.lookupIterator('a:', codes), { instanceOf: TypeError, code: 'INVALID_ARGUMENT', message: /codes/ })
  }
  t.throws(() => client.lookupIterator('a:', [], { batchSize: 0 }), { instanceOf: RangeError })
  t.throws(() => client.lookupIterator('a:', [], { as: 'xml' }), { code: 'INVALID_ARGUMENT' })
  return t.throwsAsync(collect(client.lookupIterator('a:', ['a', 5])), { instanceOf: TypeError, code: 'INVALID_ARGUMENT' })
})
