#!/usr/bin/env node
// From results to a table, a list of targets, charts and the figures of docs/benchmarks.md.
//   node bench/report.mjs [FILE]              prints the table
//   node bench/report.mjs --markdown [FILE]   writes the figures between the marks of docs/benchmarks.md
//   node bench/report.mjs --readme [FILE]     writes the short table between the marks of README.md
//   node bench/report.mjs --charts [FILE]     draws docs/img/*.svg
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { draw } from './charts.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const DOCS = path.join(here, '..', 'docs')

/* ------------------------------------------------------------------ comparing */

const METRICS = {
  wall: (entry) => entry.wallMs?.median,
  js: (entry) => entry.jsMs,
  jsCpu: (entry) => entry.jsCpuMs,
  cpu: (entry) => entry.cpuMs,
  stall: (entry) => entry.stall?.medianMs,
  memory: (entry) => entry.memory?.aboveMb,
  require: (entry) => entry.requireMs,
  first: (entry) => entry.firstMs,
  get: (entry) => entry.getMs?.p99,
}

/** The entry with the least figure, among those that have it. */
function least(entries, figure) {
  let best
  for (const entry of entries ?? []) {
    const value = figure(entry)
    if (Number.isFinite(value) && (best === undefined || value < best.value)) best = { entry, value }
  }
  return best
}
const peersOf = (workload) => (workload.entries ?? []).filter((entry) => entry.kind === 'peer' && !entry.error && !entry.leftOut)
const selfOf = (workload) => (workload.entries ?? []).find((entry) => entry.kind === 'self' && !entry.error)
export const bestPeer = (workload, metric) => least(peersOf(workload), METRICS[metric])
export const leastFloor = (workload) => least(workload.floor, METRICS.wall)

const nameOf = (entry) => (entry.contender ? `${entry.contender}, ${entry.way}` : `floor, ${entry.name}`)

/** Every part of every target: { title, what, bound, value, ours, other, otherName, met }; `met` is null where a side is missing. */
export function targets(results) {
  const rows = []
  for (const workload of results.workloads) {
    const { target } = workload
    if (!target) continue
    const self = selfOf(workload)
    const floor = leastFloor(workload)?.value
    const add = (what, bound, { ours, other, unit = 'ms', more = false, absolute = false }) => {
      // The server alone takes longer than the target allows: nobody can meet it in this run.
      const beneathFloor = what === 'wall time' && other !== undefined && floor > bound * other.value
      const value = absolute ? ours : more ? other?.value / ours : ours / other?.value
      const known = Number.isFinite(value)
      rows.push({ id: workload.id, title: target.title, what, bound, more, absolute, unit, value: known ? value : null, ours: ours ?? null, other: other?.value ?? null, otherName: other ? nameOf(other.entry) : null, met: known ? (more ? value >= bound : value <= bound) : null, beneathFloor })
    }
    const ratio = (what, metric, bound, extra) => add(what, bound, { ours: self && METRICS[metric](self), other: bestPeer(workload, metric), ...extra })
    if (target.wall) ratio('wall time', 'wall', target.wall)
    if (target.ops) ratio('calls a second', 'wall', target.ops, { more: true })
    if (target.floor) add('wall time, to the floor', target.floor, { ours: self && METRICS.wall(self), other: leastFloor(workload) })
    if (target.js) ratio('JS thread', 'js', target.js)
    if (target.stallMs) add('longest stall', target.stallMs, { ours: self && METRICS.stall(self), other: bestPeer(workload, 'stall'), absolute: true })
    if (target.memory) ratio('peak memory', 'memory', target.memory, { unit: 'MiB' })
    if (target.require) ratio('`require`', 'require', target.require)
    if (target.first) ratio('first command', 'first', target.first)
    // Against the mildest of those that send one MGET.
    if (target.neighbour) add('p99 of the other GET', target.neighbour, { ours: self && METRICS.get(self), other: least(peersOf(workload).filter((entry) => entry.way === 'mget'), METRICS.get) })
  }
  return rows
}

/* ------------------------------------------------------------------ words */

export function figure(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–'
  const size = Math.abs(value)
  if (size >= 100) return value.toFixed(0)
  if (size >= 10) return value.toFixed(1)
  if (size >= 1) return value.toFixed(2)
  return value.toFixed(size >= 0.1 ? 3 : 4)
}
const times = (value, base) => (Number.isFinite(value) && Number.isFinite(base) && base > 0 ? (value / base).toFixed(2) : '–')

