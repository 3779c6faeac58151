// The data of the quickstart: ISO 3166 as the npm package `iso-3166` ships it (MIT).

import { readFileSync } from 'node:fs'
import { iso31661, iso31662 } from 'iso-3166'

const manifest = new URL('package.json', import.meta.resolve('iso-3166'))
const { name, version, license } = JSON.parse(readFileSync(manifest, 'utf8'))

/** Where the data comes from, e.g. `iso-3166 4.4.0, MIT`. */
export const release = `${name} ${version}, ${license}`

/** Countries as `{ code, name, alpha3, numeric }`, their regions as `{ code, name, country, parent }`. */
export function loadPlaces() {
  const countries = iso31661.map(({ alpha2, name, alpha3, numeric }) => ({ code: alpha2, name, alpha3, numeric }))
  const nameOf = new Map(countries.map((country) => [country.code, country.name]))
  const regions = iso31662.map(({ code, name, parent }) => ({ code, name, country: nameOf.get(code.slice(0, 2)), parent }))
  return [...countries, ...regions]
}
