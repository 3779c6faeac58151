// FAULTS, the process: how programs that use the package end, and how often it is loaded.
import test from 'ava'
import rb from '../../index.js'
import { startServer } from '../support/server.js'
import { handshake, startPeer } from '../support/peer.js'
import { codes, openClient, runProgram, timed, unique } from '../support/work.js'

let server
test.before(async () => {
  server = await startServer()
})
test.after.always(() => server?.stop())

const works = {
  'a look-up': `await client.bulkLookup('', ['a'])`,
  'every operation': `await client.pipelineSet([{ key: 'x', data: '1' }]); await client.bulkLookup('', ['x']); await client.scanAll('x*'); await client.batchDelete(['x']); await client.sendCommand(['PING']); await client.health(); client.metrics()`,
  'large calls': `const codes = Array.from({ length: 30000 }, (_, i) => 'c' + i); await client.bulkLookup('', codes, { as: 'json' }); await client.batchDelete(codes)`,
  'a call that nobody awaits': `client.bulkLookup('', ['a']).then(() => print('settled'))`,
  'connect() only': `await client.connect()`,
  'nothing at all': ``,
  'two clients, one closed': `const other = rb.createClient({ url: process.env.URL, clientName: 'second' }); await other.bulkLookup('', ['a']); await other.close(); await client.bulkLookup('', ['a'])`,
  'a timeout of its own': `await client.bulkLookup('', ['a'], { timeoutMs: 60000, signal: new AbortController().signal })`,
}
for (const [what, source] of Object.entries(works)) {
  for (const url of ['redis', 'memory:']) {
    test(`FAULTS 39: a program ends by itself after ${what}, without close() (${url})`, async (t) => {
      const { code, signal, stdout, stderr } = await runProgram(`const client = rb.createClient({ url: process.env.URL, keyPrefix: process.env.PREFIX }); main(async () => { ${source}; print('end') })`, {
        env: { URL: url === 'redis' ? server.url : url, PREFIX: unique() },
        limitMs: 60_000,
      })
      t.deepEqual([code, signal, stderr], [0, null, ''])
      t.regex(stdout, /"end"/)
      if (what.includes('nobody')) t.regex(stdout, /"settled"/, 'a pending call keeps the process')
    })
  }
}

test('FAULTS 39: the default client, too; and loading the package opens nothing', async (t) => {
  const peer = await startPeer(t, () => {})
  const idle = await runProgram(`rb.configure({ url: process.env.REDIS_URL })`, { env: { REDIS_URL: peer.url }, limitMs: 60_000 })
  t.deepEqual([idle.code, idle.stderr, peer.connections], [0, '', 0])
  const used = await runProgram(`main(async () => { await rb.bulkLookup('', ['a']); print('end') })`, { env: { REDIS_URL: server.url }, limitMs: 60_000 })
  t.deepEqual([used.code, used.stdout, used.stderr], [0, '"end"\n', ''])
})

test('FAULTS 39: a call that is pending keeps the process until it settles', async (t) => {
  let answered = false
  const peer = await startPeer(t, (command, reply) => {
    if (handshake(command, reply)) return
    setTimeout(() => {
      answered = true
      reply(['late'])
    }, 700)
  })
  const { code, json } = await runProgram(`rb.createClient({ url: process.env.URL }).bulkLookup('', ['a']).then(({ results }) => print(results))`, { env: { URL: peer.url }, limitMs: 60_000 })
  t.deepEqual([code, json, answered], [0, ['late'], true])
})

test('FAULTS 39: a server that is gone keeps no idle process alive', async (t) => {
  const own = await startServer(t)
  const { code, stderr, json } = await runProgram(
    `main(async () => { const client = rb.createClient({ url: process.env.URL }); await client.bulkLookup('', ['a']); print('ready'); await new Promise((resolve) => setTimeout(resolve, 300)); print('end') })`,
    { env: { URL: own.url }, limitMs: 60_000, onLine: () => void own.kill() },
  )
  t.deepEqual([code, json, stderr], [0, 'end', ''])
})

