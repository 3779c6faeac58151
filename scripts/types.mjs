// `npm run types`: the JavaScript in lib/ against its own types, then the tests of the public types.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ensureModules } from './setup.mjs'
import { main, root, run } from './run.mjs'

await main(async () => {
  await ensureModules()
  let failed = 0
  for (const project of ['tsconfig.json', '__test__/types/tsconfig.json']) {
    if (!existsSync(join(root, project))) continue
    const { code } = await run(process.execPath, ['node_modules/typescript/bin/tsc', '-p', project])
    process.stdout.write(`${code === 0 ? 'ok' : 'FAILED'}: tsc -p ${project}\n`)
    if (code !== 0) failed += 1
  }
  return failed > 0 ? 1 : 0
})
