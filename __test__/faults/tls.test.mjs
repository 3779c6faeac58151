// Who may be on the other end, and what a user learns when it is somebody else.
import net from 'node:net'
import test from 'ava'
import { createAuthority, dayMs, selfSigned } from '../support/certificates.js'
import { startServer } from '../support/server.js'
import { commonAuthority, startTlsServer } from '../support/tls.js'
import { openClient, timed, until } from '../support/work.js'

/** Long enough for any of these; what fails must not fail by it. */
const connectTimeoutMs = 20_000

/** What a client with these options comes to when it looks something up. */
const outcome = (t, options) => timed(openClient(t, { connectTimeoutMs, ...options }).bulkLookup('', ['a']))

function refused(t, { error }, reason) {
  t.is(error?.code, 'TLS')
  t.is(error.name, 'ConnectionError')
  t.regex(error.message, reason)
  t.false(error.retryable)
  t.false(error.applied)
}

test('FAULTS 27: unknown CA, wrong host name', async (t) => {
  const server = await startTlsServer(t)
  const { host, port } = server.options
  refused(t, await outcome(t, { host, port, tls: true }), /unknown CA/)
  const stranger = await createAuthority('CN=a stranger')
  refused(t, await outcome(t, { host, port, tls: { ca: stranger.cert } }), /unknown CA/)
  refused(t, await outcome(t, { host, port, tls: { ca: server.ca.cert, servername: 'redis.example' } }), /another host name.*redis\.example/)
  // The same server, by names that the certificate has.
  for (const named of [{ host: '127.0.0.1' }, { host }, { host: '127.0.0.1', tls: { ca: server.ca.cert, servername: 'localhost' } }]) {
    const { value, error } = await outcome(t, { ...server.options, ...named })
    t.is(error, undefined)
    t.is(value.cacheMisses, 1)
  }
})

test('FAULTS 27: a certificate that is out of its time', async (t) => {
  const ca = await commonAuthority()
  const names = ['localhost', '127.0.0.1']
  const expired = await ca.issue({ names, notBefore: new Date(Date.now() - 3 * dayMs), notAfter: new Date(Date.now() - dayMs) })
  const early = await ca.issue({ names, notBefore: new Date(Date.now() + dayMs), notAfter: new Date(Date.now() + 3 * dayMs) })
  refused(t, await outcome(t, (await startTlsServer(t, { identity: expired })).options), /has expired/)
  refused(t, await outcome(t, (await startTlsServer(t, { identity: early })).options), /not valid yet/)
})

test('FAULTS 27: a plain-text port is told from one that is silent, and hears no command', async (t) => {
  const server = await startServer(t)
  refused(t, await outcome(t, { host: server.host, port: server.port, tls: { rejectUnauthorized: false } }), /does not speak TLS/)

  const heard = []
  const listener = net.createServer((socket) => {
    let bytes = Buffer.alloc(0)
    heard.push(() => bytes)
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      bytes = Buffer.concat([bytes, chunk])
      // As a plain-text server does for a line; the ClientHello has none for it.
      if (chunk.toString('latin1').startsWith('PING')) socket.write('-NOAUTH Authentication required.\r\n')
    })
  })
  t.teardown(() => listener.close())
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const options = { host: '127.0.0.1', port: listener.address().port, password: 'hunter2', clientName: 'quiet' }
  refused(t, await outcome(t, { ...options, tls: { rejectUnauthorized: false } }), /does not speak TLS/)
  const texts = heard.map((bytes) => bytes().toString('latin1'))
  t.is(texts.length, 2, 'the handshake, and the question in plain text')
  t.is(texts[0].charCodeAt(0), 0x16, 'a handshake record')
  t.is(texts[1], 'PING\r\n')
  for (const text of texts) t.notRegex(text, /hunter2|AUTH|CLIENT|quiet|MGET/)
})

test('FAULTS 27: a server of another protocol', async (t) => {
  const listener = net.createServer((socket) => socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  t.teardown(() => listener.close())
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve))
  refused(t, await outcome(t, { host: '127.0.0.1', port: listener.address().port, tls: true }), /does not speak TLS/)
})

test('a peer that is silent over TLS, too, is a CONNECT_TIMEOUT; one that hangs up a CONNECTION_LOST', async (t) => {
  const sockets = new Set()
  const silent = net.createServer((socket) => sockets.add(socket.on('error', () => {})))
  const leaving = net.createServer((socket) => socket.on('error', () => {}).once('data', () => socket.destroy()))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    for (const listener of [silent, leaving]) listener.close()
  })
  for (const listener of [silent, leaving]) await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const late = await outcome(t, { host: '127.0.0.1', port: silent.address().port, tls: true, connectTimeoutMs: 600 })
  t.is(late.error?.code, 'CONNECT_TIMEOUT')
  const gone = await outcome(t, { host: '127.0.0.1', port: leaving.address().port, tls: true, retry: { attempts: 2, baseDelayMs: 1 } })
  t.is(gone.error?.code, 'CONNECTION_LOST')
})

