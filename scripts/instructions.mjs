// Counts the instructions of the cases in benches/ under Callgrind. They are the same from run to run, however busy the
// machine, so that they show what a change costs or saves where times do not.
//   npm run bench:instructions               all cases, beside the counts of docs/benchmarks.md
//   npm run bench:instructions -- decode     those whose name has the word in it
//   npm run bench:instructions -- --write    writes the counts of all into docs/benchmarks.md
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Stop, main, must, need, quick, root, run } from './run.mjs'

const page = join(root, 'docs/benchmarks.md')
const [begin, end] = ['<!-- instructions: written by `npm run bench:instructions -- --write`; do not edit -->', '<!-- /instructions -->']
const args = process.argv.slice(2)
const words = args.filter((arg) => !arg.startsWith('--'))
const grouped = (number) => Math.round(number).toLocaleString('en-US')

async function benchmark() {
  const out = await must('cargo', ['bench', '--no-default-features', '--bench', 'instructions', '--no-run', '--message-format=json-render-diagnostics'], { capture: true })
  for (const line of out.split('\n')) {
    if (!line.startsWith('{')) continue
    const { target, executable } = JSON.parse(line)
    if (target?.name === 'instructions' && executable) return executable
  }
  throw new Stop('cargo did not say where it put the benchmark.')
}

async function count(program, name, folder) {
  const options = ['--tool=callgrind', `--callgrind-out-file=${join(folder, 'out')}`, '--collect-atstart=no', '--toggle-collect=*instructions::counted*']
  const { code, stdout } = await run('valgrind', [...options, program, name], { capture: true })
  const collected = Number(/Collected : (\d+)/.exec(stdout)?.[1])
  if (code !== 0 || !(collected > 0)) throw new Stop(`Nothing was counted for "${name}":\n${stdout}`)
  return collected
}

/** The counts that the page holds, by case. */
function documented() {
  const text = readFileSync(page, 'utf8')
  const table = text.slice(text.indexOf(begin), text.indexOf(end))
  return new Map([...table.matchAll(/^\| (.+?) \| [\d,]+ \| ([\d,]+) \|/gm)].map(([, name, number]) => [name, Number(number.replaceAll(',', ''))]))
}

await main(async () => {
  need('cargo')
  need('valgrind')
  const write = args.includes('--write')
  if (write && words.length > 0) throw new Stop('--write takes all cases.')
  process.stdout.write('· building the benchmark (cargo, bench profile)\n')
  const program = await benchmark()
  const known = documented()
  const rows = []
  const folder = mkdtempSync(join(tmpdir(), 'redis-bulk-instructions-'))
  try {
    for (const line of quick(program, []).trim().split('\n')) {
      const [items, name] = line.split('\t')
      if (words.length > 0 && !words.some((word) => name.includes(word))) continue
      const instructions = await count(program, name, folder)
      const before = known.get(name)
      const change = before ? `${(((instructions - before) / before) * 100).toFixed(2)} %` : 'new'
      process.stdout.write(`${name.padEnd(44)} ${grouped(instructions).padStart(14)} ${change.padStart(9)}\n`)
      rows.push(`| ${name} | ${grouped(Number(items))} | ${grouped(instructions)} | ${(instructions / Number(items)).toFixed(1)} |`)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  if (!write) return
  const rustc = quick('rustc', ['-vV'])
  const valgrind = quick('valgrind', ['--version']).trim()
  const where = `${/^rustc \S+/m.exec(rustc)[0]}, ${/^host: (\S+)/m.exec(rustc)[1]}, ${valgrind}, a processor ${hasAvx2() ? 'with' : 'without'} AVX2.`
  const table = ['| case | items | instructions | for each item |', '|---|---|---|---|', ...rows].join('\n')
  const text = readFileSync(page, 'utf8')
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from) throw new Stop(`${page} has no place for the counts.`)
  writeFileSync(page, `${text.slice(0, from)}${begin}\n\n${where}\n\n${table}\n\n${text.slice(to)}`)
})

/** memchr and encoding_rs choose their way by the processor, as Valgrind shows it. */
function hasAvx2() {
  try {
    return /\bavx2\b/.test(readFileSync('/proc/cpuinfo', 'utf8'))
  } catch {
    return false
  }
}
