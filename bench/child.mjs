// One contender in a process of its own: `node child.mjs NAME`, started by run.mjs, spoken to over IPC.
import { CONTENDERS } from './contenders/index.mjs'
import { codeSets, key, object, PREFIX, range, setEntries, stored, isMiss } from './data.mjs'
import * as measure from './measure.mjs'

const name = process.argv[2]
let client

const identity = (data) => data
const OPS = {
  lookup(way, params) {
    const sets = codeSets(params.n)
    const call = way.run[params.as]
    let next = 0
    return {
      op: () => call(PREFIX, sets[next++ % sets.length]),
      // Checks every place of the first set that has misses, or of the only one.
      async verify() {
        for (const [at, codes] of sets.entries()) {
          const values = await call(PREFIX, codes)
          if (!Array.isArray(values) || values.length !== codes.length) throw new Error('not an array of that many values')
          for (let i = 0; i < codes.length; i++) {
            const index = at * params.n + i
            const got = values[i] ?? null
            if (isMiss(index)) {
              if (got !== null) throw new Error(`a miss at ${index} gave ${String(got).slice(0, 50)}`)
              continue
            }
            const right =
              params.as === 'json' ? JSON.stringify(got) === JSON.stringify(object(index))
              : params.as === 'buffer' ? Buffer.isBuffer(got) && got.equals(Buffer.from(stored(params, index)))
              : typeof got === 'string' && got === stored(params, index)
            if (!right) throw new Error(`a wrong value at ${index}: ${String(got).slice(0, 50)}`)
          }
        }
      },
    }
  },
  set(way, params) {
    const entries = setEntries(params)
    const encode = params.objects ? JSON.stringify : identity
    // What it wrote is read back by the parent.
    return { op: () => way.run(entries, encode), verify: () => way.run(entries, encode) }
  },
  scan(way, params) {
    return {
      op: () => way.run(`${PREFIX}*`, params.count),
      async verify() {
        const keys = new Set(await way.run(`${PREFIX}*`, params.count))
        if (keys.size !== params.n) throw new Error(`found ${keys.size} of ${params.n} keys`)
        for (const i of range(Math.min(1000, params.n))) if (!keys.has(key(i))) throw new Error(`${key(i)} was not found`)
      },
    }
  },
  remove(way, params) {
    const keys = range(params.n).map(key)
    const op = async () => {
      const deleted = await way.run(keys, params.size)
      if (deleted !== params.n) throw new Error(`deleted ${deleted} of ${params.n} keys`)
    }
    return { op, verify: op }
  },
}

/** By way: the prepared call, which every measurement calls, and its check. */
const prepared = new Map()
const op = (way) => prepared.get(way).op
const COMMANDS = {
  async open({ url, seeds }) {
    const contender = await import(CONTENDERS[name].module.replace('./', './contenders/'))
    // A client that has nothing for clusters has no ways there.
    client = seeds ? ((await contender.openCluster?.(seeds)) ?? { close() {} }) : await contender.open(url)
    const ways = {}
    for (const kind of Object.keys(OPS)) if (client[kind]) ways[kind] = client[kind].map((way) => way.name)
    return { ways }
  },
  /** Which ways the contender has for a workload. */
  ways({ kind, params }) {
    return (client[kind] ?? []).filter((way) => (way.when?.(params) ?? true) && (kind !== 'lookup' || way.run[params.as])).map((way) => way.name)
  },
  prepare({ kind, params, way }) {
    prepared.set(way, OPS[kind](client[kind].find((candidate) => candidate.name === way), params))
  },
  async verify({ way }) {
    await prepared.get(way).verify()
  },
  async warm({ way, ...options }) {
    const { wallNs } = await measure.visit(op(way), options)
    // The later half: the first calls are not compiled yet.
    return { ms: measure.median(wallNs.slice(Math.floor(wallNs.length / 2))) / 1e6 }
  },
  visit: ({ way, ...options }) => measure.visit(op(way), options),
  visitCallers: ({ way, ...options }) => measure.visitCallers(op(way), options),
  stall: ({ way }) => measure.stall(op(way)),
  memory: ({ way, ...options }) => measure.memory(op(way), options),
  busy: ({ way, ms }) => measure.keepBusy(op(way), ms),
  async close() {
    await client?.close()
  },
}

process.on('message', async ({ id, command, options }) => {
  let answer
  try {
    answer = { id, result: await COMMANDS[command](options ?? {}) }
  } catch (error) {
    // Some clients' errors have no message; then the class has to say it.
    answer = { id, error: `${error?.constructor?.name}: ${error?.message ?? error}\n${error?.stack?.split('\n').slice(1, 4).join('\n') ?? ''}` }
  }
  // Some clients keep a process alive after their close; nothing is left to do here, so the process ends itself.
  process.send(answer, () => {
    if (command === 'close') process.exit(0)
  })
})
process.on('disconnect', () => process.exit(0))
process.send({ ready: true })