test('rejectUnauthorized: false takes any certificate, and only when it is written out', async (t) => {
  const server = await startTlsServer(t, { identity: await (await createAuthority('CN=nobody knows')).issue({ names: ['elsewhere.example'] }) })
  const { host, port } = server
  await server.cli('SET', 'a', 'here')
  const open = await outcome(t, { host, port, tls: { rejectUnauthorized: false } })
  t.deepEqual(open.value?.results, ['here'])
  const byUrl = await outcome(t, { url: `rediss://${host}:${port}#insecure` })
  t.deepEqual(byUrl.value?.results, ['here'])
  refused(t, await outcome(t, { url: `rediss://${host}:${port}` }), /unknown CA/)
  refused(t, await outcome(t, { host, port, tls: { rejectUnauthorized: true } }), /unknown CA/)
})

test('a certificate that signs itself is trusted where tls.ca names it, under its names and in its time', async (t) => {
  const names = ['127.0.0.1']
  const own = await selfSigned({ names })
  const server = await startTlsServer(t, { identity: own })
  const { host, port } = server
  const trusted = await outcome(t, { host, port, tls: { ca: own.cert } })
  t.is(trusted.error, undefined)
  refused(t, await outcome(t, { host, port, tls: { ca: own.cert, servername: 'redis.example' } }), /another host name/)
  const other = await selfSigned({ names })
  refused(t, await outcome(t, { host, port, tls: { ca: other.cert } }), /unknown CA|cannot be trusted/)
  const expired = await selfSigned({ names, notBefore: new Date(Date.now() - 3 * dayMs), notAfter: new Date(Date.now() - dayMs) })
  const late = await startTlsServer(t, { identity: expired })
  refused(t, await outcome(t, { host, port: late.port, tls: { ca: expired.cert } }), /has expired/)
})

test('client certificates', async (t) => {
  const server = await startTlsServer(t, { clientCertificates: true })
  const { ca, options } = server
  refused(t, await outcome(t, options), /asks for a client certificate/)
  const mine = await ca.issue({ subject: 'CN=client' })
  const shown = await outcome(t, { ...options, tls: { ca: ca.cert, ...mine } })
  t.is(shown.error, undefined)
  const buffers = { ca: Buffer.from(ca.cert), cert: Buffer.from(mine.cert), key: Buffer.from(mine.key) }
  t.is((await outcome(t, { ...options, clientName: 'buffers', tls: buffers })).error, undefined)
  const foreign = await (await createAuthority('CN=a stranger')).issue({ subject: 'CN=client' })
  const strange = await outcome(t, { ...options, tls: { ca: ca.cert, ...foreign } })
  if (server.isProxied) t.is(strange.error?.code, 'CONNECTION_LOST')
  else refused(t, strange, /does not accept the client certificate/)
})

for (const version of ['TLSv1.2', 'TLSv1.3']) {
  test(`a server that speaks only ${version}`, async (t) => {
    const server = await startTlsServer(t, { version })
    await server.cli('SET', 'a', version)
    t.deepEqual((await outcome(t, server.options)).value?.results, [version])
  })
}

test('certificates and keys that cannot be used are a ConfigError at createClient, without their text', async (t) => {
  const ca = await commonAuthority()
  const mine = await ca.issue({})
  const other = await ca.issue({})
  const cut = mine.key.replace(/\n(?=-----END)/, 'nonsense!\n')
  for (const [tls, name] of [
    [{ ca: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n' }, /tls\.ca/],
    [{ ca: mine.key }, /tls\.ca/],
    [{ cert: mine.key, key: mine.key }, /tls\.cert/],
    [{ cert: mine.cert, key: cut }, /tls\.key/],
    [{ cert: mine.cert, key: other.key }, /tls\.cert and tls\.key/],
  ]) {
    const error = t.throws(() => openClient(t, { tls }), { code: 'INVALID_CONFIG', message: name })
    t.is(error.name, 'ConfigError')
    t.false(error.message.includes(mine.key.split('\n')[1].slice(0, 20)))
  }
})

test('a lost TLS connection is made again, encrypted', async (t) => {
  const server = await startTlsServer(t, { password: 'hunter2' })
  const client = openClient(t, { ...server.options, db: 3, clientName: 'again' })
  await client.pipelineSet([{ key: 'k', data: 'v' }])
  const own = async () => (await server.plain.clients()).filter((each) => each.name === 'again')
  const [first] = await own()
  t.is(first.db, '3')
  await server.cli('CLIENT', 'KILL', 'ID', first.id)
  await until(async () => (await own()).some((each) => each.id !== first.id))
  t.deepEqual((await client.bulkLookup('', ['k'])).results, ['v'])
  await until(async () => (await own()).length === 1)
})
