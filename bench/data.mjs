// What the workloads read and write. Everything follows from an index, so that parent and children agree without
// sending values to each other.

export const PREFIX = 'item:'
/** One code in ten is not on the server. */
export const isMiss = (i) => i % 10 === 7
export const code = (i) => `SKU-${String(i).padStart(7, '0')}`
export const key = (i) => PREFIX + code(i)

const ALPHABETS = {
  ascii: [...'the quick brown fox jumps over the lazy dog 0123456789 THE QUICK BROWN FOX; {}[]"/-_'],
  // One-byte text to V8, two bytes each in UTF-8: about one letter in six carries an accent, as in French or Spanish.
  latin1: [...'le garçon a été très déçu par la forêt où naît l’été'.replace('’', "'"), ...'señor Müller Ångström café '],
  // Two-byte text to V8: CJK, and emoji outside the basic plane.
  wide: [...'東京都千代田区丸の内一丁目 上海市 서울특별시 ok 😀🚀🎉 '],
}
export const CHARSETS = Object.keys(ALPHABETS)

/** Characters by their length in UTF-8; `bytes` is reached exactly, filled up with dots. */
function text(charset, bytes, seed) {
  const alphabet = ALPHABETS[charset]
  let state = (seed * 2654435761 + 12345) >>> 0
  let out = ''
  let left = bytes
  while (left > 0) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    const character = alphabet[(state >>> 8) % alphabet.length]
    const size = Buffer.byteLength(character)
    if (size > left) {
      out += '.'.repeat(left)
      break
    }
    out += character
    left -= size
  }
  return out
}

const bodies = new Map()
/** A value of exactly `bytes` bytes in UTF-8, different for every index. */
export function value(i, bytes, charset) {
  const id = `${charset}/${bytes}`
  let pool = bodies.get(id)
  if (!pool) {
    pool = Array.from({ length: 61 }, (_, seed) => Buffer.from(text(charset, Math.max(0, bytes - 9), seed)))
    bodies.set(id, pool)
  }
  // Through a Buffer, so that every value is one flat string of its own and no slice of another.
  return Buffer.concat([Buffer.from(`${String(i).padStart(8, '0')}:`), pool[i % pool.length]]).toString('utf8')
}

/** An object whose JSON takes about 200 bytes. */
export function object(i) {
  return {
    id: i,
    sku: code(i),
    name: `Product number ${i}`,
    price: (i % 9973) + 0.99,
    currency: 'EUR',
    stock: i % 500,
    tags: ['new', 'sale', i % 2 ? 'odd' : 'even'],
    size: { w: i % 100, h: i % 50, d: 12.5 },
    active: i % 3 !== 0,
    updatedAt: '2025-01-01T00:00:00.000Z',
  }
}

/** What stands on the server under `key(i)` for a workload's parameters. */
export const stored = (params, i) => (params.as === 'json' || params.objects ? JSON.stringify(object(i)) : value(i, params.bytes, params.charset))

export const range = (n) => Array.from({ length: n }, (_, i) => i)

/** Arrays of codes for one lookup each: several for small sizes, so that no client sees the same call twice in a row. */
export function codeSets(n) {
  const sets = n >= 1000 ? 1 : Math.max(1, Math.min(200, Math.floor(1000 / n)))
  return range(sets).map((set) => range(n).map((i) => code(set * n + i)))
}
/** How many different keys the sets of `codeSets(n)` name. */
export const codeCount = (n) => codeSets(n).length * n

export const setEntries = (params) =>
  range(params.n).map((i) => {
    const data = params.objects ? object(i) : value(i, params.bytes, params.charset)
    return params.ttl ? { key: key(i), data, ttl: params.ttl } : { key: key(i), data }
  })