test('FAULTS 40: process.exit with work in flight keeps the exit code and does not crash, 20 times of 20', async (t) => {
  const source = (when) => `
    const client = rb.createClient({ url: process.env.URL })
    const codes = Array.from({ length: 50000 }, (_, i) => 'c' + i)
    main(async () => {
      await client.connect()
      const calls = [client.bulkLookup('', codes), client.pipelineSet(codes.map((key) => ({ key, data: { key }, ttl: 60 }))), client.scanAll('*'), client.batchDelete(codes), client.bulkLookup('', ['a']), client.sendCommand(['PING'])]
      for (const call of calls) call.catch(() => {})
      ${when}
    })`
  const whens = ['process.exit(7)', 'setImmediate(() => process.exit(7))', 'calls[4].finally(() => process.exit(7))', 'setTimeout(() => process.exit(7), 20)', 'client.close(); process.exit(7)']
  const outcomes = []
  for (let round = 0; round < 20; round += 2) {
    const pair = [0, 1].map((each) => runProgram(source(whens[(round + each) % whens.length]), { env: { URL: (round + each) % 4 ? server.url : 'memory:' }, limitMs: 120_000 }))
    outcomes.push(...(await Promise.all(pair)))
  }
  t.deepEqual(outcomes.map(({ code, signal, stderr }) => `${code} ${signal} ${stderr}`), Array(20).fill('7 null '))
})

test('FAULTS 41: 200 workers in turn that end or are terminated with work in flight', async (t) => {
  t.timeout(400_000)
  const { code, signal, stderr, json } = await runProgram(
    `const { Worker } = require('node:worker_threads')
    const program = \`
      const { parentPort, workerData } = require('node:worker_threads')
      const rb = require(workerData.entry)
      const client = rb.createClient({ url: workerData.url })
      const codes = Array.from({ length: 5000 }, (_, i) => 'c' + i)
      client.bulkLookup('', ['a']).then(() => {
        for (let i = 0; i < 5; i++) client.bulkLookup('', codes, { as: 'json' }).catch(() => {})
        parentPort.postMessage('working')
      })\`
    main(async () => {
      let ended = 0
      for (let i = 0; i < 200; i++) {
        const worker = new Worker(program, { eval: true, workerData: { entry: ${JSON.stringify(new URL('../../index.js', import.meta.url).pathname)}, url: process.env.URL } })
        const exit = new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))
        await new Promise((resolve) => worker.once('message', resolve))
        if (i % 2) worker.terminate()
        const code = await exit
        // One that is terminated may have come to its own end before.
        if (code === 0 || (i % 2 === 1 && code === 1)) ended++
      }
      print(ended)
    })`,
    { env: { URL: server.url }, limitMs: 390_000 },
  )
  t.deepEqual([code, signal, stderr, json], [0, null, '', 200])
})

test('FAULTS 42: close() waits for what is in flight; afterwards CLOSED until connect()', async (t) => {
  const client = openClient(t, { url: server.url, keyPrefix: `${unique()}:`, commandTimeoutMs: 120_000 })
  await client.pipelineSet(codes(20_000).map((key) => ({ key, data: key })))
  const calls = [client.bulkLookup('', codes(20_000), { as: 'buffer' }), client.scanAll('*'), client.pipelineSet([{ key: 'last', data: '1', ttl: 60 }]), client.sendCommand(['PING'])]
  await client.close()
  await client.close()
  const outcomes = await Promise.all(calls.map(timed))
  t.deepEqual(outcomes.map(({ error }) => error?.code), [undefined, undefined, undefined, undefined])
  t.is(outcomes[0].value.cacheHits, 20_000)
  t.is((await client.health()).state, 'closed')
  const afterwards = {
    bulkLookup: () => client.bulkLookup('', ['a']), options: () => client.bulkLookup('', ['a'], {}), large: () => client.bulkLookup('', codes(50_000)), pipelineSet: () => client.pipelineSet([{ key: 'a', data: '1' }]),
    scanAll: () => client.scanAll('*'), batchDelete: () => client.batchDelete(['c1']), sendCommand: () => client.sendCommand(['PING']), empty: () => client.bulkLookup('', []), emptySet: () => client.pipelineSet([]), emptyDelete: () => client.batchDelete([]),
  }
  for (const [name, call] of Object.entries(afterwards)) {
    const { error } = await timed(call())
    t.true(error instanceof rb.ConnectionError, `${name}: ${error}`)
    t.like(error, { code: 'CLOSED', retryable: false, applied: false }, name)
  }
  await client.connect()
  t.deepEqual((await client.bulkLookup('', ['c1', 'last'])).results, ['c1', '1'])
  t.is(await client.batchDelete(['c1']), 1)
})

test('FAULTS 42: a call made just before close() is in flight', async (t) => {
  const client = openClient(t, { url: server.url, keyPrefix: `${unique()}:` })
  await client.pipelineSet([{ key: 'a', data: '1' }])
  const small = timed(client.bulkLookup('', ['a']))
  const closed = client.close()
  t.deepEqual((await small).value?.results, ['1'], String((await small).error))
  await closed
})

