// FAULTS 15: the server goes and comes back while many callers are at work.
import test from 'ava'
import { startServer } from '../support/server.js'
import { codes, openClient, timed, unique, until } from '../support/work.js'

/** Far above what the limits of the client add up to, for a machine that stands still now and then. */
const SETTLED_WITHIN_MS = 30_000
const TICK_MS = 50

/** Counts time in which this process really ran: a timer that was held up is one tick, however late it is. */
function stopwatch() {
  let ticks = 0
  const timer = setInterval(() => ticks++, TICK_MS)
  return { get ms() { return ticks * TICK_MS }, stop: () => clearInterval(timer) }
}

for (const signal of ['SIGTERM', 'SIGKILL']) {
  test(`FAULTS 15: the server ends with ${signal} and starts while 50 callers read and write`, async (t) => {
    t.timeout(180_000)
    const server = await startServer(t, { password: 'restart-password' })
    const clientName = unique('restart')
    const options = { url: server.url, db: 3, clientName, keyPrefix: 'p:', connectTimeoutMs: 2000, commandTimeoutMs: 2000, retry: { attempts: 3, baseDelayMs: 20, maxDelayMs: 200 } }
    const client = openClient(t, options)
    const states = []
    client.on('state', ({ to }) => states.push(to))

    const callers = Array.from({ length: 50 }, (_, number) => ({ number, calls: 0, failed: 0, longest: 0, lastGood: 0, wrong: [] }))
    const operations = [
      (own) => client.bulkLookup(own, ['a', 'b', 'c']),
      (own) => client.pipelineSet([{ key: `${own}a`, data: own, ttl: 60 }, { key: `${own}b`, data: own }]),
      (own) => client.bulkLookup(own, codes(1500)),
      (own) => client.sendCommand(['SET', `p:${own}c`, own]),
      (own) => client.pipelineSet([{ key: `${own}nx`, data: own }], { condition: 'nx' }),
      (own) => client.batchDelete([`${own}nx`]),
    ]
    let over = false
    const work = callers.map(async (caller) => {
      const own = `k${caller.number}:`
      while (!over) {
        const began = performance.now()
        const { value, error, ms } = await timed(operations[caller.calls++ % operations.length](own))
        caller.longest = Math.max(caller.longest, ms)
        if (error !== undefined || value.success === false) caller.failed++
        else caller.lastGood = Math.max(caller.lastGood, began)
        // Whatever is read was written by this caller: no answer goes to another one's question.
        for (const item of value?.results ?? []) if (item !== null && item !== own) caller.wrong.push(item)
        await new Promise((resolve) => setImmediate(resolve))
      }
    })
    const goodSince = (moment) => callers.every((caller) => caller.lastGood > moment)

    await until(() => goodSince(0), 30_000)
    await server.kill(signal)
    // Away long enough that everybody has met it.
    await until(() => callers.every((caller) => caller.failed > 0), 60_000)
    await server.restart()
    const back = performance.now()
    const watch = stopwatch()
    await until(() => goodSince(back), 60_000)
    const took = watch.ms
    watch.stop()
    t.log(`all 50 callers were served again ${took} ms after the server answered PING (${Math.round(performance.now() - back)} ms by the clock)`)
    t.true(took <= 2000, `${took} ms`)
    over = true
    await Promise.all(work)

    t.deepEqual(callers.flatMap((caller) => caller.wrong), [])
    const longest = Math.max(...callers.map((caller) => caller.longest))
    t.log(`the longest call took ${Math.round(longest)} ms`)
    t.true(longest < SETTLED_WITHIN_MS, `${longest} ms`)
    t.true(states.includes('reconnecting'), states.join())
    t.true(await until(() => states.at(-1) === 'ready'))

    // One connection; login, database and name are set on it as on the first.
    const mine = await until(async () => {
      const found = (await server.clients()).filter((each) => each.name === clientName)
      return found.length === 1 && found
    })
    t.deepEqual(mine.map(({ db, user }) => [db, user]), [['3', 'default']])
    await client.pipelineSet([{ key: 'after', data: '1' }])
    const direct = await server.connect()
    await direct.command('SELECT', '3')
    t.is(await direct.command('GET', 'p:after'), '1')
    direct.close()
    // A call is counted off just after its promise has settled.
    t.true(await until(() => client.metrics().inFlight === 0))
  })
}
