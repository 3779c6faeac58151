// The same calls on every kind of place: what a user sees is the same.
import test from 'ava'
import rb from '../../index.js'
import { rigs } from '../support/rigs.js'
import { codes, openClient, randomFrom, timed, unique } from '../support/work.js'

const awkward = ['', ' ', 'a\nb', 'a\r\n$3\r\nb', '\0', '"', "'", '\\', '*', '[a]', '{tag}', '😀', 'größe', '\u2028', 'a:b:c', '%41']

for (const rig of rigs) {
  const title = (text) => `${rig.name}: ${text}`
  let place
  test.before(title('starts'), async () => {
    place = await rig.start()
  })
  test.after.always(title('stops'), () => place?.stop())

  /** A test with a client whose keys nobody else has. */
  const on = (text, body) =>
    test.serial(title(text), async (t) => {
      const keyPrefix = `${unique()}:`
      await body(t, openClient(t, { ...place.options, keyPrefix }), keyPrefix)
    })

  on('what is written is read, in the order of the codes, each place answered', async (t, client, prefix) => {
    const report = await client.pipelineSet([...awkward.map((key, at) => ({ key: `k${key}`, data: `v${at}${key}` })), { key: 'json', data: { a: [1, 'é'] } }])
    t.like(report, { success: true, written: awkward.length + 1, failed: 0, errors: [] })
    const asked = [...awkward, 'missing', awkward[3], 'missing']
    const found = await client.bulkLookup('k', asked)
    t.deepEqual(found.results, [...awkward.map((key, at) => `v${at}${key}`), null, `v3${awkward[3]}`, null])
    t.like(found, { cacheHits: awkward.length + 1, cacheMisses: 2, errors: [] })
    t.deepEqual((await client.bulkLookup('', ['json', 'none'], { as: 'json' })).results, [{ a: [1, 'é'] }, null])
    t.deepEqual((await client.bulkLookup('', ['json'], { as: 'buffer' })).results, [Buffer.from('{"a":[1,"é"]}')])
    t.deepEqual((await client.bulkLookup('k', asked, { strategy: 'script' })).results, found.results)
    if (place.cli) t.is(await place.cli('GET', `${prefix}json`), '{"a":[1,"é"]}')
  })

  on('bytes', async (t, client) => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
    const report = await client.pipelineSet([{ key: 'bytes', data: bytes }, { key: 'text', data: Buffer.from('größe') }])
    t.deepEqual((await client.bulkLookup('', ['text'], { as: 'buffer' })).results, [Buffer.from('größe')])
    if (rig.bytes === false) t.like(report.errors, [{ index: 0, code: 'INVALID_DATA', applied: false }])
    else t.deepEqual((await client.bulkLookup('', ['bytes'], { as: 'buffer' })).results, [bytes])
  })

  on('10,000 keys of all sizes: written, read, found once each, deleted', async (t, client) => {
    const random = randomFrom(7)
    const entries = codes(10_000).map((key) => ({ key, data: 'x'.repeat(Math.floor(random() ** 4 * 2000)) + key, ttl: 1000 }))
    t.like(await client.pipelineSet(entries), { success: true, written: 10_000 })
    const shuffled = entries.map((entry) => ({ entry, place: random() })).sort((a, b) => a.place - b.place).map(({ entry }) => entry)
    const found = await client.bulkLookup('', shuffled.map(({ key }) => key))
    t.is(found.cacheHits, 10_000)
    t.true(found.results.every((value, at) => value === shuffled[at].data))
    const keys = await client.scanAll('c*', { count: 500 })
    t.is(keys.length, 10_000)
    t.is(new Set(keys).size, 10_000)
    const seen = []
    for await (const part of client.scanIterator('c1*')) seen.push(...part)
    // SCAN may name a key twice while the server's table grows or shrinks; only `scanAll` promises each once.
    t.deepEqual([...new Set(seen)].sort(), codes(10_000).filter((key) => key.startsWith('c1')).sort())
    t.is(await client.batchDelete([...keys.slice(0, 9000), 'never'], 700), 9000)
    t.like(await client.deleteByPattern('c*'), { scanned: 1000, matched: 1000, deleted: 1000, failed: 0 })
    t.deepEqual(await client.scanAll('*'), [])
  })

  on('conditions, times to live, reports', async (t, client, prefix) => {
    t.like(await client.pipelineSet([{ key: 'a', data: '1' }, { key: 'b', data: '1', ttl: 100 }], { condition: 'nx' }), { written: 2 })
    const again = await client.pipelineSet([{ key: 'a', data: '2' }, { key: 'c', data: '2' }], { condition: 'nx' })
    t.like(again, { success: false, written: 1, failed: 1 })
    t.like(again.errors[0], { index: 0, key: 'a', code: 'NOT_SET', applied: false })
    t.like(await client.pipelineSet([{ key: 'a', data: '3' }, { key: 'd', data: '3' }], { condition: 'xx' }), { written: 1, failed: 1 })
    t.deepEqual((await client.bulkLookup('', ['a', 'b', 'c', 'd'])).results, ['3', '1', '2', null])
    const left = await client.sendCommand(['PTTL', `${prefix}b`])
    t.true(left > 10_000 && left <= 100_000, `${left} ms`)
    t.is(await client.sendCommand(['PTTL', `${prefix}a`]), -1)
    const report = await client.pipelineSet([{ key: 'e', data: '1', ttl: -1 }, { key: 'f', data: '1' }])
    t.like(report, { written: 1, failed: 1 })
    t.is(report.errors[0].code, 'INVALID_ARGUMENT')
    t.like(await client.batchDelete(['a', 'none', 'b'], { report: true }), { deleted: 2, failed: 0, existed: [true, false, true] })
  })

  on('many callers at once each get their own answers', async (t, client) => {
    await client.pipelineSet(codes(1000).map((key) => ({ key, data: `of ${key}` })))
    const random = randomFrom(11)
    const callers = Array.from({ length: 50 }, async (_, caller) => {
      for (let round = 0; round < 10; round++) {
        const own = Array.from({ length: 1 + Math.floor(random() ** 3 * 300) }, () => `c${Math.floor(random() * 1100)}`)
        const [found, written] = await Promise.all([
          client.bulkLookup('', own),
          client.pipelineSet([{ key: `mine-${caller}`, data: String(round), ttl: 100 }]),
        ])
        t.deepEqual(found.results, own.map((code) => (Number(code.slice(1)) < 1000 ? `of ${code}` : null)))
        t.true(written.success)
        t.deepEqual((await client.bulkLookup('mine-', [String(caller)])).results, [String(round)])
      }
    })
    await Promise.all(callers)
  })

  on('caches, loaders and limits stand on it', async (t, client) => {
    t.true(await client.cacheSet('page', '<p>ü</p>', 60))
    t.is(await client.cacheGet('page'), '<p>ü</p>')
    t.true(await client.setCachedData('user', { id: 1 }))
    t.deepEqual(await client.getCachedData('user'), { id: 1 })
    let loads = 0
    const load = async (missing) => {
      loads++
      return new Map(missing.map((code) => [code, `loaded ${code}`]))
    }
    t.deepEqual(await client.bulkFetch('f:', ['1', '2'], load, { ttl: 60 }), new Map([['1', 'loaded 1'], ['2', 'loaded 2']]))
    t.deepEqual(await client.bulkFetch('f:', ['2', '1'], load, { ttl: 60 }), new Map([['2', 'loaded 2'], ['1', 'loaded 1']]))
    t.is(loads, 1)
    const limiter = client.createRateLimiter({ keyPrefix: 'limit', points: 2, duration: 60 })
    const results = [await limiter.consume('me'), await limiter.consume('me'), await limiter.consume('me')]
    t.deepEqual(results.map((result) => result.allowed), [true, true, false])
    t.is(await client.cacheDelPrefix('pa'), 1)
  })

  on('other commands, health, closing and opening again', async (t, client, prefix) => {
    t.is(await client.sendCommand(['INCRBY', `${prefix}n`, 5]), 5)
    const wrong = await timed(client.sendCommand(['INCRBY', `${prefix}n`, 'x']))
    t.true(wrong.error instanceof rb.ReplyError)
    t.like(wrong.error, { code: 'ERR', applied: false })
    const health = await client.health()
    t.like(health, { status: 'up', mode: rig.mode, state: 'ready', servedFrom: rig.mode === 'memory' ? 'memory' : 'redis' })
    t.true(health.latencyMs >= 0)
    if (rig.mode !== 'memory') t.true(health.nodes.some((node) => node.role === 'primary' && node.up))
    await client.close()
    t.is((await timed(client.bulkLookup('', ['n']))).error?.code, 'CLOSED')
    await client.connect()
    t.deepEqual((await client.bulkLookup('', ['n'])).results, ['5'])
  })
}