test('FAULTS 42: so is one that has not sent all of its parts', async (t) => {
  const client = openClient(t, { url: server.url, keyPrefix: `${unique()}:`, commandTimeoutMs: 120_000 })
  const set = timed(client.pipelineSet(codes(100_000).map((key) => ({ key, data: '1' }))))
  await client.close()
  const { value, error } = await set
  t.is(value?.written, 100_000, String(error ?? value?.errors[0]?.message))
  await client.connect()
  const lookup = timed(client.bulkLookup('', codes(100_000)))
  await client.close()
  const found = await lookup
  t.is(found.value?.cacheHits, 100_000, String(found.error))
})

test('FAULTS 42: what does not settle is rejected with CLOSED within commandTimeoutMs', async (t) => {
  const peer = await startPeer(t, () => {})
  // Still connecting, which may take longer than a command.
  const client = openClient(t, { url: peer.url, connectTimeoutMs: 60_000, commandTimeoutMs: 300 })
  const calls = [client.bulkLookup('', ['a']), client.bulkLookup('', ['a'], {}), client.scanAll('*'), client.pipelineSet([{ key: 'a', data: '1' }]), client.batchDelete(['a']), client.sendCommand(['PING'])].map(timed)
  await peer.until((p) => p.connections === 1)
  const { ms } = await timed(client.close())
  t.true(ms < 20_000, `${ms} ms`)
  for (const { error, ms: took } of await Promise.all(calls)) {
    t.is(error?.code, 'CLOSED', String(error))
    t.true(took < 20_000, `${took} ms`)
  }
  await peer.until((p) => p.open === 0)
})

test('FAULTS 42: the same with a server that stands still', async (t) => {
  const peer = await startPeer(t, (command, reply) => void handshake(command, reply))
  const client = openClient(t, { url: peer.url, commandTimeoutMs: 400 })
  await client.connect()
  const calls = [client.bulkLookup('', ['a']), client.scanAll('*'), client.pipelineSet([{ key: 'a', data: '1', ttl: 9 }]), client.sendCommand(['INCR', 'a'])].map(timed)
  await peer.until((p) => p.count('INCR') === 1)
  const { ms } = await timed(client.close())
  t.true(ms < 20_000, `${ms} ms`)
  for (const { value, error } of await Promise.all(calls)) {
    const failed = error ?? value.errors[0]
    t.true(['CLOSED', 'TIMEOUT'].includes(failed.code), String(failed))
  }
  await peer.until((p) => p.open === 0)
})

test('FAULTS 42: closing one client leaves its equals alone', async (t) => {
  const held = []
  const peer = await startPeer(t, (command, reply) => {
    if (command[0] === 'CLIENT') held.push(() => handshake(command, reply))
    else reply(['right'])
  })
  const [one, other] = [openClient(t, { url: peer.url }), openClient(t, { url: peer.url })]
  const call = timed(other.bulkLookup('', ['a']))
  await peer.until((p) => p.connections === 1 && held.length > 0)
  await one.close()
  await peer.until(() => {
    // Whatever connection is being made may go on now.
    for (const answer of held.splice(0)) answer()
    return peer.count('MGET') > 0 || peer.open === 0
  })
  const { value, error } = await call
  t.deepEqual(value?.results, ['right'], String(error))
  t.like((await one.bulkLookup('', ['a']).catch((error) => error)), { code: 'CLOSED' })
  t.not((await other.health()).state, 'closed')
})

test('FAULTS 46: the JavaScript loaded again 100 times makes one connection', async (t) => {
  const own = await startServer(t)
  const { code, stderr, json } = await runProgram(
    `const path = require.resolve(${JSON.stringify(new URL('../../index.js', import.meta.url).pathname)})
    main(async () => {
      const seen = new Set()
      let found = 0
      await rb.pipelineSet([{ key: 'a', data: '1' }])
      for (let i = 0; i < 100; i++) {
        for (const name of Object.keys(require.cache)) delete require.cache[name]
        const again = require(path)
        seen.add(again)
        if ((await again.bulkLookup('', ['a'])).results[0] === '1') found++
        if ((await again.bulkLookup('', ['a'], { as: 'json' })).results[0] === 1) found++
      }
      const list = await rb.createClient().sendCommand(['CLIENT', 'LIST'])
      print({ seen: seen.size, found, connections: list.trim().split('\\n').length })
    })`,
    { env: { REDIS_URL: own.url } },
  )
  t.deepEqual([code, stderr], [0, ''])
  t.deepEqual(json, { seen: 100, found: 200, connections: 1 })
})
