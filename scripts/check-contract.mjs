// Holds index.d.ts against a contract: another declaration file whose every export the package has to carry.
//   node scripts/check-contract.mjs CONTRACT.d.ts [INDEX.d.ts]
// The package may add to the contract; it may not rename, drop or narrow anything. For each export of the contract this
// writes a few type assertions and lets tsc judge them:
//   functions, values   ours can be used where the contract's can
//   classes             the same for constructor and instances
//   interfaces          every member is there, however deep in inline objects; what we return is what the contract
//                       promises; what we take (`…Options`, `…Entry`) takes at least all that the contract lets pass
//   unions of literals  no member is gone
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Stop, main, root, run } from './run.mjs'

const isInput = (name) => /(Options|Entry)$/.test(name)

/** The exports of a declaration file that stand at the beginning of a line: `{ kind, name, parameters, overloaded }`. */
export function declarations(source) {
  const found = new Map()
  const pattern = /^export (?:declare )?(?:abstract )?(function|class|interface|type|const|let|enum|namespace) ([A-Za-z_$][\w$]*)(<)?/gm
  for (const match of source.matchAll(pattern)) {
    const [, kind, name, generic] = match
    const parameters = generic && kind !== 'function' ? typeParameters(source, match.index + match[0].length) : 0
    // A function that is declared again is overloaded: `Parameters` would see its last form only.
    found.set(name, { kind, name, parameters, overloaded: found.has(name) })
  }
  return [...found.values()]
}

/** How many type parameters the list that begins at `at` has. */
function typeParameters(source, at) {
  let depth = 1
  let count = 1
  for (let i = at; depth > 0 && i < source.length; i++) {
    if (source[i] === '<' || source[i] === '{' || source[i] === '(') depth += 1
    else if ((source[i] === '>' && source[i - 1] !== '=') || source[i] === '}' || source[i] === ')') depth -= 1
    else if (source[i] === ',' && depth === 1) count += 1
  }
  return count
}

// Each type here exists twice, for the two sides: two instances of one alias tsc would compare by their arguments' variance,
// which says nothing about what they expand to.
const prelude = `
type Inline<T> = Exclude<Extract<T, object>, Function | readonly unknown[] | Uint8Array | AbortSignal | Promise<unknown>>
${['Ours', 'Contract']
  .map(
    (side) => `
/** The names of an object type, its inline objects included; what they hold is left out. */
type ${side}Shape<T> = [Inline<T>] extends [never] ? true : { [K in keyof Inline<T>]-?: ${side}Shape<NonNullable<Inline<T>[K]>> }
/** What the methods of an object type take, by name: as a tuple, which also tells a parameter that is gone. */
type ${side}Takes<T, Names> = { [K in keyof T & Names]: NonNullable<T[K]> extends (...args: infer P) => unknown ? P : true }`,
  )
  .join('')}
declare function has<Wanted>(given: Wanted): void
declare const mark: { readonly mark: unique symbol }
type Mark = typeof mark
`

/** The assertions for one declaration; each stands on its own line with what it says. */
function assertions({ kind, name, parameters, overloaded }, overloads) {
  const generic = parameters > 0 ? `<${Array(parameters).fill('Mark').join(', ')}>` : ''
  const ours = `Ours.${name}${generic}`
  const contract = `Contract.${name}${generic}`
  const flows = (from, to, says) => ({ code: `has<${to}>(null! as ${from})`, says })
  const out = flows(ours, contract, 'does not promise what the contract promises')
  const taken = flows(contract, ours, 'does not take all that the contract lets pass')
  const names = `Exclude<keyof ${contract}, ${['never', ...overloads.map((each) => `'${each}'`)].join(' | ')}>`
  const methods = flows(`ContractTakes<${contract}, ${names}>`, `OursTakes<${ours}, ${names}>`, 'has a method that takes less')
  const members = flows(`OursShape<${ours}>`, `ContractShape<${contract}>`, 'lacks a member')
  switch (kind) {
    case 'interface':
      return isInput(name) ? [members, taken] : [members, out, methods]
    case 'class':
      return [members, out, methods, flows(`typeof Ours.${name}`, `typeof Contract.${name}`, 'cannot be constructed as the contract says')]
    case 'type':
    case 'enum':
      return [taken]
    case 'function': {
      const use = flows(`typeof Ours.${name}`, `typeof Contract.${name}`, 'cannot be used as the contract says')
      const takes = flows(`Parameters<typeof Contract.${name}>`, `Parameters<typeof Ours.${name}>`, 'takes less than the contract says')
      return overloaded ? [use] : [use, takes]
    }
    default:
      return [flows(`typeof Ours.${name}`, `typeof Contract.${name}`, 'cannot be used as the contract says')]
  }
}

