// pipelineSet: strings and objects, with and without a time to live.
import { count, msetChunks, setChunks } from './common.mjs'

const SIZES = [1, 5, 50, 1000, 10_000, 100_000]
const TARGETS = {
  'strings/ttl/10000': { wall: 0.45, floor: 1.3, js: 0.12 },
  'objects/ttl/10000': { wall: 0.45, js: 0.25 },
  'strings/plain/10000': { wall: 0.3, js: 0.12 },
  'strings/ttl/100000': { wall: 0.45, memory: 0.5 },
}

export default ['strings', 'objects'].flatMap((what) =>
  ['ttl', 'plain'].flatMap((expiry) =>
    SIZES.map((n) => {
      const params = { n, objects: what === 'objects', bytes: 200, charset: 'ascii', ...(expiry === 'ttl' ? { ttl: 3600 } : {}) }
      const name = `${what}/${expiry}/${n}`
      const target = TARGETS[name]
      const words = `${what} ${params.ttl ? 'with TTL' : 'without TTL'}`
      return {
        id: `set/${name}`,
        group: `pipelineSet, ${words}, 200 bytes`,
        title: `pipelineSet ${count(n)} ${words}`,
        kind: 'set',
        params,
        fill: { id: 'empty', pairs: () => [] },
        floor: () => [
          { name: 'SETs in writes of 64 KiB', chunks: setChunks(params), window: 4 },
          ...(params.ttl ? [] : [{ name: 'MSET of 1,000, two in flight', chunks: msetChunks(params), window: 2 }]),
        ],
        stall: n >= 1000,
        memory: n >= 10_000,
        ...(target ? { quick: true, target: { title: `pipelineSet ${count(n)} ${words}`, ...target } } : {}),
      }
    }),
  ),
)
