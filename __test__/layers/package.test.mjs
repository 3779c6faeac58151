// The functions of the package, on the default client. Its configuration belongs to the process, so the tests take turns.
import { createRequire } from 'node:module'
import test from 'ava'
import * as esm from '../../index.mjs'
import { collect } from './support.mjs'

const cjs = createRequire(import.meta.url)('../../index.js')

test.serial('CommonJS and ESM give the same names and values, none of them default', (t) => {
  t.deepEqual(Object.keys(esm).sort(), Object.keys(cjs).sort())
  for (const [name, value] of Object.entries(esm)) t.is(value, cjs[name], name)
})

test.serial('a client has every function that the default client has', (t) => {
  const client = esm.createClient({ url: 'memory:' })
  const own = ['configure', 'createClient', 'rateLimitByIp', 'rateLimitByKey']
  for (const [name, value] of Object.entries(esm)) {
    if (typeof value !== 'function' || /Error$/.test(name) || own.includes(name)) continue
    t.is(typeof client[name], 'function', name)
  }
})

test.serial('everything works on the default client', async (t) => {
  // Made before configure(): it asks for the default client at each call.
  const limiter = esm.createRateLimiter({ keyPrefix: 'rl:', points: 1, duration: 60 })
  esm.configure({ url: 'memory:', keyPrefix: 'default:' })
  t.like(await esm.bulkSet([{ key: 'a:1', value: 'x' }]), { successful: 1 })
  t.deepEqual(await collect(esm.scanIterator('a:*')), [['a:1']])
  t.deepEqual(await collect(esm.lookupIterator('a:', ['1', '2'])), [[{ code: '1', value: 'x' }, { code: '2', value: null }]])
  t.like(await esm.bulkSyncCache([{ key: 'a:2', value: 'y' }], ['a:1']), { successful: 2 })
  t.deepEqual([...(await esm.bulkFetch('f:', ['1'], async () => ({ 1: 'loaded' })))], [['1', 'loaded']])
  t.like(await esm.deleteByPattern('a:*'), { deleted: 1 })
  t.true(await esm.cacheSet('c', 'text'))
  t.is(await esm.cacheGet('c'), 'text')
  t.true(await esm.setCachedData('d', { n: 1 }))
  t.deepEqual(await esm.getCachedData('d'), { n: 1 })
  t.is(await esm.cacheDelPrefix('c'), 1)
  t.deepEqual([(await limiter.consume('a')).allowed, (await limiter.consume('a')).allowed], [true, false])
  const cache = esm.createCache('things')
  await cache.set('1', new Date(5))
  t.deepEqual(await cache.get('1'), new Date(5))
  t.regex(esm.metricsText(), /^redis_bulk_commands_total [1-9]/m)
  await esm.close()
})
