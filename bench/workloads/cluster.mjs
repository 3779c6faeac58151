// The same calls on a cluster of three primaries. No floor: what a client must do there is more than to pass bytes.
import { codeCount } from '../data.mjs'
import { count, fillFor } from './common.mjs'

const lookups = [1, 50, 1000, 10_000].map((n) => {
  const params = { n, as: 'string', bytes: 200, charset: 'ascii' }
  return {
    id: `cluster/lookup/${n}`,
    group: 'on a cluster of three primaries, 200 bytes',
    title: `bulkLookup ${count(n)} over all slots`,
    cluster: true,
    kind: 'lookup',
    params,
    fill: fillFor(params, codeCount(n)),
    stall: n >= 1000,
    ...(n === 10_000 ? { quick: true, target: { title: 'bulkLookup 10,000 over a cluster of three', wall: 0.5 } } : {}),
  }
})

const params = { n: 10_000, objects: false, bytes: 200, charset: 'ascii', ttl: 3600 }
const set = {
  id: 'cluster/set/10000',
  group: 'on a cluster of three primaries, 200 bytes',
  title: `pipelineSet ${count(params.n)} strings with TTL over all slots`,
  cluster: true,
  kind: 'set',
  params,
  fill: { id: 'empty', pairs: () => [] },
  stall: true,
}

export default [...lookups, set]
