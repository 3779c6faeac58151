// A function that gives the password, as for tokens that expire.
import test from 'ava'
import rb from '../../index.js'
import { startPeer } from '../support/peer.js'
import { startServer } from '../support/server.js'
import { openClient, runProgram, timed, unique, until } from '../support/work.js'

let server
test.before(async () => {
  server = await startServer({ password: 'first-token' })
})
test.after.always(() => server?.stop())

const at = (more) => ({ host: server.host, port: server.port, ...more })
const named = async (name) => (await server.clients()).filter((each) => each.name === name)

test('it is asked for every connection', async (t) => {
  const own = await startServer(t, { password: 'token-1' })
  let asked = 0
  const password = async () => {
    await new Promise((resolve) => setTimeout(resolve, 5))
    return `token-${++asked}`
  }
  const client = openClient(t, { host: own.host, port: own.port, password })
  t.is(asked, 0, 'not before there is something to do')
  await client.pipelineSet([{ key: 'a', data: '1' }])
  await client.bulkLookup('', ['a'])
  t.is(asked, 1)
  await own.cli('CONFIG', 'SET', 'requirepass', 'token-2')
  const [connected] = await own.clients()
  await own.cli('CLIENT', 'KILL', 'ID', connected.id)
  await until(() => asked === 2)
  t.deepEqual((await client.bulkLookup('', ['a'])).results, ['1'])
  t.is(asked, 2)
})

test('it goes before the password of a URL and of the environment, with a fixed user name', async (t) => {
  await server.cli('ACL', 'SETUSER', 'app', 'on', '>of-app', '~*', '+@all')
  const client = openClient(t, { url: `redis://app:wrong@${server.host}:${server.port}`, password: () => 'of-app' })
  t.is(await client.sendCommand(['ACL', 'WHOAMI']), 'app')
  const run = await runProgram(
    `main(async () => { rb.configure({ password: () => 'first-token' }); print(await rb.createClient({ password: async () => 'first-token' }).sendCommand(['PING'])); await rb.pipelineSet([{ key: 'x', data: '1' }]) })`,
    { env: { REDIS_HOST: server.host, REDIS_PORT: String(server.port), REDIS_PASSWORD: 'wrong' } },
  )
  t.is(run.code, 0, run.stderr)
  t.is(run.json, 'PONG')
})

test('what it throws is an AUTH error with that as its cause; a later call asks again', async (t) => {
  const answers = [
    () => Promise.reject(new RangeError('the token service is away')),
    () => {
      throw new Error('at once')
    },
    () => 7,
    () => undefined,
    () => Promise.reject('no error at all'),
    () => 'wrong-token',
    () => 'first-token',
  ]
  const client = openClient(t, at({ password: () => answers.shift()() }))
  for (const cause of [/RangeError: the token service is away/, /Error: at once/, /gave number/, /gave undefined/, /no error was thrown/, /WRONGPASS/]) {
    const { error } = await timed(client.bulkLookup('', ['a']))
    t.is(error?.code, 'AUTH')
    t.is(error.name, 'ConnectionError')
    t.regex(String(error.cause), cause)
    t.notRegex(`${error.stack}`, /wrong-token/)
  }
  t.is((await client.bulkLookup('', ['a'])).cacheMisses, 1)
})

test('one that never answers is bounded by connectTimeoutMs', async (t) => {
  const client = openClient(t, at({ password: () => new Promise(() => {}), connectTimeoutMs: 300 }))
  const { error, ms } = await timed(client.bulkLookup('', ['a']))
  t.is(error?.code, 'CONNECT_TIMEOUT')
  t.true(ms > 250, `${ms} ms`)
})

test('the same function shares a connection, another one does not', async (t) => {
  const clientName = unique('password')
  const password = () => 'first-token'
  const [a, b] = [openClient(t, at({ password, clientName })), openClient(t, at({ password, clientName }))]
  await Promise.all([a.connect(), b.connect()])
  t.is((await named(clientName)).length, 1)
  const c = openClient(t, at({ password: () => 'first-token', clientName }))
  await c.connect()
  t.is((await named(clientName)).length, 2)
})

test('no other option may be a function', (t) => {
  t.throws(() => rb.createClient({ username: () => 'x' }), { code: 'INVALID_CONFIG', message: /username must not be a function/ })
})

test('a worker that ends while its function is being asked, and one that ends after it', async (t) => {
  const run = await runProgram(
    `const { Worker, isMainThread } = require('node:worker_threads')
    const source = (body) => \`const rb = require(\${JSON.stringify(require.resolve(${JSON.stringify(new URL('../../index.js', import.meta.url).pathname)}))});
      const { parentPort } = require('node:worker_threads');
      const client = rb.createClient({ host: '${server.host}', port: ${server.port}, password: () => { parentPort.postMessage('asked'); return \${body} } });
      client.connect().then(() => parentPort.postMessage('connected'), () => {})\`
    main(async () => {
      for (let round = 0; round < 10; round++) {
        for (const [body, last] of [['new Promise(() => {})', 'asked'], ["'first-token'", 'connected']]) {
          const worker = new Worker(source(body), { eval: true })
          await new Promise((resolve) => worker.on('message', (message) => message === last && resolve()))
          await worker.terminate()
        }
      }
      print(await rb.createClient({ host: '${server.host}', port: ${server.port}, password: () => 'first-token' }).sendCommand(['PING']))
    })`,
  )
  t.is(run.code, 0, run.stderr)
  t.is(run.json, 'PONG')
})

test('FAULTS 25: a peer that repeats the arguments of AUTH: neither the password nor the user stands in an error or an event', async (t) => {
  const password = `hunter2-${'x'.repeat(140)}`
  const answers = {
    // As servers do with a command that they do not know: at most 128 bytes of each argument.
    unknown: (args) => `ERR unknown command 'AUTH', with args beginning with: ${args.map((each) => `'${each.slice(0, 128)}'`).join(' ')}`,
    refused: (args) => `WRONGPASS no ${args.join(' ')}`,
    other: (args) => `ERR ${args.join(' ')}`,
  }
  for (const [name, answer] of Object.entries(answers)) {
    for (const hangsUp of [false, true]) {
      const peer = await startPeer(t, (command, reply, socket) => {
        if (command[0] === 'AUTH') reply(new Error(answer(command.slice(1))))
        else if (hangsUp) socket.destroy()
        else reply(new Error(`ERR not before ${password}`))
      })
      const client = openClient(t, { host: peer.host, port: peer.port, username: 'its-user', password, db: 1, retry: { attempts: 1 } })
      const told = []
      client.on('state', (change) => told.push(JSON.stringify(change)))
      const { error } = await timed(client.bulkLookup('', ['a']))
      t.truthy(error, name)
      if (!hangsUp) t.is(error.code, 'AUTH', name)
      const shown = [error.code, error.message, error.stack, String(error.cause), JSON.stringify(error), ...told, JSON.stringify(await client.health())].join('\n')
      t.notRegex(shown, /hunter2|x{20}|its-user/, name)
      t.true(told.length > 0)
    }
  }
})
