// Real sentinels, and a failover of theirs.
import test from 'ava'
import { startSentinels } from '../support/sentinel.js'
import { openClient, runProgram, timed, until } from '../support/work.js'

test('a failover under load: calls settle, what was acknowledged is there, and the client goes on', async (t) => {
  const rig = await startSentinels(t)
  const client = openClient(t, { ...rig.options, connectTimeoutMs: 5000, commandTimeoutMs: 5000 })
  const done = []
  const codes = new Set()
  let running = true
  let count = 0
  const caller = async (name) => {
    while (running) {
      const entries = Array.from({ length: 10 }, () => ({ key: `k:${name}:${count++}`, data: name }))
      const { value, error } = await timed(client.pipelineSet(entries))
      const failed = new Set((value?.errors ?? entries).map((item) => item.key))
      for (const item of value?.errors ?? [error]) codes.add(item.code)
      for (const { key } of entries) if (!failed.has(key)) done.push(key)
      const read = await timed(client.bulkLookup('k:', [name]))
      if (read.error) codes.add(read.error.code)
      else t.is(read.value.cacheHits + read.value.cacheMisses, 1)
    }
  }
  const callers = Promise.all(Array.from({ length: 20 }, (_, at) => caller(`c${at}`)))
  await until(() => done.length > 1000)
  // Replication is in order: when both replicas have the marker, they have all that was done before.
  const acknowledged = [...done]
  const own = await rig.primary.connect()
  await own.command('SET', 'marker', '1')
  t.is(await own.command('WAIT', '2', '30000'), 2)
  own.close()

  await rig.primary.kill()
  await rig.promoted()
  const before = done.length
  await until(() => done.length > before + 200)
  running = false
  await callers

  for (const code of codes) t.regex(code, /^(CONNECTION_LOST|CONNECTION_REFUSED|CONNECT_TIMEOUT|TIMEOUT)$/)
  const primary = await rig.current()
  const missing = []
  for (const key of acknowledged) if ((await primary.cli('EXISTS', key)) === 0) missing.push(key)
  t.deepEqual(missing, [])
  // The sentinel that is asked may hear of the failover last.
  const health = await until(async () => {
    const found = await client.health()
    const address = `127.0.0.1:${(await rig.current())?.port}`
    return found.status === 'up' && found.nodes.some((node) => node.role === 'primary' && node.address === address) && found
  })
  t.like(health, { mode: 'sentinel', state: 'ready' })
  t.is(health.nodes.length, 3)
})

test('sentinels and servers have passwords of their own', async (t) => {
  const rig = await startSentinels(t, { password: 'of-servers', sentinelPassword: 'of-sentinels' })
  const client = openClient(t, rig.options)
  await client.pipelineSet([{ key: 'a', data: '1' }])
  t.is(await rig.primary.cli('GET', 'a'), '1')
  const { sentinel } = rig.options
  for (const [options, reason] of [
    [{ sentinel: { ...sentinel, password: 'wrong-one' }, password: rig.password }, /the sentinel at/],
    [{ sentinel: { ...sentinel, password: undefined }, password: rig.password }, /the sentinel at/],
    [{ sentinel, password: 'wrong-one' }, /the server refused the login/],
    [{ sentinel }, /the server refused the login/],
  ]) {
    const { error } = await timed(openClient(t, options).bulkLookup('', ['a']))
    t.is(error?.code, 'AUTH')
    t.regex(error.message, reason)
    t.notRegex(error.message, /of-servers|of-sentinels|wrong-one/)
  }
})

test('by environment variables', async (t) => {
  const rig = await startSentinels(t)
  const env = { REDIS_SENTINELS: rig.options.sentinel.nodes.join(','), REDIS_SENTINEL_MASTER: rig.master, REDIS_DB: '2' }
  const run = await runProgram(`main(async () => { await rb.pipelineSet([{ key: 'e', data: '1' }]); print(await rb.health()); await rb.close() })`, { env })
  t.is(run.code, 0, run.stderr)
  t.is(run.json.mode, 'sentinel')
  const own = await rig.primary.connect()
  await own.command('SELECT', '2')
  t.is(await own.command('GET', 'e'), '1')
  own.close()
})
