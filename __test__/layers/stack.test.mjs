import test from 'ava'
import { clientOf, collect } from './support.mjs'

const calls = {
  deleteByPattern: (client) => client.deleteByPattern('*'),
  cacheDelPrefix: (client) => client.cacheDelPrefix('a'),
  bulkFetch: (client) => client.bulkFetch('a', ['1'], async () => ({}), { timeoutMs: 5000 }),
  bulkSet: (client) => client.bulkSet([{ key: 'a', value: 1 }]),
  bulkSyncCache: (client) => client.bulkSyncCache([{ key: 'a', value: 1 }], ['b']),
  reset: (client) => client.createRateLimiter({ keyPrefix: 'a', points: 1, duration: 1 }).reset('b'),
  scanIterator: (client) => collect(client.scanIterator('*')),
  lookupIterator: (client) => collect(client.lookupIterator('', ['a'])),
}

for (const [name, call] of Object.entries(calls)) {
  test(`an error of ${name} shows the frames of its caller, once`, async (t) => {
    const client = clientOf(t, { url: 'redis://127.0.0.1:1', retry: { attempts: 1 } })
    async function theCallerOfThisTest() {
      await call(client)
    }
    const error = await t.throwsAsync(theCallerOfThisTest, { code: 'CONNECTION_REFUSED' })
    t.is(error.stack.split('\n').filter((line) => line.includes('theCallerOfThisTest')).length, 1, error.stack)
    t.true(error.stack.startsWith('ConnectionError: could not connect'))
  })
}

test('an error that several callers share keeps one caller', async (t) => {
  const client = clientOf(t, { url: 'redis://127.0.0.1:1', retry: { attempts: 1 } })
  const sharers = [1, 2, 3].map(() => client.bulkFetch('a', ['1'], async () => ({})))
  const errors = await Promise.all(sharers.map((call) => t.throwsAsync(call)))
  t.is(new Set(errors).size, 1)
  const own = errors[0].stack.split('\n').filter((line) => line.includes('stack.test.mjs'))
  t.true(own.length > 0)
  t.is(new Set(own).size, own.length)
})
