// Builds the addon with the feature `test-hooks`, which can panic on purpose, for the tests of what a panic does.
// It stays in the target folder, away from where lib/native.js looks. Prints its path in the last line.
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { binaryName, cargoArtifact, hostPlatform } from './platforms.mjs'
import { main, must, need, root } from './run.mjs'

await main(async () => {
  need('cargo')
  const platform = hostPlatform()
  const folder = process.env.CARGO_TARGET_DIR || join(root, 'target')
  await must('cargo', ['build', '--lib', '--features', 'test-hooks'])
  const to = join(folder, 'test-hooks')
  mkdirSync(to, { recursive: true })
  copyFileSync(join(folder, 'debug', cargoArtifact(platform)), join(to, binaryName(platform)))
  process.stdout.write(`${join(to, binaryName(platform))}\n`)
})
