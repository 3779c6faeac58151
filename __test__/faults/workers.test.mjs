// FAULTS 40 and 41 where the threads' own event loops read the answers: that takes a row of small look-ups.
import test from 'ava'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { createRequire } from 'node:module'
import { startServer } from '../support/server.js'
import { runProgram } from '../support/work.js'

const entry = createRequire(import.meta.url).resolve('../../index.js')

test('FAULTS 41: workers end and are terminated while their own event loops read answers', async (t) => {
  const server = await startServer(t)
  await server.cli('SET', 'k', 'right')
  const source = `const { parentPort, workerData } = require('node:worker_threads')
    const { createClient } = require(workerData.entry)
    const client = createClient({ url: workerData.url })
    const look = async () => { for (let i = 0; ; i++) { const { results } = await client.bulkLookup('', ['k']); if (results[0] !== 'right') throw new Error(results[0]); if (i === 40) parentPort.postMessage('running') } }
    look(); look()`
  for (let round = 0; round < 30; round++) {
    const worker = new Worker(source, { eval: true, workerData: { entry, url: server.url } })
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    t.is(await worker.terminate(), 1)
  }
  t.is(await server.cli('GET', 'k'), 'right')
})

test('FAULTS 40: process.exit while the event loop reads answers keeps its code', async (t) => {
  const server = await startServer(t)
  for (let round = 0; round < 10; round++) {
    const { code, signal, stderr } = await runProgram(
      `main(async () => {
        const client = rb.createClient({ url: process.env.URL })
        for (let i = 0; i < 30; i++) await client.bulkLookup('', ['k'])
        for (let i = 0; i < 50; i++) client.bulkLookup('', ['k' + i])
        setImmediate(() => process.exit(7))
      })`,
      { env: { URL: server.url } },
    )
    t.deepEqual([code, signal], [7, null], stderr)
  }
})

test('FAULTS 46: copies of the package that are forgotten leave nothing behind', async (t) => {
  const server = await startServer(t)
  const file = createRequire(import.meta.url).resolve('../support/reload.cjs')
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', file], { env: { ...process.env, URL: server.url } })
  const [half, all] = JSON.parse(stdout)
  // Sixty copies with a table of 32 KiB each came in between.
  t.true(all - half < 10 * 32_768, stdout)
})
