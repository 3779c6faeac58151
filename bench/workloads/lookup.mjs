// bulkLookup with one caller: one call after another.
import { CHARSETS, codeCount } from '../data.mjs'
import { count, fillFor, mgetChunks } from './common.mjs'

const SIZES = [1, 5, 50, 1000, 10_000, 100_000]
const TARGETS = {
  1: { wall: 1, js: 0.7 },
  5: { wall: 1, js: 0.7 },
  50: { wall: 0.85, js: 0.5 },
  1000: { wall: 0.55, js: 0.25 },
  10_000: { wall: 0.5, floor: 1.6, js: 0.16, stallMs: 1 },
  100_000: { wall: 0.6, js: 0.33, stallMs: 10, memory: 0.6 },
}
const CHARSET_NAMES = { ascii: 'ASCII', latin1: 'Latin-1 accents', wide: 'CJK and emoji' }

function lookup(params, extra) {
  const { n, as, bytes } = params
  return {
    kind: 'lookup',
    params,
    fill: fillFor(params, codeCount(n)),
    floor: () => [
      { name: 'one MGET', chunks: mgetChunks(params, n, n), window: 1 },
      ...(n >= 10_000 ? [{ name: 'MGET of 1,000, two in flight', chunks: mgetChunks(params, n, 1000), window: 2 }] : []),
    ],
    stall: n >= 1000,
    memory: n >= 10_000 && bytes * n <= 20_000_000,
    ...extra,
  }
}

export default [
  ...[200, 20, 2000].flatMap((bytes) =>
    CHARSETS.flatMap((charset) =>
      SIZES.map((n) => {
        const reference = bytes === 200 && charset === 'ascii'
        return lookup(
          { n, as: 'string', bytes, charset },
          {
            id: `lookup/string/${bytes}/${charset}/${n}`,
            group: `bulkLookup, ${count(bytes)} bytes, ${CHARSET_NAMES[charset]}`,
            title: `bulkLookup ${count(n)}`,
            ...(reference ? { quick: true, target: { title: n >= 1000 ? `bulkLookup ${count(n)} × 200 B` : `bulkLookup ${n}, one caller`, ...TARGETS[n] } } : {}),
          },
        )
      }),
    ),
  ),
  ...SIZES.map((n) =>
    lookup(
      { n, as: 'json' },
      {
        id: `lookup/json/${n}`,
        group: 'bulkLookup as JSON objects of about 200 bytes',
        title: `bulkLookup ${count(n)}, as: json`,
        ...(n === 10_000 ? { quick: true, target: { title: 'bulkLookup 10,000 JSON objects', wall: 0.6, js: 0.6 } } : {}),
      },
    ),
  ),
  ...SIZES.map((n) => lookup({ n, as: 'buffer', bytes: 200, charset: 'ascii' }, { id: `lookup/buffer/${n}`, group: 'bulkLookup as Buffers, 200 bytes', title: `bulkLookup ${count(n)}, as: buffer` })),
]
