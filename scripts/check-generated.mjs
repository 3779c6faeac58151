// Fails when a build has made lib/addon.d.ts other than it is committed.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Stop, main, quick, root } from './run.mjs'

const files = ['lib/addon.d.ts']

await main(() => {
  for (const file of files) if (!existsSync(join(root, file))) throw new Stop(`${file} is missing: npm run build.`)
  const status = quick('git', ['status', '--porcelain', '--', ...files])
  if (status === null) throw new Stop('This needs git and a clone.')
  if (status.trim() === '') return 0
  process.stdout.write(`${status}${quick('git', ['--no-pager', 'diff', '--', ...files]) ?? ''}`)
  throw new Stop('Generated files differ from what is committed: npm run build, then commit them.')
})
