import { isMiss, key, range, stored } from '../data.mjs'
import { mgetReplyLength, pack } from '../resp.mjs'

/** What the server holds before a lookup of `count` different keys: nine of ten. */
export const fillFor = (params, count) => ({
  id: `${params.as === 'json' ? 'json' : `${params.bytes}/${params.charset}`}/${count}`,
  pairs: () => range(count).filter((i) => !isMiss(i)).map((i) => [key(i), stored(params, i)]),
})

const slices = (indexes, size) => range(Math.ceil(indexes.length / size)).map((at) => indexes.slice(at * size, (at + 1) * size))

/** MGETs of `size` keys over the first `n` keys. */
export const mgetChunks = (params, n, size) =>
  slices(range(n), size).map((part) => ({
    command: pack(['MGET', ...part.map(key)]),
    replyLength: mgetReplyLength(part.map((i) => (isMiss(i) ? null : stored(params, i)))),
  }))

/** SETs in writes of about 64 KiB. */
export function setChunks(params) {
  const chunks = []
  let commands = []
  let bytes = 0
  const flush = () => {
    if (commands.length) chunks.push({ command: Buffer.concat(commands), replyLength: 5 * commands.length })
    commands = []
    bytes = 0
  }
  for (let i = 0; i < params.n; i++) {
    const command = pack(['SET', key(i), stored(params, i), ...(params.ttl ? ['EX', params.ttl] : [])])
    commands.push(command)
    bytes += command.length
    if (bytes >= 65_536) flush()
  }
  flush()
  return chunks
}

export const msetChunks = (params) => slices(range(params.n), 1000).map((part) => ({ command: pack(['MSET', ...part.flatMap((i) => [key(i), stored(params, i)])]), replyLength: 5 }))

export const unlinkChunks = (params) => slices(range(params.n), params.size).map((part) => ({ command: pack(['UNLINK', ...part.map(key)]), replyLength: `:${part.length}\r\n`.length }))

export const count = (n) => n.toLocaleString('en-US')
