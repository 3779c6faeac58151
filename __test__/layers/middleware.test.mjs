import { createServer } from 'node:http'
import test from 'ava'
import { rateLimitByIp, rateLimitByKey } from '../../index.mjs'
import { clientOf, onBoth } from './support.mjs'

/** A server with one middleware, as Connect would run it. `prepare(req)` stands for what Express adds. */
async function serve(t, middleware, prepare = () => {}) {
  const server = createServer((req, res) => {
    prepare(req)
    middleware(req, res, (error) => {
      res.statusCode = error ? 500 : 200
      res.end(error ? error.message : 'passed')
    })
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise((resolve) => server.close(resolve)))
  return (headers = {}) => fetch(`http://127.0.0.1:${server.address().port}/`, { headers: { connection: 'close', ...headers } })
}

onBoth(test, 'RateLimit headers, 429 with Retry-After', async (t, client) => {
  const limiter = client.createRateLimiter({ keyPrefix: 'ip:', points: 2, duration: 60 })
  const request = await serve(t, rateLimitByIp(limiter))
  for (const remaining of ['1', '0']) {
    const response = await request()
    t.is(response.status, 200)
    t.is(await response.text(), 'passed')
    t.is(response.headers.get('ratelimit-limit'), '2')
    t.is(response.headers.get('ratelimit-remaining'), remaining)
    t.regex(response.headers.get('ratelimit-reset'), /^(60|5\d|4\d)$/)
    t.is(response.headers.get('retry-after'), null)
  }
  const refused = await request()
  t.is(refused.status, 429)
  t.is(await refused.text(), 'Too Many Requests\n')
  t.is(refused.headers.get('ratelimit-remaining'), '0')
  t.is(refused.headers.get('retry-after'), refused.headers.get('ratelimit-reset'))
  t.is((await limiter.get('127.0.0.1')).consumed, 2)
})

test('req.ip goes before the address of the socket', async (t) => {
  const limiter = clientOf(t, { url: 'memory:' }).createRateLimiter({ keyPrefix: 'ip:', points: 1, duration: 60 })
  const request = await serve(t, rateLimitByIp(limiter), (req) => (req.ip = req.headers['x-test-ip']))
  t.is((await request({ 'x-test-ip': '10.0.0.1' })).status, 200)
  t.is((await request({ 'x-test-ip': '10.0.0.2' })).status, 200)
  t.is((await request({ 'x-test-ip': '10.0.0.1' })).status, 429)
})

test('rateLimitByKey; what keyOf or the limiter throws goes to next', async (t) => {
  const client = clientOf(t, { url: 'memory:' })
  const limiter = client.createRateLimiter({ keyPrefix: 'key:', points: 1, duration: 60 })
  const request = await serve(
    t,
    rateLimitByKey(limiter, (req) => {
      if (req.headers['x-key'] === 'bad') throw new Error('no such key')
      return req.headers['x-key']
    }),
  )
  t.is((await request({ 'x-key': 'a' })).status, 200)
  t.is((await request({ 'x-key': 'b' })).status, 200)
  t.is((await request({ 'x-key': 'a' })).status, 429)
  for (const [headers, message] of [[{ 'x-key': 'bad' }, /no such key/], [{}, /the key of a request must be a string/]]) {
    const response = await request(headers)
    t.is(response.status, 500)
    t.regex(await response.text(), message)
  }
  await client.close()
  const response = await request({ 'x-key': 'c' })
  t.is(response.status, 500)
  t.regex(await response.text(), /closed/)
})

test('nothing is added to an answer that somebody else has given meanwhile', async (t) => {
  let passed = false
  const limiter = { consume: async () => ({ allowed: true, limit: 1, remaining: 0, consumed: 1, resetMs: 1 }) }
  const middleware = rateLimitByKey(limiter, () => 'a')
  const request = await serve(t, (req, res) => {
    res.end('timed out')
    middleware(req, res, () => (passed = true))
  })
  t.is(await (await request()).text(), 'timed out')
  t.false(passed)
})

test('wrong arguments', (t) => {
  for (const args of [[], [{}], [null, () => '']]) t.throws(() => rateLimitByKey(...args), { code: 'INVALID_ARGUMENT' })
  t.throws(() => rateLimitByKey({ consume() {} }, 'x-key'), { code: 'INVALID_ARGUMENT' })
  t.throws(() => rateLimitByIp(undefined), { code: 'INVALID_ARGUMENT' })
})
