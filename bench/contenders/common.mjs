export function chunks(array, size) {
  const out = []
  for (let i = 0; i < array.length; i += size) out.push(array.slice(i, i + size))
  return out
}

/** Splits a lookup into MGETs of 1,000 that are all sent at once: what a careful user does about very long commands. */
export const inThousands = (mget) => async (prefix, codes) => (await Promise.all(chunks(codes, 1000).map((part) => mget(prefix, part)))).flat()

export const json = (values) => values.map((text) => (text === null ? null : JSON.parse(text)))

/** The ways of a lookup over a client's MGET; `string` and `buffer` take (prefix, codes). */
export function lookupWays({ string, buffer }) {
  const split = inThousands(string)
  const whole = { string, json: async (prefix, codes) => json(await string(prefix, codes)) }
  const parts = { string: split, json: async (prefix, codes) => json(await split(prefix, codes)) }
  if (buffer) {
    whole.buffer = buffer
    parts.buffer = inThousands(buffer)
  }
  return [
    { name: 'mget', run: whole },
    { name: 'mget of 1,000 each', when: (params) => params.n >= 10_000, run: parts },
  ]
}
