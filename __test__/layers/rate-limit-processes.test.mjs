// One limit for 200 callers in four processes, also through the death of the server.
import test from 'ava'
import work from '../support/work.js'
import { startServer, until } from './support.mjs'

const { runProgram } = work

const PROCESSES = 4
const CALLERS = 50
/** Of the limiters below, whose id is `a`. */
const KEY = 'rl:a'

/**
 * Runs `body` in four processes. They hear of the test by a server that stays: `phase()` is what the test last set with
 * `to`, as far as the process has heard; `reached(phase)` resolves when it has; `report(name, value)` is what the test asks for
 * with `reports(name)`, which resolves when all processes have said it.
 */
async function inProcesses(t, body) {
  const control = await startServer(t)
  const program = `
    const control = rb.createClient({ url: '${control.url}', clientName: 'control' })
    let now = 0
    const phase = () => now
    const hear = async () => (now = Number((await control.bulkLookup('', ['phase'])).results[0]))
    const pause = () => new Promise((resolve) => setTimeout(resolve, 5))
    const reached = async (wanted) => { while ((await hear()) < wanted) await pause() }
    const report = (name, value) => control.sendCommand(['RPUSH', name, JSON.stringify(value)])
    main(async () => {
      ${body}
      await control.close()
    })`
  const programs = Array.from({ length: PROCESSES }, async () => {
    const { code, stderr } = await runProgram(program, { limitMs: 300_000 })
    if (code !== 0) throw new Error(stderr)
  })
  const ended = Promise.all(programs)
  ended.catch(() => {})
  return {
    ended,
    to: (phase) => control.cli('SET', 'phase', phase),
    /** What `body` reads from `control`. */
    set: (name, value) => control.cli('SET', name, value),
    async reports(name) {
      const all = until(async () => (await control.cli('LLEN', name)) === PROCESSES)
      // What a program says when it fails is better to read than a wait that does not end.
      await Promise.race([all, ended.then(() => all)])
      return (await control.cli('LRANGE', name, 0, -1)).map((text) => JSON.parse(text))
    },
  }
}

/** Milliseconds of the server's clock. */
async function timeOf(server) {
  const [seconds, micros] = await server.cli('TIME')
  return Number(seconds) * 1000 + Number(micros) / 1000
}

const sum = (numbers) => numbers.reduce((total, each) => total + each, 0)

test('200 callers in four processes, each until it is refused: exactly points are admitted in each window', async (t) => {
  const points = 300
  let duration = 2
  const server = await startServer(t)
  const { to, set, reports, ended } = await inProcesses(t, `
    const client = rb.createClient({ url: '${server.url}' })
    await client.connect()
    for (let round = 1; ; round++) {
      await reached(round)
      if (phase() === Infinity) break
      const duration = Number((await control.bulkLookup('', ['duration'])).results[0])
      const limiter = client.createRateLimiter({ keyPrefix: 'rl:', points: ${points}, duration })
      const admitted = []
      const refused = []
      const caller = async () => {
        for (;;) {
          const { allowed, consumed } = await limiter.consume('a')
          ;(allowed ? admitted : refused).push(consumed)
          if (!allowed) return
        }
      }
      await Promise.all(Array.from({ length: ${CALLERS} }, caller))
      await report('round ' + round, { admitted, refused })
    }
    await client.close()`)

  let round = 0
  for (let windows = 0; windows < 3; ) {
    // By the server's own clock the last window has ended.
    await until(async () => (await server.cli('EXISTS', KEY)) === 0)
    await set('duration', duration)
    const begun = await timeOf(server)
    await to(++round)
    const told = await reports(`round ${round}`)
    const elapsed = (await timeOf(server)) - begun
    const admitted = told.flatMap((each) => each.admitted)
    const refused = told.flatMap((each) => each.refused)
    t.is(refused.length, PROCESSES * CALLERS)
    t.true(refused.every((consumed) => consumed === points), 'refused before the window was full')
    // The server counts from 1 in each window: so many calls with one count, so many windows.
    const calls = new Array(points + 1).fill(0)
    for (const consumed of admitted) calls[consumed]++
    const opened = calls[1]
    // Whole milliseconds, and the key's own end is reckoned a moment before the window's.
    t.true(opened >= 1 && opened <= 1 + elapsed / (duration * 1000 - 2), `${opened} windows within ${elapsed} ms`)
    t.true(calls.slice(1).every((count) => count <= opened), 'a point was given twice in one window')
    t.true(admitted.length <= opened * points)
    // On a machine that took longer than a window, the callers went on into the next one. The next round has more time.
    if (opened > 1) {
      duration *= 2
      continue
    }
    windows++
    t.is(admitted.length, points)
    t.is(new Set(admitted).size, points)
  }
  await to('Infinity')
  await ended
})

