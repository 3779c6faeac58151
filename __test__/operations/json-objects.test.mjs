// bulkLookup as JSON where many objects have the same keys: they are made without JSON.parse, and must be what it makes.
import { isDeepStrictEqual } from 'node:util'
import { Worker } from 'node:worker_threads'
import { createRequire } from 'node:module'
import test from 'ava'
import fc from 'fast-check'
import rb from '../../index.js'
import { startServer } from '../support/server.js'
import { codes, openClient, runProgram, unique } from '../support/work.js'

const entry = createRequire(import.meta.url).resolve('../../index.js')

let server
test.before(async () => {
  server = await startServer()
})
test.after.always(() => server?.stop())

const both = (title, body) => {
  test.serial(title, (t) => body(t, openClient(t, { url: server.url, keyPrefix: `${unique()}:` })))
  test.serial(`${title} (memory:)`, (t) => body(t, openClient(t, { url: 'memory:', clientName: unique() })))
}

/** Stores texts as they are and reads them as JSON, again and again, until their shapes are known. */
async function readAs(client, texts, rounds = 3) {
  const keys = codes(texts.length)
  const written = await client.pipelineSet(keys.map((key, index) => ({ key, data: texts[index] })).filter(({ data }) => data !== undefined))
  if (!written.success) throw written.errors[0]
  let found
  for (let round = 0; round < rounds; round++) found = await client.bulkLookup('', keys, { as: 'json' })
  return found
}

/** What part of the texts JSON.parse reads meanwhile. */
async function parsedShare(texts, body) {
  const { parse } = JSON
  let units = 0
  JSON.parse = (text, ...rest) => {
    units += text.length
    return parse(text, ...rest)
  }
  try {
    await body()
  } finally {
    JSON.parse = parse
  }
  return units / texts.join('').length
}

/** As strict as it gets: order of keys, -0, prototypes. */
const same = (is, ought) => isDeepStrictEqual(is, ought) && JSON.stringify(is) === JSON.stringify(ought)

/** Every value beside what JSON.parse makes of it. */
function allSame(t, results, texts) {
  for (const [index, text] of texts.entries()) {
    if (!same(results[index], JSON.parse(text))) return t.fail(`${text} became ${JSON.stringify(results[index])}`)
  }
  t.pass()
}

both('rows of a table: without JSON.parse, and the same', async (t, client) => {
  const texts = codes(5000).map((code, index) =>
    JSON.stringify({ id: index, code, price: index / 8, tags: codes(index % 4), size: { w: index % 7, unit: null }, active: index % 3 === 0, note: index % 5 ? `"größe"\n${index}` : '' }))
  allSame(t, (await readAs(client, texts)).results, texts)
  const keys = codes(5000)
  // The end of a chunk may be too few.
  t.true((await parsedShare(texts, () => client.bulkLookup('', keys, { as: 'json' }))) < 0.1)
  t.true((await parsedShare(texts.slice(0, 20), () => client.bulkLookup('', keys.slice(0, 20), { as: 'json' }))) >= 1, 'a few are parsed')
  for (const strategy of ['mget', 'script']) {
    for (const batchSize of [100, 1000, 5000]) allSame(t, (await client.bulkLookup('', keys, { as: 'json', strategy, batchSize })).results, texts)
  }
})

both('scalars of every kind in the same place', async (t, client) => {
  const scalars = [
    '0', '-0', '1', '-1', '999999999', '1000000000', '-2147483648', '2147483648', '9007199254740993', '123456789012345678901234567890',
    '0.1', '-0.0', '1e400', '-1e400', '1e-400', '5e-324', '1.7976931348623157e308', '1E+2', '0.30000000000000004', '1.5e0', '100.00',
    'true', 'false', 'null', '""', '" "', '"a"', '"exactly eight"', '"größe"', '"漢字"', '"😀"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\udc00x"',
    '"\\u0000"', '"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\u00e9\\u20ac"', '"\u2028\u2029"', '"</script>"', '"__proto__"', `"${'x'.repeat(3000)}"`, `"${'ü'.repeat(3000)}"`,
    '[]', '[1]', '["a","b"]', '[1,"a",null,true,0.5]', '{}', '{"b":1}',
  ]
  const texts = codes(6000).map((_, index) => `{"first":${scalars[index % scalars.length]},"second":[${scalars[(index * 7) % 40]},${scalars[(index * 11) % 40]}],"last":{"of":${scalars[(index * 13) % 40]}}}`)
  allSame(t, (await readAs(client, texts)).results, texts)
})