function rowsOf(workload) {
  if (workload.special === 'startup') {
    const best = bestPeer(workload, 'require')?.value
    const bestFirst = bestPeer(workload, 'first')?.value
    return {
      head: ['', 'require ms', '× best peer', 'first command ms', '× best peer', 'both ms'],
      rows: workload.entries.map((e) => [e.contender, ...(e.error ? ['failed'] : [figure(e.requireMs), times(e.requireMs, best), figure(e.firstMs), times(e.firstMs, bestFirst), figure(e.totalMs)])]),
    }
  }
  if (workload.special === 'neighbour') {
    const line = (name, e) => [name, ...(e.error ? ['failed'] : [figure(e.getMs?.median), figure(e.getMs?.p99), figure(e.getMs?.max), figure(e.callMs)])]
    return {
      head: ['', 'GET median ms', 'GET p99 ms', 'GET longest ms', 'the reading call ms'],
      rows: workload.skipped ? [[workload.skipped]] : [line('nobody reads', workload.quiet), ...workload.entries.map((e) => line(nameOf(e), e)), ...workload.floor.map((e) => line(nameOf(e), e))],
    }
  }
  const best = bestPeer(workload, 'wall')?.value
  const bestJs = bestPeer(workload, 'js')?.value
  const floor = leastFloor(workload)?.value
  const callers = workload.params?.callers
  const columns = [
    ['wall ms', (e) => figure(e.wallMs.median)],
    [callers ? 'one call, p99 ms' : 'p99 ms', (e) => figure(callers ? e.latencyMs?.p99 : e.wallMs.p99)],
    ...(callers ? [['calls/s', (e) => Math.round(1000 / e.wallMs.median).toLocaleString('en-US')]] : []),
    ['× best peer', (e) => times(e.wallMs.median, best)],
    ['× floor', (e) => times(e.wallMs.median, floor)],
    ['JS ms', (e) => figure(e.jsMs)],
    ['× best peer', (e) => times(e.jsMs, bestJs)],
    ['JS CPU ms', (e) => figure(e.jsCpuMs)],
    ['CPU ms', (e) => figure(e.cpuMs)],
    ['stall ms', (e) => figure(e.stall?.medianMs)],
    ['memory MiB', (e) => figure(e.memory?.aboveMb)],
    ['samples', (e) => String(e.samples)],
  ]
  const used = columns.filter(([name]) => !(name === 'stall ms' && !workload.entries.some((e) => e.stall)) && !(name === 'memory MiB' && !workload.entries.some((e) => e.memory)))
  return {
    head: ['', ...used.map(([name]) => name)],
    rows: [...workload.entries, ...(workload.floor ?? [])].map((e) => [nameOf(e), ...(e.error ? ['failed'] : e.leftOut ? [`about ${figure(e.onceMs)}`, 'left out'] : used.map(([, of]) => of(e)))]),
  }
}

function plain({ head, rows }) {
  const widths = head.map((name, at) => Math.max(name.length, ...rows.map((row) => (row[at] ?? '').length)))
  const line = (row) => `  ${row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]) : cell.padStart(widths[at]))).join('  ')}`.trimEnd()
  return [line(head), ...rows.map(line)].join('\n')
}
const markdown = ({ head, rows }) => [`| ${head.join(' | ')} |`, `|${head.map((_, at) => (at === 0 ? '---' : '---:')).join('|')}|`, ...rows.map((row) => `| ${head.map((_, at) => row[at] ?? '').join(' | ')} |`)].join('\n')

const MARK = { true: '✓ met', false: '✗ missed', null: '– not measured' }
const targetRows = (results) => ({
  head: ['', 'what', 'target', 'found', 'redis-bulk', 'other side', 'which', ''],
  rows: targets(results).map((t) => [
    t.title,
    t.what,
    `${t.more ? '≥' : '≤'} ${t.bound}${t.absolute ? ` ${t.unit}` : ''}`,
    t.value === null ? '–' : t.absolute ? `${figure(t.value)} ${t.unit}` : t.value.toFixed(2),
    t.ours === null ? '–' : `${figure(t.ours)} ${t.unit}`,
    t.other === null ? '–' : `${figure(t.other)} ${t.unit}`,
    t.otherName ?? '–',
    `${MARK[t.met]}${t.beneathFloor ? ' (asks for less than the floor)' : ''}`,
  ]),
})

const summary = (results) => {
  const all = targets(results)
  const count = (met) => all.filter((t) => t.met === met).length
  return `${count(true)} met, ${count(false)} missed, ${count(null)} not measured`
}
const machine = ({ meta }) =>
  `${meta.date}, ${meta.mode} run (${meta.seconds} s): ${meta.server}, Node ${meta.node}, ${meta.platform}, ${meta.cpu}, ${meta.cores} cores, ${meta.memoryGb} GB; ${Object.entries(meta.versions).map(([name, version]) => `${name} ${version}`).join(', ')}`

const groups = (results) => Map.groupBy?.(results.workloads, (w) => w.group) ?? results.workloads.reduce((map, w) => map.set(w.group, [...(map.get(w.group) ?? []), w]), new Map())

