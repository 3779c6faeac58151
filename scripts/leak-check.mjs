// Looks for memory that the Rust core loses: its tests, and every operation on a real server, under valgrind. Fails on
// memory that nothing points at any more, and on reads and writes where there is none.
//   node scripts/leak-check.mjs [-- names of tests]
// Needs valgrind and redis-server. Takes some minutes: everything is about thirty times slower under valgrind.
import { main, must, need, run, which, Stop } from './run.mjs'

const names = process.argv.includes('--') ? process.argv.slice(process.argv.indexOf('--') + 1) : []
const valgrind = ['--leak-check=full', '--show-leak-kinds=definite', '--errors-for-leak-kinds=definite', '--error-exitcode=99', '--child-silent-after-fork=yes', '--num-callers=30', '-q']
// The model tests of the store have their own long runs; what they could lose shows in a few cases.
const env = { PROPTEST_CASES: '4', PROPTEST_MAX_SHRINK_ITERS: '0' }

await main(async () => {
  need('cargo')
  if (!which('valgrind')) throw new Stop('valgrind was not found: install valgrind.')
  const built = await must('cargo', ['test', '--no-default-features', '--no-run', '--message-format=json', '--lib', '--test', 'core_on_server'], { capture: true })
  const programs = built.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line)).filter((each) => each.executable && each.profile?.test).map((each) => each.executable)
  if (programs.length !== 2) throw new Stop(`Two programs were to be built, not ${programs.length}.`)
  let failed = 0
  for (const program of programs) {
    const { code } = await run('valgrind', [...valgrind, program, '--test-threads=1', ...names], { env })
    process.stdout.write(`${code === 0 ? 'ok' : code === 99 ? 'LEAKS OR INVALID ACCESS' : 'FAILED'}: ${program}\n`)
    if (code !== 0) failed += 1
  }
  return failed > 0 ? 1 : 0
})