for (const persistence of [false, true]) {
  const counts = persistence ? 'points by the server in both its lives, which remembers' : 'points by the server in each of its lives'
  test(`the server is killed while 200 callers in four processes ask: at most ${counts}, and points by each process`, async (t) => {
    const points = 5000
    // It has written what it answered, so that the killed server knows it again.
    const args = persistence ? ['--appendonly', 'yes', '--appendfsync', 'always'] : []
    const server = await startServer(t, { args })
    const { to, reports, ended } = await inProcesses(t, `
      const client = rb.createClient({ url: '${server.url}' })
      await client.connect()
      // No window ends during the test.
      const limiter = client.createRateLimiter({ keyPrefix: 'rl:', points: ${points}, duration: 86_400 })
      const told = { admitted: 0, refused: 0, unknown: 0, admittedAway: 0, refusedAway: 0, wrong: [] }
      let isOver = false
      const caller = async () => {
        while (!isOver) {
          const begun = phase()
          try {
            const { allowed } = await limiter.consume('a')
            const isAway = begun === 2 && phase() === 2
            if (allowed) told.admitted++
            else told.refused++
            if (isAway && allowed) told.admittedAway++
            if (isAway && !allowed) told.refusedAway++
            // Other callers, and what is heard of the test, have their turn.
            await (allowed ? new Promise(setImmediate) : pause())
          } catch (error) {
            if (error.applied === 'unknown') told.unknown++
            else told.wrong.push(facts(error))
          }
        }
      }
      await report('connected', true)
      await reached(1)
      const callers = Array.from({ length: ${CALLERS} }, caller)
      await reached(2)
      while (told.refusedAway < ${CALLERS}) {
        await pause()
        await hear()
      }
      await report('exhausted', true)
      await reached(3)
      await report('ready', true)
      await reached(4)
      isOver = true
      await Promise.all(callers)
      const last = await Promise.all(Array.from({ length: ${CALLERS} }, () => limiter.consume('a')))
      await report('told', { ...told, last: last.filter(({ allowed }) => allowed).length })
      await client.close()`)

    const consumed = async () => {
      try {
        return Number(await server.cli('HGET', KEY, 'c'))
      } catch (error) {
        // It is back and reads what it had written.
        if (error.code !== 'LOADING') throw error
        return undefined
      }
    }
    await reports('connected')
    await to(1)
    await until(async () => (await consumed()) >= points / 5)
    await server.kill('SIGKILL')
    // From now on until phase 3 there is no server.
    await to(2)
    await reports('exhausted')
    await to(3)
    await reports('ready')
    await server.start()
    await until(async () => (await consumed()) === points)
    await to(4)
    const told = await reports('told')
    await ended

    for (const { wrong, last, admittedAway, refusedAway } of told) {
      t.deepEqual(wrong, [], 'only what was lost under way rejects')
      t.is(last, 0, 'admitted when all was taken')
      t.true(admittedAway <= points && refusedAway >= CALLERS, `${admittedAway} admitted, ${refusedAway} refused in process`)
    }
    const admitted = sum(told.map((each) => each.admitted))
    const unknown = sum(told.map((each) => each.unknown))
    const inProcess = PROCESSES * points
    // Every process took all its points, and the server that came back too; answers that were lost may have been counted.
    t.true(admitted >= inProcess + points - unknown, `${admitted} admitted, ${unknown} unknown`)
    t.true(admitted <= inProcess + (persistence ? 1 : 2) * points, `${admitted} admitted`)
    t.is(await consumed(), points)
  })
}
