import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import test from 'ava'
import eventsModule from '../../lib/events.js'
import { clientOf, startServer, until } from './support.mjs'

const { StateEvents } = eventsModule
const run = promisify(execFile)
const change = { from: 'idle', to: 'ready', at: 1 }

test('watching begins with the first listener, once', (t) => {
  let watched = 0
  let report
  const events = new StateEvents((emit) => {
    watched++
    report = emit
  })
  events.emit(change)
  t.is(watched, 0)
  const heard = []
  const listener = (each) => heard.push(each)
  events.on('state', listener)
  events.on('state', listener)
  events.on('state', () => heard.push('other'))
  t.is(watched, 1)
  report(change)
  t.deepEqual(heard, [change, 'other'])
  events.off('state', listener)
  report(change)
  t.deepEqual(heard, [change, 'other', 'other'])
})

test('a listener that takes itself off keeps nobody else from hearing', (t) => {
  const events = new StateEvents(() => {})
  const heard = []
  const self = () => {
    heard.push('self')
    events.off('state', self)
  }
  events.on('state', self)
  events.on('state', () => heard.push('other'))
  events.emit(change)
  events.emit(change)
  t.deepEqual(heard, ['self', 'other', 'other'])
})

test('a listener that is added while others hear waits for the next change', (t) => {
  const events = new StateEvents(() => {})
  const heard = []
  events.on('state', () => events.on('state', () => heard.push('added')))
  events.emit(change)
  t.deepEqual(heard, [])
  events.emit(change)
  t.deepEqual(heard, ['added'])
})

test('a listener that throws keeps nobody else from hearing, and the process hears of it', async (t) => {
  const script = `
    const { StateEvents } = require('./lib/events.js')
    const events = new StateEvents(() => {})
    process.on('uncaughtException', (error) => console.log('uncaught', error.message))
    events.on('state', () => { throw new Error('mine') })
    events.on('state', () => console.log('other'))
    events.emit({})
    console.log('emitted')`
  const { stdout } = await run(process.execPath, ['-e', script], { cwd: new URL('../..', import.meta.url) })
  t.deepEqual(stdout.trim().split('\n'), ['other', 'emitted', 'uncaught mine'])
})

test('wrong arguments', (t) => {
  const client = clientOf(t, { url: 'memory:' })
  for (const args of [['other', () => {}], [undefined, () => {}], ['state', undefined]]) {
    t.throws(() => client.on(...args), { code: 'INVALID_ARGUMENT' })
    t.throws(() => client.off(...args), { code: 'INVALID_ARGUMENT' })
  }
  const listener = () => {}
  t.is(client.on('state', listener), client)
  t.is(client.off('state', listener), client)
})

test('a client tells of connecting, of a server that went away and came back, and of closing', async (t) => {
  const server = await startServer(t)
  const client = clientOf(t, { url: server.url, retry: { baseDelayMs: 10, maxDelayMs: 20 } })
  const heard = []
  client.on('state', (each) => heard.push(each))
  const since = Date.now()
  await client.sendCommand(['PING'])
  await until(() => heard.at(-1)?.to === 'ready')
  await server.restart(() => until(() => heard.at(-1).to !== 'ready'))
  await until(async () => {
    await client.sendCommand(['PING']).catch(() => {})
    return heard.at(-1).to === 'ready'
  })
  await client.close()
  await until(() => heard.at(-1).to === 'closed')
  for (const [index, each] of heard.entries()) {
    if (index > 0) t.is(each.from, heard[index - 1].to)
    t.not(each.from, each.to)
    t.true(each.at >= since - 1 && each.at <= Date.now() + 1)
  }
  t.true(heard.some(({ to }) => to === 'reconnecting'))
})

test('await using closes a client', async (t) => {
  const client = clientOf(t, { url: 'memory:' })
  await client[Symbol.asyncDispose]()
  await t.throwsAsync(client.bulkLookup('', ['a']), { code: 'CLOSED' })
})

test('a listener keeps no process alive', async (t) => {
  const script = `
    const { createClient } = require('./index.js')
    const client = createClient({ url: 'memory:' })
    client.on('state', () => {})
    client.cacheGet('a').then(() => console.log('done'))`
  const { stdout } = await run(process.execPath, ['-e', script], { cwd: new URL('../..', import.meta.url), timeout: 60_000 })
  t.is(stdout, 'done\n')
})
