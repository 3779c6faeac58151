// What is packed in several pieces arrives as if it had been one: long and short items, every width of text, separators.
import test from 'ava'
import pack from '../../lib/pack.js'
import { startServer } from '../support/server.js'
import { openClient, unique } from '../support/work.js'

const { PIECE, packAll } = pack

let server
test.before(async () => {
  server = await startServer()
})
test.after.always(() => server?.stop())

const open = (t) => openClient(t, { url: server.url, keyPrefix: `${unique()}:` })

test('pieces end before their limit, hold a longer item alone, and lose nothing', (t) => {
  const list = ['a'.repeat(PIECE - 2), '', 'b', 'c'.repeat(PIECE), 'd', 'e'.repeat(PIECE + 1)]
  const { data, units, lengths } = packAll(list)
  t.is(data.join('\0'), list.join('\0'))
  t.deepEqual(data.map((piece) => piece.length), [PIECE - 1, 1, PIECE, 1, PIECE + 1])
  t.deepEqual([units, lengths], [list.join('\0').length, undefined])
  t.deepEqual(packAll(['ab', 'c']), { data: 'ab\0c', units: 4, lengths: undefined })
  t.deepEqual(pack.pack('codes', list, 1, 3), { data: '\0b', units: 2, lengths: undefined })
})

const widths = { 'one byte': 'x', Latin: 'é', 'two bytes': 'λ', 'pairs of units': '😀' }
for (const [name, character] of Object.entries(widths)) {
  test(`texts of ${name} a character`, async (t) => {
    const client = open(t)
    const lengths = [PIECE - 1, 0, 1, PIECE, PIECE + 1, 7, ...Array.from({ length: 3000 }, (_, index) => index % 97)]
    const entries = lengths.map((length, index) => ({ key: `${index}:${character.repeat(50)}`, data: character.repeat(length) }))
    t.is((await client.pipelineSet(entries)).written, entries.length)
    const keys = entries.map(({ key }) => key)
    const { results } = await client.bulkLookup('', keys)
    t.true(results.every((value, index) => value === entries[index].data))
    t.is(await client.batchDelete(keys), keys.length)
  })
}

test('text of one width in one piece and of another in the next', async (t) => {
  const client = open(t)
  const entries = Array.from({ length: 40 }, (_, index) => ({ key: `${index}`, data: Object.values(widths)[index % 4].repeat(25_000) }))
  t.is((await client.pipelineSet(entries)).written, 40)
  const { results } = await client.bulkLookup('', entries.map(({ key }) => key))
  t.true(results.every((value, index) => value === entries[index].data))
})

test('a separator in a later piece', async (t) => {
  const client = open(t)
  const entries = Array.from({ length: 2000 }, (_, index) => ({ key: `${index}${index === 1900 ? '\0' : ''}:${'k'.repeat(50)}`, data: `${index}${index === 1800 ? '\0' : ''}:${'x'.repeat(100)}` }))
  t.is((await client.pipelineSet(entries)).written, 2000)
  const keys = entries.map(({ key }) => key)
  const { results } = await client.bulkLookup('', keys)
  t.deepEqual(results, entries.map(({ data }) => data))
  t.is(await client.batchDelete(keys), 2000)
})

test('a key that is not well formed is named, in whichever piece it stands', async (t) => {
  const client = open(t)
  const codes = Array.from({ length: 3000 }, (_, index) => `${index}:${'k'.repeat(50)}`)
  codes[2500] = '\ud800'
  for (const call of [() => client.bulkLookup('', codes), () => client.batchDelete(codes)]) {
    await t.throwsAsync(call, { instanceOf: TypeError, message: /\[2500\]/ })
  }
})

test('objects of all sizes, those that serialise themselves within, and none but arrays', async (t) => {
  const client = open(t)
  const sizes = [0, 1, PIECE, 5, 3 * PIECE, ...Array.from({ length: 3000 }, (_, index) => (index * 37) % 211)]
  const objects = sizes.map((size, index) => ({ index, text: ']["\\,'.repeat(size / 6), at: new Date(index), empty: [], wide: index % 500 ? '' : 'λ😀' }))
  const entries = objects.map((data, index) => ({ key: `${index}`, data: index % 7 ? data : [data, [], ''] }))
  t.is((await client.pipelineSet(entries)).written, entries.length)
  const { results } = await client.bulkLookup('', entries.map(({ key }) => key))
  t.true(results.every((text, index) => text === JSON.stringify(entries[index].data)))
})

test('an object that cannot be serialised fails alone, in whichever piece it stands', async (t) => {
  const client = open(t)
  const entries = Array.from({ length: 3000 }, (_, index) => ({ key: `${index}`, data: { index, text: 'x'.repeat(100) } }))
  const circle = {}
  circle.circle = circle
  entries[2500].data = circle
  const { written, errors } = await client.pipelineSet(entries)
  t.is(written, 2999)
  t.deepEqual(errors.map(({ index, code, applied }) => [index, code, applied]), [[2500, 'INVALID_DATA', false]])
})
