// FAULTS 29 and 34: very many keys, and a value longer than a JavaScript string may be. One after another: they need room.
import test from 'ava'
import { startServer } from '../support/server.js'
import { codes, openClient, runProgram, timed, unique } from '../support/work.js'

/** V8's longest string in UTF-16 units. */
const LONGEST_STRING = 536_870_888
const MB = 1024 * 1024

test.serial('FAULTS 29: 2,000,000 keys are chunked, in flat memory', async (t) => {
  const server = await startServer(t)
  t.timeout(600_000)
  const { code, stderr, json } = await runProgram(
    `main(async () => {
      const count = 2_000_000
      const client = rb.createClient({ url: process.env.URL, commandTimeoutMs: 120_000 })
      const codes = Array.from({ length: count }, (_, i) => 'code:' + i)
      await client.pipelineSet(Array.from({ length: 1000 }, (_, i) => ({ key: 'code:' + i * 2000, data: 'v' + i })))
      const rss = () => process.memoryUsage.rss()
      let longest = 0
      let peak = 0
      let last = performance.now()
      const timer = setInterval(() => {
        const now = performance.now()
        longest = Math.max(longest, now - last)
        last = now
        peak = Math.max(peak, rss())
      }, 1)
      const measure = async (work) => {
        gc(); gc()
        const before = rss()
        peak = before
        const start = performance.now()
        last = start
        longest = 0
        const result = await work()
        return { result, ms: Math.round(performance.now() - start), grown: Math.round((Math.max(peak, rss()) - before) / 1e6), longest: Math.round(longest) }
      }
      const lookup = await measure(async () => {
        const { results, cacheHits, cacheMisses, errors } = await client.bulkLookup('', codes)
        return { right: results.every((value, i) => value === (i % 2000 === 0 ? 'v' + i / 2000 : null)), length: results.length, cacheHits, cacheMisses, errors: errors.length }
      })
      const set = await measure(async () => {
        const entries = codes.map((key) => ({ key, data: 'x' }))
        const { success, written, failed } = await client.pipelineSet(entries)
        return { success, written, failed }
      })
      const size = await client.sendCommand(['DBSIZE'])
      const deleted = await measure(() => client.batchDelete(codes))
      clearInterval(timer)
      await client.close()
      print({ lookup, set, size, deleted })
    })`,
    { env: { URL: server.url }, nodeArgs: ['--expose-gc'], limitMs: 580_000 },
  )
  t.is(code, 0, stderr)
  t.log(JSON.stringify(json))
  t.deepEqual(json.lookup.result, { right: true, length: 2_000_000, cacheHits: 1000, cacheMisses: 1_999_000, errors: 0 })
  t.deepEqual(json.set.result, { success: true, written: 2_000_000, failed: 0 })
  t.is(json.size, 2_000_000)
  t.is(json.deleted.result, 2_000_000)
  // The results and entries themselves are some 16 and 150 MB; packed in one piece the request would add hundreds.
  t.true(json.lookup.grown < 150, `look-up: ${json.lookup.grown} MB`)
  t.true(json.set.grown < 400, `set: ${json.set.grown} MB`)
  t.true(json.deleted.grown < 150, `delete: ${json.deleted.grown} MB`)
})

