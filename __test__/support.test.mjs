// The rig that the other tests stand on.
import net from 'node:net'
import test from 'ava'
import { connect } from './support/resp.js'
import { handshake, startPeer } from './support/peer.js'
import { startProxy } from './support/proxy.js'
import { currentEngine, startServer } from './support/server.js'

test('a server of this run’s engine starts empty, answers, and is gone after stop', async (t) => {
  const server = await startServer()
  t.is(await server.cli('SET', 'schlüssel', 'größe\r\n☃'), 'OK')
  t.is(await server.cli('GET', 'schlüssel'), 'größe\r\n☃')
  t.deepEqual(await server.cliBuffer('GET', 'schlüssel'), Buffer.from('größe\r\n☃'))
  t.is(await server.cli('DBSIZE'), 1)
  t.is(await server.info('server', 'server_name'), currentEngine === 'valkey' ? 'valkey' : undefined)
  const { pid } = server
  await server.stop()
  await server.stop()
  t.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
  await t.throwsAsync(connect(server), { code: 'ECONNREFUSED' })
})

test('servers run side by side, restart on the same port and forget what they held', async (t) => {
  const [a, b] = await Promise.all([startServer(t), startServer(t)])
  t.not(a.port, b.port)
  await a.cli('SET', 'k', 'of a')
  t.is(await b.cli('GET', 'k'), null)
  const { port } = a
  await a.restart(async () => {
    await t.throwsAsync(connect(a), { code: 'ECONNREFUSED' })
  })
  t.is(a.port, port)
  t.is(await a.cli('GET', 'k'), null)
})

test('a killed server is gone at once, its port refuses, and it can be started again', async (t) => {
  const server = await startServer(t)
  const client = await server.connect()
  const waiting = client.command('BLPOP', 'nothing', '0')
  const refused = t.throwsAsync(waiting)
  const { pid } = server
  await server.kill('SIGKILL')
  t.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
  await refused
  await t.throwsAsync(server.cli('PING'), { code: 'ECONNREFUSED' })
  await server.restart()
  t.not(server.pid, pid)
  t.is(await server.cli('PING'), 'PONG')
})

test('a server that cannot start says why', async (t) => {
  await t.throwsAsync(startServer(t, { args: ['--no-such-option', 'x'] }), { message: /did not start .*no-such-option/s })
})

test('a password, a unix socket, and errors with the server’s code', async (t) => {
  const server = await startServer(t, { password: 'pä ss' })
  t.is(await server.cli('PING'), 'PONG')
  const stranger = await connect(server)
  await t.throwsAsync(stranger.command('GET', 'k'), { code: 'NOAUTH' })
  stranger.close()
  const local = await connect({ path: server.socketPath })
  t.is(await local.command('AUTH', 'pä ss'), 'OK')
  t.deepEqual((await server.clients()).length, 1)
  local.close()
})

test('a paused server takes connections and answers nothing until it goes on; it can be stopped while paused', async (t) => {
  const server = await startServer(t)
  await server.cli('SET', 'k', 'v')
  server.pause()
  let answered = false
  const answer = server.cli('GET', 'k').then((value) => {
    answered = true
    return value
  })
  const second = await connect(server)
  second.close()
  t.false(answered)
  server.resume()
  t.is(await answer, 'v')
  server.pause()
  await server.stop()
  t.false(server.isRunning)
})

test('the peer plays a script and sees commands by connection', async (t) => {
  const peer = await startPeer(t, (command, reply, socket, connection) => {
    if (handshake(command, reply)) return
    if (command[0] === 'GET') return reply(connection === 0 ? ['a', null, 7, { simple: 'OK' }] : new Error('LOADING not yet'))
    reply.raw('$5\r\nhel')
    socket.end()
  })
  const first = await connect(peer)
  const second = await connect(peer)
  await t.throwsAsync(first.command('HELLO', '3'), { code: 'ERR' })
  t.deepEqual(await first.command('GET', 'k'), ['a', null, 7, 'OK'])
  await t.throwsAsync(second.command('GET', 'k'), { code: 'LOADING' })
  await t.throwsAsync(second.command('MGET', 'k'), { message: /closed/ })
  await peer.until((p) => p.open === 1)
  t.is(peer.count('get'), 2)
  t.is(peer.connections, 2)
  first.close()
})

test('the proxy counts, fragments, delays, swallows, holds, injects and cuts', async (t) => {
  const server = await startServer(t)
  const proxy = await startProxy(t, server)
  const client = await connect(proxy)
  proxy.fragment = 1
  t.is(await client.command('SET', 'k', 'value'), 'OK')
  t.is(await client.command('GET', 'k'), 'value')

  // Pieces really arrive in pieces.
  const pieces = await new Promise((resolve) => {
    const sizes = []
    const socket = net.connect(proxy.port, '127.0.0.1', () => socket.write('*2\r\n$3\r\nGET\r\n$1\r\nk\r\n'))
    socket.on('data', (chunk) => {
      sizes.push(chunk.length)
      if (sizes.reduce((a, b) => a + b) === '$5\r\nvalue\r\n'.length) {
        socket.destroy()
        resolve(sizes)
      }
    })
  })
  t.true(pieces.length > 1, `came in ${pieces.length}`)
  proxy.fragment = 0

  proxy.onReply = (reply) => (reply.value === 1 ? null : reply.raw)
  const lost = client.command('INCR', 'n')
  const next = client.command('GET', 'n')
  t.is(await lost, '1', 'the reply of INCR was swallowed, so GET’s came in its place')
  proxy.onReply = null
  proxy.inject('+extra\r\n')
  t.is(await next, 'extra')

  proxy.hold()
  const held = client.command('GET', 'k')
  await proxy.until((p) => p.count('GET') === 4)
  proxy.release()
  t.is(await held, 'value')

  const after = client.command('BLPOP', 'nothing', '0')
  await proxy.until((p) => p.count('BLPOP') === 1)
  proxy.cut()
  await t.throwsAsync(after)
  await proxy.until((p) => p.open === 0)
  t.is(proxy.connections, 2)
})
