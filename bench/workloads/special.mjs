// What other clients of the server feel, and what a fresh process waits for. run.mjs knows these kinds.
import { codeCount } from '../data.mjs'
import { fillFor, mgetChunks } from './common.mjs'

const params = { n: 100_000, as: 'string', bytes: 200, charset: 'ascii' }

export default [
  {
    id: 'neighbour/100000',
    group: "another client's GET while one client reads 100,000 values again and again",
    title: 'GET beside bulkLookup 100,000',
    special: 'neighbour',
    kind: 'lookup',
    params,
    fill: fillFor(params, codeCount(params.n)),
    floor: () => [
      { name: 'one MGET', chunks: mgetChunks(params, params.n, params.n), window: 1 },
      { name: 'MGET of 1,000, two in flight', chunks: mgetChunks(params, params.n, 1000), window: 2 },
    ],
    quick: true,
    target: { title: "while one call reads 100,000: p99 of another client's GET", neighbour: 0.1 },
  },
  {
    id: 'startup',
    group: 'a fresh process',
    title: '`require` and first command',
    special: 'startup',
    fill: { id: 'empty', pairs: () => [] },
    quick: true,
    target: { title: '`require`, and first command of a fresh process', require: 0.25, first: 0.5 },
  },
]
