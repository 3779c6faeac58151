// Many callers at once, each waiting for its answer before it asks again.
import { codeCount } from '../data.mjs'
import { fillFor, mgetChunks } from './common.mjs'

export default [1, 8, 64, 512].flatMap((callers) =>
  [1, 5, 50].map((n) => {
    const params = { callers, n, as: 'string', bytes: 200, charset: 'ascii' }
    return {
      id: `callers/${callers}/${n}`,
      group: 'many callers of bulkLookup at once (figures for each call)',
      title: `${callers} callers × ${n}`,
      kind: 'lookup',
      params,
      fill: fillFor(params, codeCount(n)),
      // One call of every caller in one write: the best that sharing can do. Figures are divided by the callers.
      floor: () => {
        const [chunk] = mgetChunks(params, n, n)
        return [
          {
            name: 'all callers in one write',
            chunks: [{ command: Buffer.concat(Array(callers).fill(chunk.command)), replyLength: chunk.replyLength * callers }],
            window: 1,
            divide: callers,
          },
        ]
      },
      ...(callers >= 64 ? { quick: true, target: { title: `${callers} callers × ${n} codes`, ops: 1.3, js: 0.6 } } : {}),
    }
  }),
)
