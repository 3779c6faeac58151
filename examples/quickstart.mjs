// The quickstart: every country and region of the world into Redis and back, timed against the same work done one
// item at a time.
//
//   npm start                                      on the embedded store
//   REDIS_URL=redis://127.0.0.1:6379 npm start     on a real server
//   npm start -- --clean                           deletes what a run has left on the server in REDIS_URL

import { performance } from 'node:perf_hooks'
import { batchDelete, bulkLookup, close, configure, connect, pipelineSet, scanAll } from 'redis-bulk'
import { loadPlaces, release } from './support/places.mjs'
import { createPrinter } from './support/print.mjs'

const PREFIX = 'quickstart:place:'
const TTL_SECONDS = 3600
/** No comparison runs longer than this. Where it stops early, the output says how far it got. */
const COMPARISON_MS = 2000

const out = createPrinter(process.stdout)
const onServer = Boolean(process.env.REDIS_URL) && !process.env.REDIS_URL.startsWith('memory:')
const where = onServer ? address(process.env.REDIS_URL) : 'memory:'
const places = loadPlaces()
const byCode = new Map(places.map((place) => [place.code, place]))

/** Whether anything may have been written. */
let begun = false

// `npm start | head` ends here without a word.
process.stdout.on('error', (error) => process.exit(error.code === 'EPIPE' ? 0 : 1))

try {
  // REDIS_URL and its companions are read by redis-bulk itself. `keyPrefix: ''` makes sure that the keys on the server
  // are exactly the ones named in the output, whatever REDIS_KEY_PREFIX says.
  configure(onServer ? { keyPrefix: '' } : { url: 'memory:', keyPrefix: '' })
  await connect()
  if (process.argv.includes('--clean')) await clean()
  else await tour()
  await close()
} catch (error) {
  process.exitCode = 1
  process.stderr.write(`quickstart: ${explain(error)}\n`)
}

async function tour() {
  out.title('redis-bulk quickstart')
  out.fact('Store', onServer ? where : 'the embedded store (memory:), inside this process')
  out.fact('Data', `${out.count(places.length)} places, every country and region of ISO 3166 (npm package ${release})`)

  const entries = places.map((place) => ({ key: PREFIX + place.code, data: place }))

  out.step(1, 'Write them all, each as JSON, to live for an hour', 'pipelineSet(entries, { ttl: 3600 })')
  begun = true
  const write = await timed(() => pipelineSet(entries, { ttl: TTL_SECONDS }))
  const { written, failed, errors } = write.result
  out.say(`${out.count(written)} written, ${out.count(failed)} failed.`)
  if (errors.length > 0) {
    process.exitCode = 1
    out.say(`First failure: ${errors[0].key}: ${errors[0].code}: ${errors[0].message}`)
  }
  out.compare(write.ms, await oneByOne(entries, (entry) => pipelineSet([entry], { ttl: TTL_SECONDS })), 'writes')

  // Every pair of letters is asked for, so the misses are real: most pairs are no country.
  const regions = places.filter((place) => place.country).map((place) => place.code)
  const codes = [...regions, ...letterPairs()]
  out.step(2, 'Look up every region, and every pair of letters from AA to ZZ', "bulkLookup(prefix, codes, { as: 'json' })")
  const lookup = await timed(() => bulkLookup(PREFIX, codes, { as: 'json' }))
  const { results, cacheHits, cacheMisses } = lookup.result
  out.say(`${out.count(codes.length)} codes: ${out.count(cacheHits)} hits, ${out.count(cacheMisses)} misses.`)
  for (const code of ['FR-ARA', 'JP-26', 'IS', 'QZ']) out.sample(code, describe(results[codes.indexOf(code)]))
  out.compare(lookup.ms, await oneByOne(codes, (code) => bulkLookup(PREFIX, [code], { as: 'json' })), 'look-ups')

  const pattern = `${PREFIX}[G-M]?-*`
  out.step(3, 'Find the regions of all countries from G to M', `scanAll('${pattern}')`)
  const scan = await timed(() => scanAll(pattern))
  const found = scan.result
  out.say(`${out.count(found.length)} keys found.`)
  for (const key of found.slice().sort().slice(0, 2)) out.sample(key, describe(byCode.get(key.slice(PREFIX.length))))
  out.compare(scan.ms, await scanByOnes(pattern), 'scan steps of COUNT 1')

  out.step(4, 'Delete what was found', 'batchDelete(keys, 500)')
  const removal = await timed(() => batchDelete(found, 500))
  out.say(`${out.count(removal.result)} deleted.`)
  const isFound = new Set(found)
  const again = entries.filter((entry) => isFound.has(entry.key))
  await pipelineSet(again, { ttl: TTL_SECONDS }) // put back, not timed, so that both ways delete the same keys
  const single = await oneByOne(again, (entry) => batchDelete([entry.key]))
  await batchDelete(found) // what the comparison had no time for
  out.compare(removal.ms, single, 'deletions')

  const left = await scanAll(`${PREFIX}*`)
  out.title('What is left')
  if (onServer) {
    out.say(
      `${out.count(left.length)} keys on ${where}. Each begins with ${PREFIX} and expires one hour after it was ` +
        'written. Nothing else was changed there. To delete them now:',
    )
    out.code('npm start -- --clean')
    out.code(`redis-cli -u "$REDIS_URL" --scan --pattern '${PREFIX}*' | xargs redis-cli -u "$REDIS_URL" unlink`)
  } else {
    out.say(
      `${out.count(left.length)} keys, each beginning with ${PREFIX}, to live for an hour. They are in this ` +
        'process and end with it: nothing stays behind. With a server they stay:',
    )
    out.code('REDIS_URL=redis://127.0.0.1:6379 npm start')
  }
}

