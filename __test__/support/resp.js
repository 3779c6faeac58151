'use strict'

// A small RESP2 client for assertions that must not depend on the package under test, and the parser that the scripted
// peer and the proxy share. Bulk strings are Buffers inside; the client shows them as strings unless asked.

const net = require('node:net')

/** An error reply of the server. */
class RespError extends Error {
  constructor(text) {
    super(text)
    this.code = text.split(' ', 1)[0]
  }
}

/** Incremental: `push(chunk)` returns the values that are complete, each with the bytes it came from. */
class RespParser {
  #buffer = Buffer.alloc(0)

  /** @returns {{ value: unknown, raw: Buffer }[]} */
  push(chunk) {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk])
    const values = []
    let start = 0
    for (;;) {
      const parsed = parse(this.#buffer, start)
      if (parsed === undefined) break
      values.push({ value: parsed.value, raw: this.#buffer.subarray(start, parsed.end) })
      start = parsed.end
    }
    this.#buffer = this.#buffer.subarray(start)
    return values
  }

  /** Bytes of a value that is not complete yet. */
  get pending() {
    return this.#buffer.length
  }
}

/** One value from `start`, or undefined where it is not complete. */
function parse(buffer, start) {
  const lineEnd = buffer.indexOf('\r\n', start)
  if (lineEnd < 0) return undefined
  const line = buffer.toString('utf8', start + 1, lineEnd)
  let end = lineEnd + 2
  switch (String.fromCharCode(buffer[start])) {
    case '+':
      return { value: line, end }
    case '-':
      return { value: new RespError(line), end }
    case ':':
      return { value: Number(line), end }
    case '$': {
      const length = Number(line)
      if (length < 0) return { value: null, end }
      if (buffer.length < end + length + 2) return undefined
      return { value: buffer.subarray(end, end + length), end: end + length + 2 }
    }
    case '*': {
      const length = Number(line)
      if (length < 0) return { value: null, end }
      const value = []
      for (let i = 0; i < length; i++) {
        const item = parse(buffer, end)
        if (item === undefined) return undefined
        value.push(item.value)
        end = item.end
      }
      return { value, end }
    }
    default: {
      // An inline command, as a person types it into telnet; servers take these too.
      const text = buffer.toString('utf8', start, lineEnd).trim()
      return { value: text === '' ? [] : text.split(/\s+/).map((word) => Buffer.from(word)), end }
    }
  }
}

/** A command as the array of bulk strings that servers expect. */
function encodeCommand(args) {
  const parts = [Buffer.from(`*${args.length}\r\n`)]
  for (const arg of args) {
    const bytes = Buffer.isBuffer(arg) ? arg : Buffer.from(String(arg))
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n'))
  }
  return Buffer.concat(parts)
}

/** A JavaScript value as a reply: string → bulk, number → integer, null, Error → error, array, `{ simple }`. */
function encodeReply(value) {
  if (value === null || value === undefined) return Buffer.from('$-1\r\n')
  if (typeof value === 'number') return Buffer.from(`:${value}\r\n`)
  if (value instanceof Error) return Buffer.from(`-${value.message}\r\n`)
  if (Array.isArray(value)) return Buffer.concat([Buffer.from(`*${value.length}\r\n`), ...value.map(encodeReply)])
  if (Buffer.isBuffer(value) || typeof value === 'string') {
    const bytes = Buffer.from(value)
    return Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')])
  }
  if (typeof value.simple === 'string') return Buffer.from(`+${value.simple}\r\n`)
  throw new TypeError(`no reply has the form of ${typeof value}`)
}

/** Buffers in a reply as strings. */
function readable(value) {
  if (Buffer.isBuffer(value)) return value.toString()
  return Array.isArray(value) ? value.map(readable) : value
}

class RespClient {
  #socket
  #waiting = []
  #parser = new RespParser()
  #failure

  constructor(socket) {
    this.#socket = socket
    socket.on('data', (chunk) => {
      for (const { value } of this.#parser.push(chunk)) {
        const next = this.#waiting.shift()
        if (value instanceof RespError) next?.reject(value)
        else next?.resolve(value)
      }
    })
    const fail = (error) => {
      this.#failure ??= error
      for (const next of this.#waiting.splice(0)) next.reject(this.#failure)
    }
    socket.on('error', fail)
    socket.on('close', () => fail(new Error('the connection is closed')))
  }

  /** The reply with Buffers; error replies reject with a RespError. */
  commandBuffer(...args) {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure)
      this.#waiting.push({ resolve, reject })
      this.#socket.write(encodeCommand(args))
    })
  }

  /** The same with strings. */
  async command(...args) {
    return readable(await this.commandBuffer(...args))
  }

  close() {
    this.#socket.destroy()
  }
}

/** @returns {Promise<RespClient>} */
function connect({ port, host = '127.0.0.1', path }) {
  return new Promise((resolve, reject) => {
    const socket = path ? net.connect(path) : net.connect(port, host)
    socket.setNoDelay(true)
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(new RespClient(socket))
    })
  })
}

module.exports = { RespError, RespParser, RespClient, connect, encodeCommand, encodeReply, readable }
