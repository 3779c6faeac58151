'use strict'

// A TCP proxy in front of a real server: counts connections and commands, and does to the stream what networks do.
//
//   const proxy = await startProxy(t, server)
//   proxy.onReply = (reply, connection) => (reply.index === 3 ? null : reply.raw)     // swallow the fourth reply
//   proxy.fragment = 1                                                              // replies byte by byte
//   proxy.cut(); proxy.hold(); proxy.release(); proxy.inject('+OK\r\n')

const net = require('node:net')
const { RespParser, readable } = require('./resp.js')

/** @param {{ port: number, host?: string }} target */
async function startProxy(t, target) {
  const test = typeof t?.teardown === 'function' ? t : undefined
  const server = test ? target : t
  const pairs = new Set()
  const commands = []
  const waiting = new Set()
  let connections = 0
  let replies = 0
  let refusing = false
  /** Of one connection, or of all. @type {number | boolean} */
  let holding = false
  const changed = () => {
    for (const check of waiting) check()
  }

  const listener = net.createServer((client) => {
    if (refusing) return client.destroy()
    const connection = connections++
    const upstream = net.connect(server.port, server.host ?? '127.0.0.1')
    const pair = { client, upstream, held: [], sending: Promise.resolve() }
    pairs.add(pair)
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true)
      socket.on('error', () => {})
    }
    const close = () => {
      client.destroy()
      upstream.destroy()
      pairs.delete(pair)
      changed()
    }
    client.on('close', close)
    upstream.on('close', () => pair.sending.then(close))

    const requests = new RespParser()
    client.on('data', (chunk) => {
      for (const { value, raw } of requests.push(chunk)) {
        const command = readable(value)
        command.raw = raw
        command.connection = connection
        commands.push(command)
        changed()
        const bytes = proxy.onCommand ? proxy.onCommand(command, connection) : raw
        if (bytes) upstream.write(bytes)
      }
    })

    const answers = new RespParser()
    let index = 0
    upstream.on('data', (chunk) => {
      for (const { value, raw } of answers.push(chunk)) {
        const reply = { value: readable(value), raw, index: index++, total: replies++ }
        const bytes = proxy.onReply ? proxy.onReply(reply, connection) : raw
        changed()
        if (!bytes) continue
        if (holding === true || holding === connection) pair.held.push(bytes)
        else deliver(pair, bytes)
      }
    })
    changed()
  })

  /** In order, however it is cut and delayed. */
  function deliver(pair, bytes) {
    const { delayMs, fragment } = proxy
    if (!delayMs && !fragment) {
      // Nothing waits before it: written at once, so that a destroy right afterwards comes after it.
      if (pair.idle !== false) return void pair.client.write(bytes)
    }
    pair.idle = false
    const send = async () => {
      if (delayMs) await new Promise((resolve) => setTimeout(resolve, delayMs))
      const step = fragment || bytes.length
      for (let i = 0; i < bytes.length && !pair.client.destroyed; i += step) {
        // One turn of the event loop and one packet for each piece: with no-delay set, each write is sent by itself.
        await new Promise((resolve) => pair.client.write(bytes.subarray(i, i + step), () => setImmediate(resolve)))
      }
    }
    const mine = (pair.sending = pair.sending.then(send).finally(() => {
      if (pair.sending === mine) pair.idle = true
    }))
  }

  await new Promise((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(0, '127.0.0.1', resolve)
  })

  const proxy = {
    host: '127.0.0.1',
    port: listener.address().port,
    get url() {
      return `redis://127.0.0.1:${proxy.port}`
    },
    /** Every command that came, as strings; `.connection` says on which connection. */
    commands,
    get connections() {
      return connections
    },
    get open() {
      return pairs.size
    },
    count: (name) => commands.filter((command) => command[0]?.toUpperCase() === name.toUpperCase()).length,

    /** Bytes a piece of a reply has; 0: whole replies. */
    fragment: 0,
    /** Replies are this late. */
    delayMs: 0,
    /** `(reply: { value, raw, index, total }, connection) => bytes to pass on, or null to swallow it`. */
    onReply: null,
    /** `(command, connection) => bytes to pass on, or null`. */
    onCommand: null,

    /** Closes every connection at once. */
    cut() {
      for (const { client, upstream } of [...pairs]) {
        client.destroy()
        upstream.destroy()
      }
    },
    /** New connections are closed at once until `accept()`. */
    refuse() {
      refusing = true
    },
    accept() {
      refusing = false
    },
    /** Replies are kept back until `release()`, those of one connection or of all; the server goes on working. */
    hold(connection = true) {
      holding = connection
    },
    release() {
      holding = false
      for (const pair of pairs) for (const bytes of pair.held.splice(0)) deliver(pair, bytes)
    },
    /** Bytes that the server never sent, into every connection. */
    inject(bytes) {
      for (const { client } of pairs) client.write(bytes)
    },
    /** Resolves once `condition(proxy)` holds. */
    until(condition, limitMs = 60_000) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(check)
          reject(new Error(`the proxy did not see ${condition} within ${limitMs} ms`))
        }, limitMs)
        const check = () => {
          if (!condition(proxy)) return
          waiting.delete(check)
          clearTimeout(timer)
          resolve(proxy)
        }
        waiting.add(check)
        check()
      })
    },
    stop() {
      proxy.cut()
      return new Promise((resolve) => listener.close(() => resolve()))
    },
  }
  test?.teardown(() => proxy.stop())
  return proxy
}

module.exports = { startProxy }