async function clean() {
  const keys = await scanAll(`${PREFIX}*`)
  const deleted = await batchDelete(keys)
  out.say(`${out.count(deleted)} keys that began with ${PREFIX} deleted from ${where}.`)
}

async function timed(work) {
  const start = performance.now()
  const result = await work()
  return { result, ms: performance.now() - start }
}

/** The same operation awaited for one item after another, until all are done or the time is up. */
async function oneByOne(items, operation) {
  const start = performance.now()
  let done = 0
  for (const item of items) {
    await operation(item)
    done += 1
    if (performance.now() - start > COMPARISON_MS) break
  }
  return { ms: performance.now() - start, done, total: items.length }
}

/** One SCAN step after another with COUNT 1. On a server full of other keys the time runs out first. */
async function scanByOnes(pattern) {
  const start = performance.now()
  try {
    await scanAll(pattern, { count: 1, timeoutMs: COMPARISON_MS })
    return { ms: performance.now() - start, done: 1, total: 1 }
  } catch (error) {
    if (error.code !== 'TIMEOUT') throw error
    return { ms: performance.now() - start, done: null, total: null }
  }
}

function letterPairs() {
  const letters = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ']
  return letters.flatMap((first) => letters.map((second) => first + second))
}

function describe(place) {
  if (!place) return 'null: no such place'
  return place.country ? `${place.name}, ${place.country}` : place.name
}

/** Host, port and database of a URL, without its user and password. */
function address(url) {
  try {
    const { host, pathname } = new URL(url)
    return `${host}${pathname === '/' ? '' : pathname}` || url
  } catch {
    return 'REDIS_URL'
  }
}

/** One line: what happened, what the error object says, what to do. */
function explain(error) {
  if (error.code === undefined) return error.stack
  const facts = `${error.name}, code ${error.code}, retryable ${error.retryable}, applied ${error.applied}`
  let advice = ''
  if (begun && onServer) advice = ` What was written begins with ${PREFIX} and expires within an hour.`
  else if (error.retryable) advice = ' Is a server there? Without REDIS_URL the quickstart needs none.'
  return `${error.message} (${facts}).${advice}`
}
