// A clean-up job as an ES module: finds the sessions of one region and deletes them in batches.
//
//   node examples/script.mjs                                       the settings of .env.production beside this file
//   REDIS_URL=redis://127.0.0.1:6379 node examples/script.mjs      the environment wins over the file

import { fileURLToPath } from 'node:url'
import { batchDelete, close, configure, pipelineSet, scanAll } from 'redis-bulk'

// In a service that starts in its own folder this is simply: configure({ envFile: '.env.production' })
configure({ envFile: fileURLToPath(new URL('.env.production', import.meta.url)) })

try {
  // Something to clean up: five thousand sessions, half of them in the region `eu`.
  const sessions = Array.from({ length: 5000 }, (_, index) => ({
    key: `session:${index % 2 === 0 ? 'eu' : 'us'}:${index}`,
    data: { user: index },
    ttl: 900,
  }))
  await pipelineSet(sessions)

  const keys = await scanAll('session:eu:*', 1000)
  const deleted = await batchDelete(keys, {
    batchSize: 500,
    onProgress: ({ done, total }) => console.log(`${done} of ${total}`),
  })
  console.log(`${keys.length} sessions found, ${deleted} deleted, ${(await scanAll('session:*')).length} left`)
} catch (error) {
  console.error(`${error.code}: ${error.message}`)
  process.exitCode = 1
} finally {
  await close()
}
