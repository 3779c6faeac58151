// `npm test`: sets everything up in a fresh clone, then runs every test.
//   npm test                          all
//   npm test -- --only js,types       some: rust, js, types, packaging (and lint, release, contract with --ci)
//   npm test -- --only js lookup      JavaScript tests whose file name has `lookup` in it
//   npm test -- --engine valkey       JavaScript tests on one engine
//   --debug                           with the addon of the debug profile, which builds faster
//   --ci                              also the lints, the binary for publishing (which is then the one that is packed),
//                                     and index.d.ts against the contract
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { binaryName, hostPlatform } from './platforms.mjs'
import { Stop, main, need, root, run } from './run.mjs'
import { checkNode, ensureAddon, ensureModules, ensureServers, seconds } from './setup.mjs'

const args = process.argv.slice(2)
const flag = (name) => args.includes(name) && args.splice(args.indexOf(name), 1).length > 0
const value = (name) => (args.includes(name) ? args.splice(args.indexOf(name), 2)[1] : undefined)

const ci = flag('--ci')
const debug = flag('--debug')
const only = value('--only')?.split(',')
const engine = value('--engine')
const names = args

const total = { passed: 0, failed: 0, skipped: 0 }
/** What failed, said again at the end: later sections push it out of sight, and logs are often cut to their end. */
const failedSections = []

/** A header, the body's counts into the total, the time it took. */
async function section(title, body) {
  const start = performance.now()
  process.stdout.write(`\n== ${title}\n`)
  const counts = await body()
  if (!counts) return
  total.passed += counts.passed
  total.failed += counts.failed
  total.skipped += counts.skipped ?? 0
  if (counts.failed > 0) failedSections.push({ title, failures: counts.failures ?? '' })
  process.stdout.write(`-- ${title}: ${counts.passed} passed, ${counts.failed} failed, ${seconds(start)}\n`)
}

const count = (text, pattern) => [...text.matchAll(pattern)].reduce((sum, match) => sum + Number(match[1]), 0)

/** A run that failed without a failed test (it did not compile, it crashed, it found no test) is one failure. */
function counted(code, counts) {
  if (code !== 0 && counts.failed === 0) counts.failed = 1
  if (code === 0 && counts.passed + counts.failed === 0) {
    process.stdout.write('No test ran here, which counts as a failure.\n')
    counts.failed = 1
  }
  return counts
}

const REPEATED_LINES = 150

/** The first lines where the beginning says most, as in a list of failures; else the last ones. */
function shorten(text, { end = false } = {}) {
  const lines = text.replace(/^\s*\n/, '').trimEnd().split('\n')
  const more = lines.length - REPEATED_LINES
  if (more <= 0) return lines.join('\n')
  const left = `… ${more} lines more: see the section itself`
  return (end ? [left, ...lines.slice(-REPEATED_LINES)] : [...lines.slice(0, REPEATED_LINES), left]).join('\n')
}

/** From cargo's output: what each failed test printed and the list of their names; of a failed build, its end. */
function cargoFailures(text) {
  const blocks = [...text.matchAll(/^failures:\n[\s\S]*?^test result: FAILED.*$/gm)].map(([block]) => block)
  return blocks.length > 0 ? shorten(blocks.join('\n\n')) : shorten(text, { end: true })
}

/** From ava's output: all but the passed tests with what they logged; so the failed ones, and files that crashed. */
function avaFailures(text) {
  const kept = text.replace(/^ +[✔√] .*\n(?: {4,}\S.*\n)*/gm, '').replace(/\n(?:\s*\n){2,}/g, '\n\n')
  return shorten(kept)
}

