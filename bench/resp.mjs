// Just enough of the protocol for the harness itself: packed commands, and a connection that fills and inspects the
// server without any of the clients under measurement.
import net from 'node:net'

const header = (n) => Buffer.from(`*${n}\r\n`)
export function pack(args) {
  const parts = [header(args.length)]
  for (const arg of args) {
    const bytes = Buffer.from(String(arg))
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'))
  }
  return Buffer.concat(parts)
}

/** Length of the reply to an MGET of these values (null: a miss). */
export function mgetReplyLength(values) {
  let length = `*${values.length}\r\n`.length
  for (const value of values) {
    if (value === null) length += 5
    else {
      const bytes = Buffer.byteLength(value)
      length += 1 + String(bytes).length + 2 + bytes + 2
    }
  }
  return length
}

/** The file format of the floor program: u32 command length, u32 reply length, command. */
export function packChunks(chunks) {
  return Buffer.concat(
    chunks.flatMap(({ command, replyLength }) => {
      const head = Buffer.alloc(8)
      head.writeUInt32LE(command.length, 0)
      head.writeUInt32LE(replyLength, 4)
      return [head, command]
    }),
  )
}

/** Reads one reply at `at`; undefined when it has not arrived whole. */
function parse(buffer, at) {
  const end = buffer.indexOf('\r\n', at)
  if (end < 0) return undefined
  const line = buffer.toString('latin1', at + 1, end)
  const next = end + 2
  switch (buffer[at]) {
    case 0x2b: return { value: line, next }
    case 0x2d: return { value: new Error(line), next }
    case 0x3a: return { value: Number(line), next }
    case 0x24: {
      const length = Number(line)
      if (length < 0) return { value: null, next }
      if (buffer.length < next + length + 2) return undefined
      return { value: buffer.toString('utf8', next, next + length), next: next + length + 2 }
    }
    case 0x2a: {
      const values = []
      let position = next
      for (let i = 0; i < Number(line); i++) {
        const item = parse(buffer, position)
        if (!item) return undefined
        values.push(item.value)
        position = item.next
      }
      return { value: values, next: position }
    }
    default: throw new Error(`unexpected reply: ${line.slice(0, 100)}`)
  }
}

export class Admin {
  #socket
  #chunks = []
  #waiting = null

  static async open(port) {
    const admin = new Admin()
    admin.#socket = net.connect(port, '127.0.0.1')
    admin.#socket.setNoDelay(true)
    await new Promise((resolve, reject) => admin.#socket.once('connect', resolve).once('error', reject))
    admin.#socket.on('error', (error) => admin.#waiting?.reject(error))
    admin.#socket.on('close', () => admin.#waiting?.reject(new Error('the server closed the connection')))
    admin.#socket.on('data', (chunk) => admin.#take(chunk))
    return admin
  }

  #take(chunk) {
    this.#chunks.push(chunk)
    const waiting = this.#waiting
    if (!waiting) return
    // A large reply comes in many pieces, and trying at each would be quadratic; a whole one ends with CRLF.
    if (chunk.length < 2 ? false : chunk[chunk.length - 2] !== 0x0d || chunk[chunk.length - 1] !== 0x0a) return
    const buffer = this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks)
    this.#chunks = [buffer]
    let at = 0
    while (waiting.replies.length < waiting.count) {
      const reply = parse(buffer, at)
      if (!reply) break
      waiting.replies.push(reply.value)
      at = reply.next
    }
    this.#chunks = at < buffer.length ? [buffer.subarray(at)] : []
    if (waiting.replies.length === waiting.count) waiting.resolve(waiting.replies)
  }

  /** Writes packed commands that cause `count` replies; resolves to these. */
  send(buffer, count) {
    if (this.#waiting) throw new Error('one request at a time')
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#socket.destroy(new Error('the server gave no answer for a minute')), 60_000)
      const settle = (then) => (value) => {
        clearTimeout(timer)
        this.#waiting = null
        then(value)
      }
      this.#waiting = { count, replies: [], resolve: settle(resolve), reject: settle(reject) }
      this.#socket.write(buffer)
    }).then((replies) => {
      for (const reply of replies) if (reply instanceof Error) throw reply
      return replies
    })
  }

  async command(...args) {
    return (await this.send(pack(args), 1))[0]
  }

  close() {
    this.#socket.destroy()
  }
}

/** Packs MSETs of 1,000 that write `pairs` (an array of [key, value]); send with `replies` replies. */
export function packFill(pairs) {
  const buffers = []
  for (let i = 0; i < pairs.length; i += 1000) buffers.push(pack(['MSET', ...pairs.slice(i, i + 1000).flat()]))
  return { buffer: Buffer.concat(buffers), replies: buffers.length }
}
