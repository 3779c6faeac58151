// Charts as plain SVG, readable on a light and on a dark page.
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'

const STYLE = `<style>
    text { font: 13px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #24292f }
    .title { font-size: 15px; font-weight: 600 } .small { font-size: 11.5px; fill: #57606a } .end { text-anchor: end } .mid { text-anchor: middle }
    .self { fill: #c2410c } .self-soft { fill: #fdba74 } .peer { fill: #57606a } .peer-soft { fill: #c0c7cf } .floor { fill: #8ba3b8 }
    .grid { stroke: #d0d7de; stroke-width: 1 } .one { stroke: #57606a; stroke-width: 1.5 } .bold { font-weight: 600 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .small { fill: #9198a1 }
      .self { fill: #fb923c } .self-soft { fill: #9a4a14 } .peer { fill: #9198a1 } .peer-soft { fill: #464d56 } .floor { fill: #5d7790 }
      .grid { stroke: #30363d } .one { stroke: #9198a1 }
    }
  </style>`

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c])
const words = (value) => (value >= 100 ? Math.round(value).toLocaleString('en-US') : value >= 10 ? value.toFixed(1) : value >= 1 ? value.toFixed(2) : value.toFixed(3))

function page(width, height, title, description, body) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escape(`${title}. ${description}`)}">
  ${STYLE}
  <text class="title" x="0" y="18">${escape(title)}</text>
  <text class="small" x="0" y="36">${escape(description)}</text>