test.serial('threads make functions of their own for the shapes that all know', async (t) => {
  const client = openClient(t, { url: server.url, keyPrefix: 'threads:' })
  await client.pipelineSet(codes(3000).map((key, index) => ({ key, data: { index, inThreads: [key] } })))
  const keys = codes(3000)
  for (let round = 0; round < 3; round++) await client.bulkLookup('', keys, { as: 'json' })
  const source = `const { parentPort, workerData } = require('node:worker_threads')
    const { createClient } = require(workerData.entry)
    const { parse } = JSON
    let units = 0
    JSON.parse = (text) => ((units += text.length), parse(text))
    createClient({ url: workerData.url, keyPrefix: 'threads:' }).bulkLookup('', workerData.keys, { as: 'json' }).then(({ results }) => parentPort.postMessage({ results, units }))`
  const worker = new Worker(source, { eval: true, workerData: { entry, url: server.url, keys } })
  const { results, units } = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
  t.true(results.every((value, index) => value.index === index && value.inThreads[0] === keys[index]))
  t.true(units < 0.1 * JSON.stringify(results).length, `${units}`)
})

test.serial('results belong to the caller: nothing is shared between them', async (t) => {
  const client = openClient(t, { url: 'memory:', clientName: unique() })
  const texts = codes(3000).map(() => '{"list":[1,2],"of":{"same":"text"}}')
  const { results } = await readAs(client, texts)
  t.true((await parsedShare(texts, () => client.bulkLookup('', codes(3000), { as: 'json' }))) < 0.1)
  results[0].list.push(3)
  results[0].of.same = 'changed'
  delete results[1].of
  t.deepEqual(results[2], { list: [1, 2], of: { same: 'text' } })
  t.true(results.slice(2).every((value) => value.of.same === 'text' && value.list.length === 2))
  t.deepEqual((await client.bulkLookup('', ['c0'], { as: 'json' })).results, [JSON.parse(texts[0])])
})

both('long objects, and lists of one and of many', async (t, client) => {
  const texts = codes(2500).map((code, index) => JSON.stringify({ code, body: 'x'.repeat(3000), one: [index], many: codes(index % 50), none: [] }))
  allSame(t, (await readAs(client, texts)).results, texts)
  t.true((await parsedShare(texts, () => client.bulkLookup('', codes(2500), { as: 'json' }))) < 0.1)
})

both('keys twice, white space, other orders, and shapes in turn', async (t, client) => {
  const forms = [
    (n) => `{"a":${n},"b":${n}}`,
    (n) => `{"b":${n},"a":${n}}`,
    (n) => `{"a":${n},"a":${n + 1}}`,
    (n) => `{ "a": ${n}, "b": ${n} }`,
    (n) => `{"a":${n}}`,
    (n) => `{"a":${n},"b":${n},"c":{}}`,
    (n) => `[{"a":${n}},{"a":${n}}]`,
    (n) => `[${n}]`,
    (n) => `${n}`,
    (n) => `{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":${n}}}}}}}}}}}}}}}`,
  ]
  const random = codes(10_000).map((_, index) => forms[(index * 7919) % (index % 97 ? 7 : 10)](index))
  allSame(t, (await readAs(client, random)).results, random)
  const runs = codes(10_000).map((_, index) => forms[Math.floor(index / 1000)](index))
  allSame(t, (await readAs(client, runs)).results, runs)
  const mostlyOne = codes(10_000).map((_, index) => forms[index % 100 ? 0 : (index / 100) % 10](index))
  allSame(t, (await readAs(client, mostlyOne)).results, mostlyOne)
  t.true((await parsedShare(mostlyOne, () => client.bulkLookup('', codes(10_000), { as: 'json' }))) < 0.2)
})

both('what is missing or no JSON stays where it is', async (t, client) => {
  const texts = codes(10_000).map((_, index) => (index % 10 === 7 ? undefined : index % 100 === 13 ? `{"at":${index},"bad":tru}` : `{"at":${index},"bad":true}`))
  const { results, cacheHits, cacheMisses, errors } = await readAs(client, texts)
  t.deepEqual([cacheHits, cacheMisses, errors.length], [8900, 1000, 100])
  t.true(errors.every(({ index, key, code, applied }) => index % 100 === 13 && key === `c${index}` && code === 'INVALID_JSON' && applied === false))
  t.true(results.every((value, index) => (index % 10 === 7 || index % 100 === 13 ? value === null : value.at === index && value.bad === true)))
  t.true((await parsedShare(texts, () => client.bulkLookup('', codes(10_000), { as: 'json' }))) < 0.1)
})