async function cargoTest(cargoArgs) {
  const { code, stdout } = await run('cargo', ['test', ...cargoArgs], { capture: true, tee: true, env: servers })
  return counted(code, {
    failures: code === 0 ? undefined : cargoFailures(stdout.replace(/\x1b\[[0-9;]*m/g, '')),
    passed: count(stdout, /^test result: .*?(\d+) passed/gm),
    failed: count(stdout, /^test result: .*?(\d+) failed/gm),
    skipped: count(stdout, /^test result: .*?(\d+) ignored/gm),
  })
}

async function ava(files, env) {
  const { code, stdout } = await run(process.execPath, ['node_modules/ava/entrypoints/cli.mjs', ...files], {
    capture: true,
    tee: true,
    env: { ...servers, ...env },
  })
  const plain = stdout.replace(/\x1b\[[0-9;]*m/g, '')
  return counted(code, {
    failures: code === 0 ? undefined : avaFailures(plain),
    // ava sums up the passed tests only where none failed: so the lines with a tick count.
    passed: [...plain.matchAll(/^\s+[✔√] /gm)].length,
    failed: count(plain, /^\s*(\d+) (?:tests? failed|uncaught exceptions?|unhandled rejections?|tests? remained pending)/gm),
    skipped: count(plain, /^\s*(\d+) tests? (?:skipped|todo)/gm),
  })
}

/** A command that is one test: it passes with exit code 0. */
async function check(title, command, commandArgs) {
  const { code, stdout } = await run(command, commandArgs, { capture: true, tee: true })
  process.stdout.write(code === 0 ? `ok: ${title}\n` : `FAILED: ${title}\n`)
  return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1, failures: `${title}:\n${shorten(stdout, { end: true })}` }
}

async function checks(list) {
  const sum = { passed: 0, failed: 0, failures: '' }
  for (const [title, command, commandArgs] of list) {
    const result = await check(title, command, commandArgs)
    sum.passed += result.passed
    sum.failed += result.failed
    if (result.failures) sum.failures += `${sum.failures && '\n\n'}${result.failures}`
  }
  return sum
}

/** Test files below `folder`, as paths from the root. */
function testFiles(folder, skip = []) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`
    if (entry.isDirectory()) return skip.includes(path) || entry.name === 'node_modules' ? [] : testFiles(path, skip)
    return entry.name.endsWith('.test.mjs') ? [path] : []
  })
}

const wanted = (name) => (only ? only.includes(name) : true)
let servers = {}

// Random input of property tests: the same in every CI run (__test__/support/seed.js).
if (ci) Object.assign(process.env, { RB_SEED: '1', PROPTEST_RNG_SEED: '1' })

await main(async () => {
  const start = performance.now()
  const known = ['rust', 'js', 'types', 'packaging', ...(ci ? ['lint', 'release', 'contract'] : [])]
  for (const name of only ?? []) if (!known.includes(name)) throw new Stop(`--only takes ${known.join(', ')}; not ${name}.`)
  if (engine && engine !== 'redis' && engine !== 'valkey') throw new Stop(`--engine takes redis or valkey; not ${engine}.`)

  let engines
  await section('set-up', async () => {
    checkNode()
    need('cargo')
    await ensureModules()
    if (wanted('rust') || wanted('js')) {
      engines = await ensureServers()
      servers = { REDIS_SERVER_BIN: engines.redis, ...(engines.valkey && { VALKEY_SERVER_BIN: engines.valkey }) }
    }
    if (wanted('js') || wanted('packaging')) await ensureAddon({ debug })
  })

  if (ci && wanted('lint')) await section('lint', () => checks([['npm run lint', process.execPath, ['scripts/lint.mjs']]]))
  if (wanted('rust')) {
    await section('rust, without Node', () => cargoTest(['--no-default-features']))
    if (bindingHasTests()) await section('rust, the binding', () => cargoTest(['--lib', 'binding::']))
  }
  if (wanted('js')) {
    const files = testFiles('__test__', ['__test__/packaging', '__test__/types']).filter(
      (file) => names.length === 0 || names.some((name) => file.includes(name)),
    )
    if (files.length === 0) throw new Stop(`No test file has ${names.join(' or ')} in its name.`)
    const list = ['redis', 'valkey'].filter((name) => engines[name] && (!engine || engine === name))
    for (const [index, name] of list.entries()) {
      // What does not depend on the server (`*.once.test.mjs`) is not repeated on the second engine.
      const some = index === 0 ? files : files.filter((file) => !file.endsWith('.once.test.mjs'))
      if (some.length > 0) await section(`javascript, ${name}`, () => ava(some, { RB_ENGINE: name }))
    }
  }
  if (wanted('types')) await section('types', () => checks([['npm run types', process.execPath, ['scripts/types.mjs']]]))
  const packed = {}
  if (ci && wanted('release')) {
    const platform = hostPlatform()
    await section('binary for publishing', () => checks([['npm run build:release', process.execPath, ['scripts/build-release.mjs']]]))
    packed.RB_STAGE_BINARY = join(root, 'npm', platform.name, binaryName(platform))
  }
  if (wanted('packaging')) await section('packaging', () => ava(testFiles('__test__/packaging'), packed))
  if (ci && wanted('contract')) {
    await section('contract', async () => {
      const contract = '../shared/contract.d.ts'
      const there = existsSync(join(root, contract))
      if (!there) process.stdout.write(`skipped: there is no ${contract} beside this clone\n`)
      const sum = await checks([
        ...(there ? [['index.d.ts carries the contract', process.execPath, ['scripts/check-contract.mjs', contract]]] : []),
        ['generated files are as committed', process.execPath, ['scripts/check-generated.mjs']],
      ])
      return { ...sum, skipped: there ? 0 : 1 }
    })
  }

  const totals = `${total.passed} passed, ${total.failed} failed${total.skipped ? `, ${total.skipped} skipped` : ''}\n`
  const failed = failedSections.map(({ title }) => title).join('; ')
  process.stdout.write(`\n${failed && `Failed: ${failed}. `}Time: ${seconds(start)}.\n${totals}`)
  for (const { title, failures } of failedSections) process.stdout.write(`\n== failed in ${title}\n${failures}\n`)
  // The last line says how it went, whatever stands before it.
  if (failed) process.stdout.write(`\n${totals}`)
  return total.failed > 0 ? 1 : 0
})

function bindingHasTests(folder = join(root, 'src/binding')) {
  if (!existsSync(folder)) return false
  return readdirSync(folder, { withFileTypes: true }).some((entry) =>
    entry.isDirectory()
      ? bindingHasTests(join(folder, entry.name))
      : entry.name.endsWith('.rs') && readFileSync(join(folder, entry.name), 'utf8').includes('#[test]'),
  )
}