${body}
</svg>
`
}

/** Horizontal bars; `part` (JS thread) is drawn inside the bar. */
function bars(title, description, rows, unit) {
  const width = 720
  const [left, right, top, step] = [150, 130, 52, 30]
  const longest = Math.max(...rows.map((row) => row.value))
  const x = (value) => (value / longest) * (width - left - right)
  const body = rows
    .map((row, at) => {
      const y = top + at * step
      const tone = row.kind === 'self' ? 'self' : row.kind === 'floor' ? 'floor' : 'peer'
      const outer = row.part === undefined || row.kind === 'floor' ? tone : `${tone}-soft`
      return [
        `  <text class="end${row.kind === 'self' ? ' bold' : ''}" x="${left - 10}" y="${y + 15}">${escape(row.name)}</text>`,
        `  <rect class="${outer}" x="${left}" y="${y}" width="${Math.max(1, x(row.value)).toFixed(1)}" height="20" rx="2"/>`,
        ...(row.part === undefined ? [] : [`  <rect class="${tone}" x="${left}" y="${y}" width="${Math.max(1, x(Math.min(row.part, row.value))).toFixed(1)}" height="20" rx="2"/>`]),
        `  <text class="small" x="${(left + x(row.value) + 8).toFixed(1)}" y="${y + 14}">${words(row.value)} ${unit}${row.part === undefined ? '' : ` (JS ${words(row.part)})`}</text>`,
      ].join('\n')
    })
    .join('\n')
  return page(width, top + rows.length * step + 4, title, description, body)
}

/** For each row a scale on which the best peer is 1. */
function dots(title, description, rows) {
  const width = 720
  const [left, right, top, step, limit] = [150, 50, 78, 34, 3]
  const x = (ratio) => left + (Math.min(ratio, limit) / limit) * (width - left - right)
  const bottom = top + rows.length * step - 8
  const grid = [0, 0.5, 1, 1.5, 2, 2.5, 3]
    .map((at) => `  <line class="${at === 1 ? 'one' : 'grid'}" x1="${x(at)}" x2="${x(at)}" y1="${top - 14}" y2="${bottom}"/>\n  <text class="small mid" x="${x(at)}" y="${bottom + 16}">${at === 1 ? 'best peer' : `${at}×${at === limit ? ' and more' : ''}`}</text>`)
    .join('\n')
  const legend = `  <circle class="self" cx="6" cy="54" r="6"/><text class="small" x="18" y="58">redis-bulk</text>
  <circle class="peer" cx="100" cy="54" r="4.5"/><text class="small" x="110" y="58">ioredis, iovalkey, node-redis, valkey-glide</text>
  <rect class="floor" x="352" y="47" width="4" height="14"/><text class="small" x="362" y="58">floor: Redis and loopback alone</text>`
  const body = rows
    .map((row, at) => {
      const y = top + at * step
      return [
        `  <text class="end" x="${left - 14}" y="${y + 9}">${escape(row.name)}</text>`,
        ...(row.floor ? [`  <rect class="floor" x="${(x(row.floor) - 2).toFixed(1)}" y="${y - 5}" width="4" height="18"/>`] : []),
        ...row.peers.map((peer) => `  <circle class="peer" cx="${x(peer.ratio).toFixed(1)}" cy="${y + 4}" r="4.5"><title>${escape(peer.name)} ${peer.ratio.toFixed(2)}</title></circle>`),
        ...(row.self ? [`  <circle class="self" cx="${x(row.self).toFixed(1)}" cy="${y + 4}" r="7"><title>redis-bulk ${row.self.toFixed(2)}</title></circle>`] : []),
      ].join('\n')
    })
    .join('\n')
  return page(width, bottom + 26, title, description, `${legend}\n${grid}\n${body}`)
}

/** Each contender once, with its fastest way. */
function fastest(workload, figure) {
  const by = new Map()
  for (const entry of workload.entries ?? []) {
    if (entry.error || entry.leftOut || entry.kind === 'study' || !Number.isFinite(figure(entry))) continue
    const seen = by.get(entry.contender)
    if (!seen || figure(entry) < figure(seen)) by.set(entry.contender, entry)
  }
  return [...by.values()]
}

export function draw(results, folder, { bestPeer, leastFloor }) {
  const of = (id) => results.workloads.find((workload) => workload.id === id)
  const wall = (entry) => entry.wallMs?.median
  const files = []
  const write = (name, svg) => {
    mkdirSync(folder, { recursive: true })
    files.push(path.join(folder, name))
    writeFileSync(path.join(folder, name), svg)
  }
  const context = `${results.meta.server}, Node ${results.meta.node}, ${results.meta.cores} cores, ${results.meta.mode} run`

  const wallBars = (file, id, title) => {
    const workload = of(id)
    if (!workload) return
    const rows = fastest(workload, wall).map((entry) => ({ name: entry.contender, kind: entry.kind, value: wall(entry), part: entry.jsMs }))
    const floor = leastFloor(workload)
    if (floor) rows.push({ name: 'floor', kind: 'floor', value: floor.value })
    if (rows.length) write(file, bars(title, `Wall time; the dark part is the JS thread. ${context}`, rows, 'ms'))
  }
  wallBars('lookup-10000.svg', 'lookup/string/200/ascii/10000', 'Reading 10,000 values of 200 bytes')
  wallBars('lookup-json-10000.svg', 'lookup/json/10000', 'Reading 10,000 JSON objects')
  wallBars('set-10000.svg', 'set/strings/ttl/10000', 'Writing 10,000 values with a time to live')
  wallBars('scan-100000.svg', 'scan/100000', 'Finding 100,000 keys')

  const sizes = [1, 5, 50, 1000, 10_000, 100_000].map((n) => ({ n, workload: of(`lookup/string/200/ascii/${n}`) })).filter(({ workload }) => workload && bestPeer(workload, 'wall'))
  if (sizes.length) {
    const rows = sizes.map(({ n, workload }) => {
      const best = bestPeer(workload, 'wall').value
      const entries = fastest(workload, wall)
      const self = entries.find((entry) => entry.kind === 'self')
      const floor = leastFloor(workload)
      return {
        name: `${n.toLocaleString('en-US')} value${n === 1 ? '' : 's'}`,
        self: self && wall(self) / best,
        floor: floor && floor.value / best,
        peers: entries.filter((entry) => entry.kind === 'peer').map((entry) => ({ name: entry.contender, ratio: wall(entry) / best })),
      }
    })
    write('lookup-sizes.svg', dots('One lookup, from 1 value to 100,000', `Wall time beside the best peer, less is better. ${context}`, rows))
  }

  const callers = of('callers/64/5')
  if (callers) {
    const rows = fastest(callers, wall).map((entry) => ({ name: entry.contender, kind: entry.kind, value: 1000 / wall(entry) }))
    if (rows.length) write('callers.svg', bars('64 callers at once, 5 values each', `Calls a second, more is better. ${context}`, rows, 'calls/s'))
  }
  const neighbour = of('neighbour/100000')
  if (neighbour?.entries) {
    const p99 = (entry) => entry.getMs?.p99
    const rows = fastest({ entries: neighbour.entries.filter((entry) => entry.kind === 'self' || entry.way === 'mget') }, p99).map((entry) => ({ name: entry.contender, kind: entry.kind, value: p99(entry) }))
    if (rows.length) write('neighbour.svg', bars("Another client's GET while 100,000 values are read", `p99 of the GET, less is better; the peers send one MGET. ${context}`, rows, 'ms'))
  }
  return files
}