// From here on there may be no room for further shapes.
both('keys of every kind', async (t, client) => {
  const keys = ['a-b', "it's", '"', '\\', '\n', '', ' ', '0', '7', '-1', '1.5', '01', '__proto__', 'constructor', 'toString', 'hasOwnProperty', '`${x}`', '*/', '</script>', '\u2028', 'größe', '漢字', '😀', 'await', 'v0', 'W', 'let']
  for (const key of keys) {
    const text = (value) => `{"before":${value},${JSON.stringify(key)}:"${value}","after":{${JSON.stringify(key)}:[${value}]}}`
    const texts = codes(700).map((_, index) => text(index))
    allSame(t, (await readAs(client, texts, 4)).results, texts)
  }
  const all = (value) => `{${keys.map((key, index) => `${JSON.stringify(key)}:${value + index}`).join()}}`
  const texts = codes(3000).map((_, index) => all(index))
  const { results } = await readAs(client, texts)
  allSame(t, results, texts)
  t.is(Object.getPrototypeOf(results[0]), Object.prototype)
  const polluting = codes(3000).map((_, index) => `{"at":${index},"__proto__":{"polluted":1}}`)
  const found = await readAs(client, polluting)
  allSame(t, found.results, polluting)
  t.is({}.polluted, undefined)
  t.true(Object.hasOwn(found.results[0], '__proto__'))
})

test('bytes that are not UTF-8 are decoded as in a string', async (t) => {
  const client = openClient(t, { url: server.url, keyPrefix: `${unique()}:` })
  const bytes = codes(3000).map((_, index) => Buffer.concat([Buffer.from(`{"n":${index},"bytes":"`), Buffer.from(index % 3 ? [0x61] : [0xff, 0xc3]), Buffer.from('"}')]))
  const keys = codes(3000)
  await client.pipelineSet(keys.map((key, index) => ({ key, data: bytes[index] })))
  for (let round = 0; round < 3; round++) {
    const { results } = await client.bulkLookup('', keys, { as: 'json' })
    t.true(results.every((value, index) => same(value, JSON.parse(bytes[index].toString()))))
  }
})

test('where functions may not be made from text, JSON.parse makes all', async (t) => {
  const client = openClient(t, { url: server.url, keyPrefix: 'no-eval:' })
  await client.pipelineSet(codes(3000).map((key, index) => ({ key, data: { index, key } })))
  const source = `main(async () => {
    const client = rb.createClient({ url: process.env.TARGET, keyPrefix: 'no-eval:' })
    const keys = Array.from({ length: 3000 }, (_, index) => 'c' + index)
    let right = 0
    for (let round = 0; round < 4; round++) {
      const { results } = await client.bulkLookup('', keys, { as: 'json' })
      right += results.filter((value, index) => value.index === index && value.key === keys[index]).length
    }
    print(right)
  })`
  const { code, json, stderr } = await runProgram(source, { env: { TARGET: server.url }, nodeArgs: ['--disallow-code-generation-from-strings'] })
  t.deepEqual([code, json, stderr], [0, 12_000, ''])
})

test('iterators and loads read them, too', async (t) => {
  const client = openClient(t, { url: server.url, keyPrefix: `${unique()}:` })
  const keys = codes(5000)
  await client.pipelineSet(keys.map((key, index) => ({ key, data: { index, deep: { key } } })))
  let index = 0
  for await (const batch of client.lookupIterator('', keys, { as: 'json' })) {
    for (const { code, value } of batch) if (!same(value, { index, deep: { key: code } }) || keys[index++] !== code) t.fail(code)
  }
  t.is(index, 5000)
  const fetched = await client.bulkFetch('', keys, () => t.fail('all are there'))
  t.true(keys.every((key, at) => same(fetched.get(key), { index: at, deep: { key } })))
})

test('random objects, many of each shape', async (t) => {
  const client = openClient(t, { url: server.url, keyPrefix: `${unique()}:` })
  const leaf = fc.oneof(fc.string({ unit: 'binary' }), fc.string(), fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean(), fc.constant(null))
  const { object } = fc.letrec((tie) => ({
    value: fc.oneof({ weight: 4, arbitrary: leaf }, { weight: 1, arbitrary: fc.array(leaf, { maxLength: 4 }) }, { weight: 1, arbitrary: tie('object') }),
    object: fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('id', 'name', 'größe')), tie('value'), { minKeys: 1, maxKeys: 6 }),
  }))
  await fc.assert(
    fc.asyncProperty(fc.array(object, { minLength: 1, maxLength: 3 }), fc.array(leaf, { minLength: 5, maxLength: 30 }), async (samples, scalars) => {
      let next = 0
      const other = (value) => {
        if (Array.isArray(value)) return value.map(other)
        if (typeof value === 'object' && value !== null) return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, other(each)]))
        return scalars[next++ % scalars.length]
      }
      const texts = codes(2500).map((_, index) => JSON.stringify(other(samples[index % samples.length])))
      const { results } = await readAs(client, texts)
      for (const [index, text] of texts.entries()) if (!same(results[index], JSON.parse(text))) throw new Error(`${text} became ${JSON.stringify(results[index])}`)
    }),
    { numRuns: 25 },
  )
  t.pass()
})
