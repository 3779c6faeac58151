// The check that holds index.d.ts against a contract has to see what is dropped, renamed or narrowed, and let pass what
// is added.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { compare } from '../scripts/check-contract.mjs'

const contract = `
export function find(keys: readonly string[], options?: FindOptions & { as?: 'text' }): Promise<Found<string>>
export function find(keys: readonly string[], options: FindOptions & { as: 'bytes' }): Promise<Found<Buffer>>
export function count(prefix: string, limit?: number): Promise<number>
export interface FindOptions { as?: 'text' | 'bytes'; retry?: boolean | { attempts?: number; delay?: number }; onStep?: (step: Step) => void }
export interface Step { done: number; total?: number }
export interface Found<T> { values: (T | null)[]; hits: number }
export interface Client { find: typeof find; send(args: readonly (string | number)[]): Promise<unknown>; close(wait?: boolean): Promise<void> }
export interface Store<T> { put(id: string, value: T, ttl?: number): Promise<void>; all(): { hits: number } }
export type Code = 'A' | 'B' | 'C'
export class Failure extends Error { readonly code: Code | string; readonly again: boolean }
export class Late extends Failure {}
`

const folder = mkdtempSync(join(tmpdir(), 'redis-bulk-contract-'))
test.after.always(() => rmSync(folder, { recursive: true, force: true }))
writeFileSync(join(folder, 'contract.d.ts'), contract)

let number = 0
async function findings(t, from, to) {
  if (from) t.true(contract.includes(from), `the contract has no ${from}`)
  const index = join(folder, `index${number++}.d.ts`)
  writeFileSync(index, from ? contract.replace(from, to) : contract)
  return compare(join(folder, 'contract.d.ts'), index)
}

test('the same declarations pass', async (t) => {
  t.deepEqual(await findings(t), [])
})

const added = {
  'a member of a result': ['hits: number }\nexport interface Client', 'hits: number; misses: number }\nexport interface Client'],
  'an option': ["{ as?: 'text' | 'bytes';", "{ limit?: number; as?: 'text' | 'bytes';"],
  'a value that an option takes': ["{ as?: 'text' | 'bytes';", "{ as?: 'text' | 'bytes' | 'json';"],
  'a parameter': ['limit?: number)', 'limit?: number, more?: string)'],
  'a member of a union': ["| 'C'", "| 'C' | 'D'"],
  'an export': ['export type Code', 'export function more(): void\nexport type Code'],
  'a method': ['close(wait', 'open(): Promise<void>; close(wait'],
}
for (const [what, [from, to]] of Object.entries(added)) {
  test(`${what} more passes`, async (t) => t.deepEqual(await findings(t, from, to), []))
}

const wrong = {
  'a function renamed': ['function count', 'function counts', /^count is missing/],
  'a class renamed': ['class Late', 'class Later', /^Late is missing/],
  'an interface not exported': ['export interface Step', 'interface Steps { done: number }\nexport {}\ninterface Step', /^Step is missing/],
  'an option dropped': ["as?: 'text' | 'bytes'; retry", 'retry', /^FindOptions lacks a member.*'as'/],
  'an option inside an option dropped': ['; delay?: number', '', /^FindOptions lacks a member.*'delay'/],
  'an option made mandatory': ['retry?:', 'retry:', /^FindOptions does not take/],
  'an option narrowed': ["as?: 'text' | 'bytes'; retry", "as?: 'text'; retry", /^FindOptions does not take/],
  'a callback that is told less': ['(step: Step) => void', '(step: { done: string }) => void', /^FindOptions does not take/],
  'a parameter dropped': [', limit?: number)', ')', /^count takes less/],
  'a parameter narrowed': ['count(prefix: string', "count(prefix: 'a'", /^count/],
  'a result widened': ['(T | null)[]', '(T | null | undefined)[]', /^Found does not promise/],
  'a result made optional': ['hits: number }\nexport interface Client', 'hits?: number }\nexport interface Client', /^Found does not promise/],
  'a nested result dropped': ['all(): { hits: number }', 'all(): { misses: number }', /^Store does not promise/],
  'an overload dropped': ["export function find(keys: readonly string[], options: FindOptions & { as: 'bytes' }): Promise<Found<Buffer>>\n", '', /^find cannot be used/],
  'a method dropped': ['close(wait?: boolean): Promise<void>', '', /^Client lacks a member.*'close'/],
  'a method’s parameter narrowed': ['(string | number)[]', 'string[]', /^Client has a method that takes less/],
  'a method’s parameter dropped': [', ttl?: number): Promise<void>', '): Promise<void>', /^Store has a method that takes less/],
  'a member of a union dropped': ["| 'C'", '', /^Code does not take/],
  'a class member dropped': ['; readonly again: boolean', '', /^Failure lacks a member.*'again'/],
  'a base class dropped': ['Late extends Failure', 'Late extends Error', /^Late lacks a member/],
}
for (const [what, [from, to, message]] of Object.entries(wrong)) {
  test(`${what} is found`, async (t) => {
    const lines = await findings(t, from, to)
    t.true(lines.some((line) => message.test(line)), `found: ${lines.join('\n') || 'nothing'}`)
  })
}
