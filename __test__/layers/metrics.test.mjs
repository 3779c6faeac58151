import test from 'ava'
import metricsModule from '../../lib/metrics-text.js'
import { onAll, until } from './support.mjs'

/** The samples of a text in the Prometheus format, by its grammar; throws where the text breaks it. */
function parse(text) {
  const types = new Map()
  const helps = new Set()
  const samples = new Map()
  if (!text.endsWith('\n')) throw new Error('the last line is not ended')
  let family
  for (const line of text.slice(0, -1).split('\n')) {
    const meta = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line)
    if (meta) {
      const [, what, name, rest] = meta
      const seen = what === 'HELP' ? helps.has(name) : types.has(name)
      if (seen) throw new Error(`a second ${what} for ${name}`)
      if (what === 'HELP') helps.add(name)
      else types.set(name, rest)
      family = name
      continue
    }
    const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)$/.exec(line)
    if (!sample) throw new Error(`not a sample: ${line}`)
    const [, name, labels = '', value] = sample
    const suffix = types.get(family) === 'summary' ? /(_count|_sum)?$/ : /$/
    if (name.replace(suffix, '') !== family) throw new Error(`${name} does not stand under its TYPE`)
    if (Number.isNaN(Number(value))) throw new Error(`${name} has the value ${value}`)
    const key = labels === '' ? name : `${name}{${labels}}`
    if (samples.has(key)) throw new Error(`${key} twice`)
    samples.set(key, Number(value))
  }
  return { types, samples }
}

onAll(test, 'metricsText has the numbers of metrics', async (t, client) => {
  await client.pipelineSet([{ key: 'a', data: '1' }, { key: 'b', data: 'no json' }])
  await client.bulkLookup('', ['a', 'c'])
  await client.bulkLookup('', ['b'], { as: 'json' })
  // A call is counted as settled just after its answer was handed on.
  await until(() => client.metrics().inFlight === 0)
  const { types, samples } = parse(client.metricsText())
  const metrics = client.metrics()
  for (const name of types.keys()) t.regex(name, /^redis_bulk_[a-z_]+$/)
  t.is(samples.get('redis_bulk_commands_total'), metrics.commands)
  t.is(samples.get('redis_bulk_items_total'), 5)
  t.is(samples.get('redis_bulk_hits_total'), 1)
  t.is(samples.get('redis_bulk_misses_total'), 1)
  t.is(samples.get('redis_bulk_errors_total{code="INVALID_JSON"}'), 1)
  t.is(samples.get('redis_bulk_sent_bytes_total'), metrics.bytesSent)
  t.is(samples.get('redis_bulk_in_flight_calls'), 0)
  t.is(samples.get('redis_bulk_latency_seconds_count{operation="bulkLookup"}'), 2)
  const { sum, p50, p95, p99, max } = metrics.latencyMs.bulkLookup
  t.true(sum >= max && sum <= 2 * max)
  t.is(samples.get('redis_bulk_latency_seconds_sum{operation="bulkLookup"}'), sum / 1000)
  for (const [quantile, value] of [['0.5', p50], ['0.95', p95], ['0.99', p99]]) {
    t.is(samples.get(`redis_bulk_latency_seconds{operation="bulkLookup",quantile="${quantile}"}`), value / 1000)
  }
  t.is(samples.get('redis_bulk_latency_max_seconds{operation="bulkLookup"}'), max / 1000)
  t.is(types.get('redis_bulk_latency_seconds'), 'summary')
  t.is(types.get('redis_bulk_hits_total'), 'counter')
})

test('label values are escaped', (t) => {
  const names = ['commands', 'items', 'hits', 'misses', 'retries', 'reconnects', 'bytesSent', 'bytesReceived', 'bufferedBytes', 'inFlight']
  const numbers = Object.fromEntries(names.map((name) => [name, 0]))
  const text = metricsModule.metricsText({ ...numbers, errors: { 'a"b\\c\nd': 3 }, latencyMs: {} })
  t.is(parse(text).samples.get('redis_bulk_errors_total{code="a\\"b\\\\c\\nd"}'), 3)
})
