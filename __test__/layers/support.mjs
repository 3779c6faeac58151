// Clients for the tests of what stands on the four operations: on a server of the test's own, and on the embedded store.
import { createClient } from '../../index.mjs'
import clusterSupport from '../support/cluster.js'
import serverSupport from '../support/server.js'

export const { startServer } = serverSupport

let clients = 0

/** A client that is closed when the test ends. Its key prefix is its own, and so is its embedded store. */
export function clientOf(t, options) {
  const client = createClient({ keyPrefix: `t${clients++}*:`, ...options })
  t.teardown(() => client.close())
  return client
}

/**
 * Runs a test three times: on a server, on a cluster of three primaries, and on the embedded store.
 * `body(t, client, server | undefined, place)`; the server is there where there is exactly one, `place` is what stands in the title.
 */
export function onAll(test, title, body) {
  onServer(test, title, body)
  onCluster(test, title, body)
  onMemory(test, title, body)
}

/** The same without a cluster, for what does not depend on where keys lie. */
export function onBoth(test, title, body) {
  onServer(test, title, body)
  onMemory(test, title, body)
}

function onServer(test, title, body) {
  test(`${title} (server)`, async (t) => {
    const server = await startServer(t)
    await body(t, clientOf(t, { url: server.url }), server, 'server')
  })
}

function onMemory(test, title, body) {
  test(`${title} (memory)`, (t) => body(t, clientOf(t, { url: 'memory:' }), undefined, 'memory'))
}

/** The cluster of this file; a promise once a test has asked for it. Undefined: no test needs one so far. */
let cluster
let stopsCluster = false

function onCluster(test, title, body) {
  if (!stopsCluster) test.after.always('the cluster stops', async () => (await cluster)?.stop())
  stopsCluster = true
  test(`${title} (cluster)`, async (t) => {
    // Started once for all tests of the file: that takes a second or more. They run one after the other.
    cluster ??= clusterSupport.startCluster()
    const { primaries, seeds } = await cluster
    // When the client has closed: each test finds the cluster empty.
    t.teardown(() => Promise.all(primaries.map((server) => server.cli('FLUSHALL'))))
    await body(t, clientOf(t, { cluster: { nodes: seeds } }), undefined, 'cluster')
  })
}

/** `count` entries `${prefix}0`, `${prefix}1`, … */
export const entries = (prefix, count) => Array.from({ length: count }, (_, index) => ({ key: `${prefix}${index}`, data: `v${index}` }))

/** All that an async iterable gives. */
export async function collect(iterable) {
  const all = []
  for await (const each of iterable) all.push(each)
  return all
}

/** A promise and its functions. */
export function deferred() {
  let resolve
  let reject
  const promise = new Promise((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}

/** Until `condition` holds; fails after a minute. */
export async function until(condition) {
  const deadline = Date.now() + 60_000
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${condition} did not come true`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Calls that the server counted since it was last asked, by command, in `calls`; `all` together. Its own bookkeeping is left out. */
export async function commandsOf(server) {
  const text = await server.cli('INFO', 'commandstats')
  await server.cli('CONFIG', 'RESETSTAT')
  const calls = {}
  let all = 0
  for (const [, name, count] of text.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)) {
    if (/^(info|config|client|hello|ping|command)/.test(name)) continue
    calls[name] = Number(count)
    all += Number(count)
  }
  return { all, calls }
}
