'use strict'

// Upstash's REST interface in front of a real server, over real HTTP: a command as a JSON array to `/`, several to
// `/pipeline`, strings of the answers in base64 where the request asks for it.
//
//   const bridge = await startUpstash(t, server)
//   rb.createClient({ upstash: { url: bridge.url, token: bridge.token } })
//   bridge.onRequest = (request, response) => { response.writeHead(503).end(); return true }     // answered by the test

const http = require('node:http')
const https = require('node:https')

/**
 * @param {{ connect(): Promise<import('./resp.js').RespClient> }} server
 * @param {{ tls?: import('node:https').ServerOptions }} [options]
 */
async function startUpstash(t, server, options) {
  const test = typeof t?.teardown === 'function' ? t : undefined
  const { tls } = (test ? options : server) ?? {}
  const target = test ? server : t
  const token = 'AZ0-secret_token'
  const sockets = new Set()
  let client
  const connected = () =>
    (client ??= target.connect().catch((error) => {
      client = undefined
      throw error
    }))

  const run = async (command, encode) => {
    if (!Array.isArray(command) || command.length === 0) return { error: 'ERR failed to parse command' }
    try {
      return { result: encode(await (await connected()).commandBuffer(...command.map(String))) }
    } catch (error) {
      if (error.code === undefined) {
        client = undefined
        throw error
      }
      return { error: error.message }
    }
  }
  const encoder = (base64) => {
    const encode = (value) => {
      if (Array.isArray(value)) return value.map(encode)
      if (Buffer.isBuffer(value)) return base64 ? value.toString('base64') : value.toString()
      if (value instanceof Error) return value.message
      // A status reply; of these only OK is left as it is.
      return base64 && typeof value === 'string' && value !== 'OK' ? Buffer.from(value).toString('base64') : value
    }
    return encode
  }

  const answer = async (request, response) => {
    const parts = []
    for await (const part of request) parts.push(part)
    const text = Buffer.concat(parts).toString()
    bridge.requests.push({ path: request.url, headers: request.headers, text })
    const send = (status, body, headers = {}) => response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
    if (await bridge.onRequest?.(request, response, text)) return
    if (request.headers.authorization !== `Bearer ${token}`) return send(401, { error: 'WRONGPASS invalid or missing auth token' })
    let body
    try {
      body = JSON.parse(text)
    } catch {
      return send(400, { error: 'ERR failed to parse pipeline request' })
    }
    const encode = encoder(request.headers['upstash-encoding'] === 'base64')
    try {
      if (request.url === '/pipeline') {
        const results = []
        for (const command of body) results.push(await run(command, encode))
        send(200, results, { 'upstash-sync-token': `token-${bridge.requests.length}` })
      } else {
        const result = await run(body, encode)
        send('error' in result ? 400 : 200, result)
      }
    } catch (error) {
      send(502, { error: error.message })
    }
  }
  const listener = tls ? https.createServer(tls, answer) : http.createServer(answer)
  listener.keepAliveTimeout = 60_000
  listener.on('connection', (socket) => {
    bridge.connections++
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  const bridge = {
    token,
    url: '',
    connections: 0,
    /** Everything that came. @type {{ path: string, headers: import('node:http').IncomingHttpHeaders, text: string }[]} */
    requests: [],
    /** `(request, response, text) => whether it has answered`. @type {((request: any, response: any, text: string) => unknown) | null} */
    onRequest: null,
    /** Closes every connection. */
    cut() {
      for (const socket of sockets) socket.destroy()
    },
    async stop() {
      bridge.cut()
      await new Promise((resolve) => listener.close(() => resolve()))
      await client?.then((each) => each.close()).catch(() => {})
    },
  }
  await new Promise((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(0, '127.0.0.1', resolve)
  })
  bridge.url = `${tls ? 'https' : 'http'}://localhost:${listener.address().port}`
  bridge.options = { upstash: { url: bridge.url, token } }
  test?.teardown(() => bridge.stop())
  return bridge
}

module.exports = { startUpstash }