export function text(results) {
  let out = `\n${machine(results)}\n`
  for (const [group, workloads] of groups(results)) {
    out += `\n== ${group}\n`
    for (const workload of workloads) out += `\n${workload.title}\n${plain(rowsOf(workload))}\n`
  }
  const table = targetRows(results)
  if (table.rows.length) out += `\n== targets: ${summary(results)} (ratios to the best peer for that figure, unless they say otherwise)\n\n${plain(table)}\n`
  return out
}

/* ------------------------------------------------------------------ docs and charts */

const BEGIN = '<!-- figures: written by `node bench/report.mjs --markdown`; do not edit -->'
const END = '<!-- end of figures -->'

export function updateMarkdown(results, file = path.join(DOCS, 'benchmarks.md')) {
  const page = readFileSync(file, 'utf8')
  const from = page.indexOf(BEGIN)
  const to = page.indexOf(END)
  if (from < 0 || to < from) throw new Error(`${file} lacks the marks for the figures`)
  let body = `\n${machine(results)}.\n`
  const table = targetRows(results)
  if (table.rows.length) body += `\n### Targets: ${summary(results)}\n\nRatios are to the best peer for that very figure, unless they say otherwise.\n\n${markdown(table)}\n`
  for (const [group, workloads] of groups(results)) {
    body += `\n### ${group}\n`
    for (const workload of workloads) body += `\n#### ${workload.title}\n\n${markdown(rowsOf(workload))}\n`
  }
  writeFileSync(file, `${page.slice(0, from + BEGIN.length)}\n${body}\n${page.slice(to)}`)
  return file
}

const README_BEGIN = '<!-- figures:start -->'
const README_END = '<!-- figures:end -->'
/** Workloads of the short table. */
const SHORT = [
  ['bulkLookup of 1', 'lookup/string/200/ascii/1'],
  ['bulkLookup of 50', 'lookup/string/200/ascii/50'],
  ['bulkLookup of 1,000', 'lookup/string/200/ascii/1000'],
  ['bulkLookup of 10,000', 'lookup/string/200/ascii/10000'],
  ['bulkLookup of 100,000', 'lookup/string/200/ascii/100000'],
  ['10,000 as JSON objects', 'lookup/json/10000'],
  ['pipelineSet of 10,000 with TTL', 'set/strings/ttl/10000'],
  ['pipelineSet of 10,000 without TTL; peers: MSET', 'set/strings/plain/10000'],
  ['pipelineSet of 10,000 objects with TTL', 'set/objects/ttl/10000'],
  ['scanAll of 100,000', 'scan/100000'],
  ['batchDelete of 100,000', 'delete/100000'],
  ['bulkLookup of 10,000, cluster of three', 'cluster/lookup/10000'],
]
/** Columns, with the contenders that count for each. */
const PACKAGES = { 'redis-bulk': ['redis-bulk'], ioredis: ['ioredis', 'ioredis-auto'], iovalkey: ['iovalkey', 'iovalkey-auto'], 'node-redis': ['node-redis'], glide: ['glide'] }

/** Writes the short table; what stands under it is written by hand. */
export function updateReadme(results, file = path.join(here, '..', 'README.md')) {
  const page = readFileSync(file, 'utf8')
  const from = page.indexOf(README_BEGIN)
  const to = page.indexOf(README_END)
  if (from < 0 || to < from) throw new Error(`${file} lacks the marks for the figures`)
  const figure = (value) => (Number.isFinite(value) ? `${Number(value.toPrecision(3))}` : '?')
  const rows = SHORT.flatMap(([label, id]) => {
    const workload = results.workloads.find((each) => each.id === id)
    if (!workload) return []
    const cells = Object.values(PACKAGES).map((contenders) => {
      const entries = workload.entries.filter((entry) => contenders.includes(entry.contender) && !entry.error && !entry.leftOut)
      const best = least(entries, METRICS.wall)
      return best ? `${figure(best.value)} (${figure(METRICS.js(best.entry))})` : '–'
    })
    return [`| ${[label, ...cells].join(' | ')} |`]
  })
  const head = [`| | ${Object.keys(PACKAGES).join(' | ')} |`, `|---|${Object.keys(PACKAGES).map(() => '---|').join('')}`]
  writeFileSync(file, `${page.slice(0, from + README_BEGIN.length)}\n${[...head, ...rows].join('\n')}\n${page.slice(to)}`)
  return file
}

/** Draws what the results have figures for; returns the files' names. */
export const charts = (results, folder) => draw(results, folder, { bestPeer, leastFloor })

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2)
  const results = JSON.parse(readFileSync(args.find((arg) => !arg.startsWith('--')) ?? path.join(here, 'results', 'latest.json'), 'utf8'))
  if (args.includes('--markdown')) console.error(`written: ${updateMarkdown(results)}`)
  if (args.includes('--readme')) console.error(`written: ${updateReadme(results)}`)
  if (args.includes('--charts')) for (const file of charts(results, path.join(DOCS, 'img'))) console.error(`written: ${file}`)
  if (!['--markdown', '--readme', '--charts'].some((each) => args.includes(each))) process.stdout.write(text(results))
}