test.serial('FAULTS 34: a value longer than a string may be is TOO_LARGE for that item, and works as Buffer', async (t) => {
  t.timeout(600_000)
  const server = await startServer(t, { args: ['--proto-max-bulk-len', '1gb'] })
  const client = openClient(t, { url: server.url, clientName: unique(), commandTimeoutMs: 300_000, maxBufferedBytes: 1024 * MB })
  await client.pipelineSet([{ key: 'before', data: '"b"' }, { key: 'after', data: '"a"' }])
  await server.cli('SETRANGE', 'huge', LONGEST_STRING, 'x')
  t.is(await server.cli('STRLEN', 'huge'), LONGEST_STRING + 1)
  // So that objects of one shape are taken apart, which a value of that length is not.
  const rows = codes(3000)
  await client.pipelineSet(rows.map((key, at) => ({ key, data: { at } })))
  for (let round = 0; round < 2; round++) await client.bulkLookup('', rows, { as: 'json' })
  for (const [as, misses] of [['string', 1], ['json', 1], ['string', 100], ['json', 100]]) {
    const lookup = await client.bulkLookup('', ['before', 'huge', ...new Array(misses).fill('none'), 'after'], { as })
    const nulls = new Array(misses + 1).fill(null)
    t.deepEqual(lookup.results, as === 'json' ? ['b', ...nulls, 'a'] : ['"b"', ...nulls, '"a"'], as)
    t.like(lookup, { cacheHits: 2, cacheMisses: misses }, as)
    t.deepEqual(lookup.errors.map(({ index, key, code, retryable, applied }) => ({ index, key, code, retryable, applied })), [{ index: 1, key: 'huge', code: 'TOO_LARGE', retryable: false, applied: false }], as)
  }
  const plain = await timed(client.bulkLookup('', ['huge', 'after']))
  t.is(plain.value?.errors[0]?.code, 'TOO_LARGE', String(plain.error))
  t.is(plain.value.results[1], '"a"')
  const { results } = await client.bulkLookup('', ['after', 'huge', 'before'], { as: 'buffer' })
  t.is(results[1].length, LONGEST_STRING + 1)
  t.is(results[1][LONGEST_STRING], 120)
  t.is(results[1].indexOf(120), LONGEST_STRING, 'zeros before it')
  t.deepEqual([results[0].toString(), results[2].toString()], ['"a"', '"b"'])
})

test.serial('FAULTS 34: the longest string that there may be comes back', async (t) => {
  t.timeout(600_000)
  const server = await startServer(t, { args: ['--proto-max-bulk-len', '1gb'] })
  const client = openClient(t, { url: server.url, clientName: unique(), commandTimeoutMs: 300_000, maxBufferedBytes: 1024 * MB })
  await server.cli('SETRANGE', 'long', LONGEST_STRING - 1, 'x')
  const { results, errors } = await client.bulkLookup('', ['long'])
  t.deepEqual(errors, [])
  t.is(results[0].length, LONGEST_STRING)
  t.is(results[0].at(-1), 'x')
})

test.serial('FAULTS 34: a reply to sendCommand that is longer than a string may be rejects with TOO_LARGE, and nobody else waits for ever', async (t) => {
  t.timeout(600_000)
  const server = await startServer(t, { args: ['--proto-max-bulk-len', '1gb'] })
  await server.cli('SETRANGE', 'huge', LONGEST_STRING, 'x')
  const { code, stdout, stderr, json } = await runProgram(
    `main(async () => {
      const client = rb.createClient({ url: process.env.URL, commandTimeoutMs: 300000 })
      const calls = [client.sendCommand(['GET', 'huge']), client.sendCommand(['MGET', 'huge', 'a']), client.sendCommand(['PING']), client.bulkLookup('', ['a'])]
      const outcomes = await Promise.allSettled(calls)
      print(outcomes.map(({ value, reason }) => reason?.code ?? value?.results ?? value))
      await client.close()
    })`,
    { env: { URL: server.url }, limitMs: 580_000 },
  )
  t.is(code, 0, stdout + stderr)
  t.deepEqual(json, ['TOO_LARGE', 'TOO_LARGE', 'PONG', [null]])
})

test.serial('FAULTS 29: codes that together are longer than a JavaScript string may be', async (t) => {
  t.timeout(600_000)
  const server = await startServer(t)
  const client = openClient(t, { url: server.url, clientName: unique(), commandTimeoutMs: 300_000, maxBufferedBytes: 2048 * MB })
  // One megabyte, 600 times; the strings share their memory.
  const codes = Array(600).fill('x'.repeat(MB))
  await client.pipelineSet([{ key: codes[0], data: 'there' }])
  const { results } = await client.bulkLookup('', codes)
  t.is(results.length, 600)
  t.true(results.every((value) => value === 'there'))
  t.is(await client.batchDelete(codes), 1)
})
