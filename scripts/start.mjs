// `npm start`: sets everything up in a fresh clone, then runs the quickstart (on the embedded store; on a real server
// with REDIS_URL).
import { ensureAddon, ensureModules, checkNode } from './setup.mjs'
import { main, run } from './run.mjs'

await main(async () => {
  checkNode()
  await ensureModules()
  await ensureAddon()
  process.stdout.write('\n')
  const { code } = await run(process.execPath, ['examples/quickstart.mjs', ...process.argv.slice(2)])
  return code
})
