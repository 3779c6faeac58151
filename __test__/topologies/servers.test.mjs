// Addresses of every form, and what managed servers are in the habit of refusing.
import net from 'node:net'
import os from 'node:os'
import test from 'ava'
import { startProxy } from '../support/proxy.js'
import { startServer } from '../support/server.js'
import { openClient, timed } from '../support/work.js'

const hasIPv6 = Object.values(os.networkInterfaces()).some((list) => list.some((address) => address.address === '::1'))

/** Listens on another address of this machine and passes everything on. */
async function forward(t, server, host) {
  const sockets = new Set()
  const listener = net.createServer((client) => {
    const upstream = net.connect(server.port, server.host)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        client.destroy()
        upstream.destroy()
      })
    }
    client.pipe(upstream).pipe(client)
  })
  await new Promise((resolve, reject) => listener.once('error', reject).listen(0, host, resolve))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    listener.close()
  })
  return listener.address().port
}

const works = async (t, options) => t.like(await openClient(t, options).pipelineSet([{ key: 'k', data: '1' }]), { success: true })

test('a name of which only one address has a server', async (t) => {
  const server = await startServer(t)
  // Where there is IPv6, localhost is ::1 as well.
  await works(t, { host: 'localhost', port: server.port })
  await works(t, { url: `redis://LOCALHOST:${server.port}` })
})

const ipv6 = hasIPv6 ? test : test.skip
ipv6('IPv6, with and without brackets', async (t) => {
  const server = await startServer(t)
  const port = await forward(t, server, '::1')
  await works(t, { host: '::1', port })
  await works(t, { host: '[::1]', port, clientName: 'brackets' })
  await works(t, { url: `redis://[::1]:${port}` })
  const health = await openClient(t, { host: '::1', port }).health()
  t.is(health.nodes[0].address, `[::1]:${port}`)
})

test('a Unix socket: database, reconnection, and one that is not there', async (t) => {
  const server = await startServer(t)
  const client = openClient(t, { url: `redis+unix://${server.socketPath}?db=4` })
  await client.pipelineSet([{ key: 'k', data: '1' }])
  const own = await server.connect()
  await own.command('SELECT', '4')
  t.is(await own.command('GET', 'k'), '1')
  own.close()
  await server.restart()
  t.is((await client.bulkLookup('', ['k'])).cacheMisses, 1)
  const { error } = await timed(openClient(t, { url: `redis+unix://${server.folder}/none.sock`, retry: { attempts: 1 } }).bulkLookup('', ['k']))
  t.is(error?.code, 'CONNECTION_REFUSED')
})

test('CLIENT, CONFIG, INFO, SCRIPT, UNLINK and HELLO refused', async (t) => {
  const refused = ['CLIENT', 'CONFIG', 'INFO', 'SCRIPT', 'UNLINK', 'HELLO'].flatMap((name) => ['--rename-command', name, ''])
  const server = await startServer(t, { args: refused, password: 'pw' })
  const proxy = await startProxy(t, server)
  const client = openClient(t, { host: proxy.host, port: proxy.port, password: 'pw', clientName: 'named' })
  t.like(await client.pipelineSet([{ key: 'a', data: '1' }, { key: 'b', data: '2', ttl: 10 }]), { success: true })
  t.deepEqual((await client.bulkLookup('', ['a', 'b', 'c'])).results, ['1', '2', null])
  t.deepEqual((await client.bulkLookup('', ['a', 'b', 'c'], { strategy: 'script' })).results, ['1', '2', null])
  t.like(await client.health(), { status: 'up', server: null })
  t.is(await client.batchDelete(['a', 'b', 'c']), 2)
  t.is(proxy.count('HELLO'), 0, 'RESP2 needs none')
  t.is(proxy.connections, 1)
})

test('the same for a user who may not', async (t) => {
  const server = await startServer(t)
  await server.cli('ACL', 'SETUSER', 'limited', 'on', '>pw', '~*', '+@all', '-client', '-config', '-info', '-script', '-unlink', '-hello')
  const client = openClient(t, { host: server.host, port: server.port, username: 'limited', password: 'pw', clientName: 'named' })
  t.like(await client.pipelineSet([{ key: 'a', data: '1' }]), { success: true })
  t.deepEqual((await client.bulkLookup('', ['a', 'c'], { strategy: 'script' })).results, ['1', null])
  t.like(await client.health(), { status: 'up', server: null })
})

test('a database that the server does not have is refused by name', async (t) => {
  const server = await startServer(t, { args: ['--databases', '2'] })
  const { error } = await timed(openClient(t, { host: server.host, port: server.port, db: 5 }).bulkLookup('', ['a']))
  t.is(error?.code, 'ERR')
  t.regex(error.message, /DB index/)
})
