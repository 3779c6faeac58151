'use strict'

// A TCP peer that plays a server by a script: for what a real server never says.
//
//   const peer = await startPeer(t, (command, reply, socket, connection) => {
//     if (command[0] === 'GET') reply.raw('$5\r\nhel'), socket.destroy()
//     else reply('OK')
//   })

const net = require('node:net')
const { RespParser, encodeReply, readable } = require('./resp.js')

/**
 * What every handshake may ask, answered as an old, plain server would. Handlers call it for what they do not play.
 * @returns {boolean} whether it answered
 */
function handshake(command, reply) {
  switch (command[0].toUpperCase()) {
    case 'HELLO':
      reply(new Error("ERR unknown command 'HELLO'"))
      return true
    case 'AUTH':
    case 'SELECT':
    case 'CLIENT':
      reply({ simple: 'OK' })
      return true
    case 'PING':
      reply({ simple: 'PONG' })
      return true
    default:
      return false
  }
}

/**
 * @param {Function} handler `(command: string[], reply, socket, connection) => void`; `reply(value)` encodes (see
 *   encodeReply), `reply.raw(bytes)` writes what it is given; `command.buffers` are the arguments as Buffers;
 *   `connection` counts from 0.
 */
async function startPeer(t, handler) {
  const test = typeof t?.teardown === 'function' ? t : undefined
  const handle = test ? handler : t
  const sockets = new Set()
  /** Every command that came, as strings, in order of arrival. */
  const commands = []
  const waiting = new Set()
  let connections = 0
  const changed = () => {
    for (const check of waiting) check()
  }

  const listener = net.createServer((socket) => {
    const connection = connections++
    const parser = new RespParser()
    const reply = (value) => socket.write(encodeReply(value))
    reply.raw = (bytes) => socket.write(bytes)
    sockets.add(socket)
    socket.setNoDelay(true)
    // A client that drops a broken stream resets the connection; that is what such tests are about.
    socket.on('error', () => {})
    socket.on('close', () => {
      sockets.delete(socket)
      changed()
    })
    socket.on('data', (chunk) => {
      for (const { value } of parser.push(chunk)) {
        if (!Array.isArray(value) || value.length === 0) continue
        const command = readable(value)
        command.buffers = value
        commands.push(command)
        changed()
        if (!socket.destroyed) handle(command, reply, socket, connection)
      }
    })
    changed()
  })
  await new Promise((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(0, '127.0.0.1', resolve)
  })

  const peer = {
    host: '127.0.0.1',
    port: listener.address().port,
    get url() {
      return `redis://127.0.0.1:${peer.port}`
    },
    commands,
    get connections() {
      return connections
    },
    get open() {
      return sockets.size
    },
    /** How many commands of that name came. */
    count: (name) => commands.filter((command) => command[0].toUpperCase() === name.toUpperCase()).length,
    /** Resolves once `condition(peer)` holds; looked at with every command and connection that comes or goes. */
    until(condition, limitMs = 60_000) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(check)
          reject(new Error(`the peer did not see ${condition} within ${limitMs} ms; it saw ${JSON.stringify(commands.map((c) => c[0]))}`))
        }, limitMs)
        const check = () => {
          if (!condition(peer)) return
          waiting.delete(check)
          clearTimeout(timer)
          resolve(peer)
        }
        waiting.add(check)
        check()
      })
    },
    /** Closes every connection; the port stays open. */
    drop() {
      for (const socket of sockets) socket.destroy()
    },
    stop() {
      peer.drop()
      return new Promise((resolve) => listener.close(() => resolve()))
    },
  }
  test?.teardown(() => peer.stop())
  return peer
}

module.exports = { startPeer, handshake }
