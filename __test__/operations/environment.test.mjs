// Configuration from the environment: each variable, seen by what it changes.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import test from 'ava'
import { startServer } from '../support/server.js'
import { handshake, startPeer } from '../support/peer.js'
import { runProgram } from '../support/work.js'

let server
let peer
test.before(async () => {
  server = await startServer()
  await server.cli('ACL', 'SETUSER', 'env', 'on', '>geheim', '~*', '+@all')
  peer = await startPeer((command, reply) => void (handshake(command, reply) || command[0] === 'GET' || reply(null)))
})
test.after.always(() => Promise.all([server?.stop(), peer?.stop()]))

/** What a program that only uses the environment sees of itself. */
const see = (env, options = '') =>
  runProgram(
    `main(async () => {
      try {
        const client = rb.createClient(${options})
        const info = String(await client.sendCommand(['CLIENT', 'INFO']).catch((error) => 'error=' + error.code))
        const field = (name) => new RegExp('(?:^| )' + name + '=(\\\\S*)').exec(info)?.[1]
        const health = await client.health()
        print({ mode: health.mode, status: health.status, db: field('db'), user: field('user'), name: field('name'), address: health.nodes[0]?.address, error: field('error') })
      } catch (error) {
        print({ error: error.code, message: error.message, class: error.constructor.name })
      }
      process.exit()
    })`,
    { env },
  ).then(({ json, stderr }) => json ?? stderr)

const port = () => String(server.port)
const good = [
  ['REDIS_URL', () => ({ REDIS_URL: `${server.url}/3` }), { db: '3', user: 'default' }],
  ['KV_URL', () => ({ KV_URL: `redis://env:geheim@127.0.0.1:${server.port}/4` }), { db: '4', user: 'env' }],
  ['REDIS_URL before KV_URL', () => ({ REDIS_URL: `${server.url}/1`, KV_URL: `${server.url}/2` }), { db: '1' }],
  ['REDIS_URL before REDIS_HOST', () => ({ REDIS_URL: server.url, REDIS_HOST: 'nowhere.invalid', REDIS_PORT: '1' }), { status: 'up' }],
  ['an empty REDIS_URL is none', () => ({ REDIS_URL: '', REDIS_HOST: '127.0.0.1', REDIS_PORT: port() }), { status: 'up' }],
  ['REDIS_URL=memory:', () => ({ REDIS_URL: 'memory:' }), { mode: 'memory', status: 'up' }],
  ['REDIS_URL=disabled', () => ({ REDIS_URL: 'disabled' }), { status: 'disabled', error: 'DISABLED' }],
  ['REDIS_HOST and REDIS_PORT', () => ({ REDIS_HOST: '127.0.0.1', REDIS_PORT: port() }), { status: 'up', db: '0', user: 'default' }],
  ['REDIS_PORT alone: localhost', () => ({ REDIS_PORT: port() }), { status: 'up' }],
  ['REDIS_USERNAME, REDIS_PASSWORD, REDIS_DB', () => ({ REDIS_PORT: port(), REDIS_USERNAME: 'env', REDIS_PASSWORD: 'geheim', REDIS_DB: '7' }), { user: 'env', db: '7' }],
  ['the four beside REDIS_URL', () => ({ REDIS_URL: server.url, REDIS_USERNAME: 'env', REDIS_PASSWORD: 'geheim', REDIS_DB: '7' }), { user: 'env', db: '7' }],
  ['REDIS_TLS=false', () => ({ REDIS_PORT: port(), REDIS_TLS: 'false' }), { status: 'up' }],
  ['REDIS_ENABLE_FALLBACK=false', () => ({ REDIS_PORT: port(), REDIS_ENABLE_FALLBACK: 'false' }), { status: 'up' }],
  ['options before the environment', () => ({ REDIS_URL: 'redis://127.0.0.1:1', REDIS_DB: '9' }), { status: 'up', db: '2', name: 'opt' }, () => `{ url: '${server.url}', db: 2, clientName: 'opt' }`],
  ['an option’s URL keeps the login of the environment away', () => ({ REDIS_USERNAME: 'nobody', REDIS_PASSWORD: 'wrong' }), { status: 'up', user: 'default' }, () => `{ url: '${server.url}' }`],
]
for (const [title, env, expected, options] of good) {
  test(`environment: ${title}`, async (t) => {
    t.like(await see(env(), options?.()), expected)
  })
}

