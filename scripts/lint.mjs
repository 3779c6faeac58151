// `npm run lint`: Rust formatting, Clippy with and without the binding, and the JavaScript against its types.
import { checkNode, ensureModules } from './setup.mjs'
import { main, need, run } from './run.mjs'

await main(async () => {
  checkNode()
  need('cargo')
  await ensureModules()
  const commands = [
    ['cargo', ['fmt', '--check']],
    ['cargo', ['clippy', '--all-targets', '--quiet', '--', '-D', 'warnings']],
    ['cargo', ['clippy', '--all-targets', '--quiet', '--no-default-features', '--', '-D', 'warnings']],
    [process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json']],
  ]
  let failed = 0
  for (const [command, args] of commands) {
    const { code } = await run(command, args)
    process.stdout.write(`${code === 0 ? 'ok' : 'FAILED'}: ${command === process.execPath ? 'tsc' : command} ${args.filter((arg) => !arg.startsWith('node_modules')).join(' ')}\n`)
    if (code !== 0) failed += 1
  }
  return failed > 0 ? 1 : 0
})
