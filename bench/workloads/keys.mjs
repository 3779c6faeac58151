// scanAll and batchDelete.
import { key, range } from '../data.mjs'
import { count, unlinkChunks } from './common.mjs'

const fill = (n) => ({ id: `keys/${n}`, pairs: () => range(n).map((i) => [key(i), 'x']) })

const scan = [100_000, 1_000_000].map((n) => ({
  id: `scan/${n}`,
  group: 'scanAll, COUNT 1000',
  title: `scanAll ${count(n)}`,
  kind: 'scan',
  params: { n, count: 1000 },
  fill: fill(n),
  floor: () => [{ name: 'SCAN loop', scan: { pattern: 'item:*', count: 1000 } }],
  stall: true,
  memory: true,
  ...(n === 100_000 ? { quick: true, target: { title: 'scanAll 100,000, COUNT 1000', wall: 0.55, floor: 1.3, js: 0.5 } } : {}),
}))

const n = 100_000
const remove = {
  id: `delete/${n}`,
  group: 'batchDelete, batches of 500',
  title: `batchDelete ${count(n)}`,
  kind: 'remove',
  params: { n, size: 500 },
  fill: fill(n),
  // Each call removes what it needs, so the server is filled again before every one.
  refill: true,
  floor: () => [
    { name: 'UNLINK of 500, one after another', chunks: unlinkChunks({ n, size: 500 }), window: 1 },
    { name: 'UNLINK of 500, four in flight', chunks: unlinkChunks({ n, size: 500 }), window: 4 },
  ],
  stall: true,
  memory: true,
  quick: true,
  target: { title: 'batchDelete 100,000', wall: 0.6, js: 0.3 },
}

export default [...scan, remove]