const bad = {
  REDIS_URL: ['nonsense', 'ftp://x', 'redis://h:99999', 'redis://:gehe/im@h'],
  KV_URL: ['nonsense'],
  REDIS_PORT: ['abc', '0', '65536', '-1', '63.5', '6379x', ' '],
  REDIS_HOST: ['a b', 'redis://x'],
  REDIS_DB: ['abc', '-1', '1.5'],
  REDIS_TLS: ['maybe', '2'],
  REDIS_CLUSTER: ['maybe'],
  REDIS_CLUSTER_NODES: ['a:b', ','],
  REDIS_CONNECTION_TIMEOUT_MS: ['abc', '0', '-5'],
  REDIS_COMMAND_TIMEOUT_MS: ['abc', '0'],
  REDIS_RETRY_ATTEMPTS: ['abc', '0', '-1'],
  REDIS_ENABLE_FALLBACK: ['maybe'],
  UPSTASH_REDIS_REST_URL: ['nonsense'],
  REDIS_SENTINELS: ['a:26379'],
}
test('environment: a value that cannot be used is a ConfigError that names the variable', async (t) => {
  const cases = Object.entries(bad).flatMap(([name, values]) => values.map((value) => [name, value]))
  const { json, stderr } = await runProgram(
    `const cases = ${JSON.stringify(cases)}
    print(cases.map(([name, value]) => {
      process.env[name] = value
      try { rb.createClient(); return [name, value, 'no error'] } catch (error) { return [name, value, error.constructor.name, error.code, error.message] } finally { delete process.env[name] }
    }))`,
  )
  t.is(stderr, '')
  const wrong = json.filter(([name, , kind, code, message]) => !(kind === 'ConfigError' && code === 'INVALID_CONFIG' && message.includes(name)))
  // White space around nothing may count as nothing.
  t.deepEqual(wrong.filter(([name, value]) => !(name === 'REDIS_PORT' && value === ' ')), [])
  t.deepEqual(json.filter(([, , , , message]) => /gehe|im@/.test(message ?? '')), [], 'no password in a message')
})

test('environment: the default client hears of a wrong variable at its first use, not at import', async (t) => {
  const { json } = await runProgram(`main(async () => print(await rb.bulkLookup('', ['a']).catch(facts)))`, { env: { REDIS_PORT: 'abc' } })
  t.like(json, { class: 'ConfigError', code: 'INVALID_CONFIG' })
  t.regex(json.message, /REDIS_PORT/)
})

test('environment: timeouts, attempts and key prefix', async (t) => {
  const program = `main(async () => {
      const took = async (promise) => { const start = performance.now(); const error = await promise.then(() => ({}), (error) => error); return [error.code, Math.round(performance.now() - start)] }
      print(await took(rb.createClient().sendCommand(['GET', 'a'])))
      process.exit()
    })`
  const silent = await startPeer(t, () => {})
  const [connect, command] = await Promise.all([
    runProgram(program, { env: { REDIS_URL: silent.url, REDIS_CONNECTION_TIMEOUT_MS: '350' } }),
    runProgram(program, { env: { REDIS_URL: peer.url, REDIS_COMMAND_TIMEOUT_MS: '350' } }),
  ])
  t.is(connect.json[0], 'CONNECT_TIMEOUT')
  t.is(command.json[0], 'TIMEOUT')
  for (const { json } of [connect, command]) t.true(json[1] >= 300 && json[1] < 4500, `${json[1]} ms`)

  const closing = await startPeer(t, (command, reply, socket) => void (handshake(command, reply) || socket.destroy()))
  const retried = await runProgram(`main(async () => { print((await rb.createClient().bulkLookup('', ['a']).catch((error) => error)).code); process.exit() })`, { env: { REDIS_URL: closing.url, REDIS_RETRY_ATTEMPTS: '2' } })
  t.is(retried.json, 'CONNECTION_LOST')
  t.is(closing.count('MGET'), 2)

  await runProgram(`main(async () => { await rb.pipelineSet([{ key: 'a', data: '1' }]) })`, { env: { REDIS_URL: server.url, REDIS_KEY_PREFIX: 'from-env:' } })
  t.is(await server.cli('GET', 'from-env:a'), '1')
})

test('environment: envFile is read below the variables of the process', async (t) => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'redis-bulk-env-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = path.join(folder, '.env.production')
  writeFileSync(file, `# comment\nREDIS_URL="${server.url}/6"\nREDIS_KEY_PREFIX='from file:'\nexport REDIS_DB=1\nREDIS_COMMAND_TIMEOUT_MS=\n`)
  const options = JSON.stringify({ envFile: file })
  t.like(await see({}, options), { db: '6', status: 'up' })
  t.like(await see({ REDIS_URL: `${server.url}/2` }, options), { db: '2' })
  const written = await runProgram(`main(async () => { rb.configure(${options}); await rb.pipelineSet([{ key: 'x', data: '1' }]); print(process.env.REDIS_URL ?? null) })`)
  t.is(written.json, null, 'the process’s own environment is left alone')
  await server.cli('SELECT', '6')
  t.is(await server.cli('GET', 'from file:x'), '1')
  await server.cli('SELECT', '0')
  t.like(await see({}, JSON.stringify({ envFile: path.join(folder, 'none') })), { class: 'ConfigError', error: 'INVALID_CONFIG' })
})
