// `npm run soak`: a long run on a server of its own, and whether memory stays flat.
//   npm run soak                              10 minutes of mixed work from 20 callers
//   npm run soak -- --seconds 60              shorter
//   npm run soak -- --calls 50000             so many calls instead
//   npm run soak -- --kill --seconds 60       50 callers; the server, which syncs its file for each write, is killed and
//                                             started every 5 s, connections are cut at random; then everything that
//                                             was reported is looked for
//   --seed N repeats a run's choices; --growth MB: how much resident memory may grow after the warm-up (24);
//   --json prints one line of JSON in the end
// Memory is that of this process, which has the callers and the package; the server is another one.
import { createRequire } from 'node:module'
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { main } from './run.mjs'

const require = createRequire(import.meta.url)
const args = process.argv.slice(2)
const has = (name) => args.includes(name)
const number = (name, otherwise) => (has(name) ? Number(args[args.indexOf(name) + 1]) : otherwise)

if (globalThis.gc === undefined) {
  // Memory is looked at after a collection, so that garbage does not count.
  const { status } = spawnSync(process.execPath, ['--expose-gc', fileURLToPath(import.meta.url), ...args], { stdio: 'inherit' })
  process.exit(status ?? 1)
}

await main(async () => {
  const { killed, mixed } = require('../__test__/support/soak.js')
  const { startProxy } = require('../__test__/support/proxy.js')
  const { startServer } = require('../__test__/support/server.js')
  const json = has('--json')
  const report = (line) => void (json || process.stdout.write(`${line}\n`))
  const seed = number('--seed', Date.now())
  const growth = number('--growth', 24)
  const calls = number('--calls', undefined)
  const seconds = number('--seconds', calls === undefined ? 600 : undefined)
  const kill = has('--kill')
  const server = await startServer(kill ? { args: ['--appendonly', 'yes', '--appendfsync', 'always'] } : {})
  let result
  try {
    if (kill) {
      const proxy = await startProxy(server)
      try {
        result = await killed({ server, proxy, seconds, every: number('--every', 5), seed, report })
      } finally {
        await proxy.stop()
      }
    } else {
      result = await mixed({ url: server.url, seconds, calls, seed, report })
    }
  } finally {
    await server.stop()
  }
  const grown = result.end.rss - result.warm.rss
  const bad = [...result.wrong]
  if (grown > growth) bad.push(`resident memory grew by ${grown.toFixed(1)} MB after the warm-up, allowed are ${growth}`)
  if (result.pending > 0) bad.push(`${result.pending} calls never settled`)
  if (json) process.stdout.write(`${JSON.stringify({ ...result, grown, bad })}\n`)
  else {
    const { warm, end, wrong, ...facts } = result
    for (const [name, value] of Object.entries(facts)) report(`${name}: ${typeof value === 'number' ? Math.round(value * 10) / 10 : value}`)
    report(`resident after the warm-up ${warm.rss.toFixed(1)} MB, in the end ${end.rss.toFixed(1)} MB: ${grown.toFixed(1)} MB more`)
    report(`heap ${warm.heap.toFixed(1)} and ${end.heap.toFixed(1)} MB, external ${warm.external.toFixed(1)} and ${end.external.toFixed(1)} MB`)
    for (const each of bad) report(`FAILED: ${each}`)
  }
  return bad.length > 0 ? 1 : 0
})