/** @returns {Promise<string[]>} what is wrong, a line for each finding */
export async function compare(contractPath, indexPath) {
  const list = declarations(readFileSync(contractPath, 'utf8'))
  if (list.length === 0) return [`${contractPath} exports nothing`]
  // Inside the package, so that the types of Node are found.
  const folder = mkdtempSync(join(root, 'node_modules', '.contract-'))
  try {
    const reach = (path) => JSON.stringify(resolve(path).replace(/\\/g, '/').replace(/\.d\.ts$/, '.js'))
    // The contract is copied: where it stands, the types of Node need not be found.
    writeFileSync(join(folder, 'contract.d.ts'), readFileSync(contractPath))
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }\n')
    const lines = [`import type * as Ours from ${reach(indexPath)}`, "import type * as Contract from './contract.js'", ...prelude.trim().split('\n')]
    const meaning = new Map()
    const overloads = list.filter((declaration) => declaration.overloaded).map((declaration) => declaration.name)
    for (const declaration of list) {
      for (const { code, says } of assertions(declaration, overloads)) {
        lines.push(code)
        meaning.set(lines.length, { name: declaration.name, says })
      }
    }
    // What the comparison of overloads and generic functions lets through, asked as a caller would.
    const probe = (name, code) => {
      if (!list.some((declaration) => declaration.name === name)) return
      lines.push(code)
      meaning.set(lines.length, { name, says: 'answers a call with another type than the contract' })
    }
    const lookup = (options) => `Ours.bulkLookup('p', ['c']${options})`
    probe('bulkLookup', `has<Promise<Contract.LookupResult<string>>>(${lookup('')})`)
    probe('bulkLookup', `has<Promise<Contract.LookupResult<string>>>(${lookup(", { as: 'string', partial: true }")})`)
    probe('bulkLookup', `has<Promise<Contract.LookupResult<Buffer>>>(${lookup(", { as: 'buffer' }")})`)
    probe('bulkLookup', `has<Promise<Contract.LookupResult<Mark>>>(Ours.bulkLookup<Mark>('p', ['c'], { as: 'json' }))`)
    probe('batchDelete', "has<Promise<number>>(Ours.batchDelete(['k'], 500))")
    probe('batchDelete', "has<Promise<Contract.DeleteReport>>(Ours.batchDelete(['k'], { report: true }))")
    probe('getCachedData', "has<Promise<Mark | null>>(Ours.getCachedData<Mark>('k'))")
    probe('createCache', "has<Contract.Cache<Mark>>(Ours.createCache<Mark>('n'))")
    // The probes use values, which a type-only import has no names for.
    lines[0] = lines[0].replace('import type', 'import')

    writeFileSync(join(folder, 'check.ts'), `${lines.join('\n')}\n`)
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({
        compilerOptions: {
          strict: true,
          exactOptionalPropertyTypes: false,
          noEmit: true,
          target: 'es2022',
          lib: ['es2022'],
          module: 'node16',
          moduleResolution: 'node16',
          types: ['node'],
          typeRoots: [join(root, 'node_modules/@types')],
          skipLibCheck: true,
        },
        files: ['check.ts'],
      }),
    )
    const tsc = join(root, 'node_modules/typescript/bin/tsc')
    const { code, stdout } = await run(process.execPath, [tsc, '-p', folder, '--pretty', 'false'], { capture: true })
    return findings(stdout, code, meaning)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** One line for each name: its first finding, with the innermost of tsc's sentences; `missing` outdoes the others. */
function findings(output, code, meaning) {
  const found = new Map()
  let current
  for (const line of output.split('\n')) {
    const head = /check\.ts\((\d+),\d+\): error TS\d+: (.*)$/.exec(line)
    if (head) {
      const { name, says } = meaning.get(Number(head[1])) ?? { name: 'the check', says: 'did not work' }
      const missing = /has no exported member|does not exist on type 'typeof import|refers to a value/.test(head[2])
      current = undefined
      if (missing) found.set(name, { says: 'is missing', detail: '' })
      else if (!found.has(name)) found.set(name, (current = { says, detail: head[2].replace(/^.*(Property '\w+' is missing) in type .*$/, '$1') }))
    } else if (/: error TS/.test(line)) {
      current = undefined
      found.set(line.trim(), { says: '', detail: '' })
    } else if (current && /^\s+\S/.test(line)) {
      current.detail = line.trim().replace(/^(Property '\w+' is missing) in type .*$/, '$1')
    }
  }
  if (found.size === 0 && code !== 0) return [output.trim()]
  return [...found].map(([name, { says, detail }]) => `${name} ${says}${detail ? `: ${detail}` : ''}`)
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(async () => {
    const args = process.argv.slice(2)
    if (!args[0]) throw new Stop('Which contract? node scripts/check-contract.mjs CONTRACT.d.ts [INDEX.d.ts]')
    const contract = resolve(root, args[0])
    for (const file of [contract, resolve(root, args[1] ?? 'index.d.ts')]) if (!existsSync(file)) throw new Stop(`${file} is missing.`)
    const wrong = await compare(contract, resolve(root, args[1] ?? 'index.d.ts'))
    for (const line of wrong) process.stdout.write(`${line}\n`)
    if (wrong.length === 0) process.stdout.write(`index.d.ts carries all of ${args[0]}.\n`)
    return wrong.length > 0 ? 1 : 0
  })
}
