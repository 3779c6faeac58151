// What a user gets from `npm install redis-bulk`: packed, installed into an empty folder, used from there.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { packageName, platforms } from '../../scripts/platforms.mjs'
import { addNodeTypes, emptyFolder, node, npm, pack, project, readTarball, root, tsc } from './support.mjs'

const folder = emptyFolder(test, 'packaging')
const operations = ['bulkLookup', 'pipelineSet', 'scanAll', 'batchDelete', 'configure', 'close', 'RedisBulkError']
let tarballs
let app

test.before(async () => {
  tarballs = await pack(folder)
  app = await project(join(folder, 'app'), [tarballs.main, tarballs.platform])
  addNodeTypes(app)
})

const installed = () => JSON.parse(readFileSync(join(app, 'node_modules/redis-bulk/package.json'), 'utf8'))

test('the archive holds what runs and nothing else', async (t) => {
  const files = await readTarball(tarballs.main, join(folder, 'unpacked'))
  for (const needed of ['package.json', 'index.js', 'index.mjs', 'index.d.ts', 'index.d.mts', 'lib/native.js', 'README.md', 'LICENSE']) {
    t.true(files.includes(needed), `${needed} is missing`)
  }
  const allowed = /^(package\.json|README\.md|LICENSE|index\.(js|mjs|d\.ts|d\.mts)|lib\/.*\.js)$/
  t.deepEqual(files.filter((file) => !allowed.test(file)), [])
  for (const file of files) {
    const text = readFileSync(join(folder, 'unpacked/package', file), 'utf8')
    t.false(text.includes(root), `${file} holds a path of this machine`)
  }
})

test('every file that index.js requires is in the archive, and index.mjs names what index.js exports', async (t) => {
  const names = JSON.parse(await node(['-e', "console.log(JSON.stringify(Object.keys(require('redis-bulk'))))"], { cwd: app }))
  const esm = JSON.parse(await node(['--input-type=module', '-e', "import * as all from 'redis-bulk'; console.log(JSON.stringify(Object.keys(all)))"], { cwd: app }))
  t.deepEqual(esm.filter((name) => name !== 'default').sort(), names.sort())
  for (const name of operations) t.true(names.includes(name), `${name} is not exported`)
})

test('the platform package holds the binary, says where it belongs, and has the version of redis-bulk', async (t) => {
  const files = await readTarball(tarballs.platform, join(folder, 'unpacked-platform'))
  const manifest = JSON.parse(readFileSync(join(folder, 'unpacked-platform/package/package.json'), 'utf8'))
  t.deepEqual(files, ['LICENSE', 'README.md', 'package.json', manifest.main].sort())
  t.deepEqual([manifest.os, manifest.cpu], [[process.platform], [process.arch]])
  t.is(manifest.version, installed().version)
})

test('the published package.json: optional platform packages at its own version, nothing that runs at installation', (t) => {
  const manifest = installed()
  t.deepEqual(manifest.optionalDependencies, Object.fromEntries(platforms.map((platform) => [packageName(platform), manifest.version])))
  t.is(manifest.scripts, undefined)
  t.is(manifest.dependencies, undefined)
  t.is(manifest.devDependencies, undefined)
  t.is(manifest.private, undefined)
  t.is(manifest.license, 'MIT')
  for (const platform of platforms) {
    const own = JSON.parse(readFileSync(join(root, 'npm', platform.name, 'package.json'), 'utf8'))
    t.is(own.name, packageName(platform))
    t.is(own.version, manifest.version)
    t.deepEqual([own.os, own.cpu, own.libc], [[platform.os], [platform.cpu], platform.libc && [platform.libc]])
    t.is(own.main, `redis-bulk.${platform.name}.node`)
    t.is(own.scripts, undefined)
  }
  const targets = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).napi.targets
  t.deepEqual(targets, platforms.map((platform) => platform.target))
})

const script = `
  await pipelineSet([{ key: 'p:a', data: 'A' }, { key: 'p:b', data: { n: 1 } }])
  const { results, cacheHits, cacheMisses } = await bulkLookup('p:', ['a', 'b', 'c'])
  const keys = (await scanAll('p:*', 100)).sort()
  const deleted = await batchDelete(keys, 500)
  console.log(JSON.stringify({ results, cacheHits, cacheMisses, keys, deleted }))
`
const expected = { results: ['A', '{"n":1}', null], cacheHits: 2, cacheMisses: 1, keys: ['p:a', 'p:b'], deleted: 2 }
const names = '{ configure, pipelineSet, bulkLookup, scanAll, batchDelete }'
const memory = "configure({ url: 'memory:' });\n"

test('CommonJS', async (t) => {
  writeFileSync(join(app, 'use.cjs'), `const ${names} = require('redis-bulk')\n${memory}(async () => {${script}})()`)
  t.deepEqual(JSON.parse(await node(['use.cjs'], { cwd: app })), expected)
})

test('ESM, named exports', async (t) => {
  writeFileSync(join(app, 'use.mjs'), `import ${names} from 'redis-bulk'\n${memory}${script}`)
  t.deepEqual(JSON.parse(await node(['use.mjs'], { cwd: app })), expected)
})

test('CommonJS and ESM in one program share everything', async (t) => {
  const code = `import { createRequire } from 'node:module'
    import * as esm from 'redis-bulk'
    const cjs = createRequire(import.meta.url)('redis-bulk')
    console.log(${JSON.stringify(operations)}.filter((name) => esm[name] !== cjs[name]).join())`
  writeFileSync(join(app, 'both.mjs'), code)
  t.is((await node(['both.mjs'], { cwd: app })).trim(), '')
})

test('requiring it opens no socket and keeps no process alive', async (t) => {
  const code = `
    const net = require('node:net')
    const opened = []
    const connect = net.Socket.prototype.connect
    net.Socket.prototype.connect = function (...args) { opened.push(args); return connect.apply(this, args) }
    const { readdirSync, readlinkSync } = require('node:fs')
    const sockets = () => process.platform === 'linux'
      ? readdirSync('/proc/self/fd').filter((fd) => { try { return readlinkSync('/proc/self/fd/' + fd).startsWith('socket:') } catch { return false } }).length
      : 0
    const before = sockets()
    require('redis-bulk')
    const after = sockets()
    // The check itself has to see a socket where there is one.
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const seen = sockets()
      server.close()
      console.log(JSON.stringify({ opened: opened.length, added: after - before, sees: process.platform !== 'linux' || seen > after }))
    })`
  writeFileSync(join(app, 'socket.cjs'), code)
  t.deepEqual(JSON.parse(await node(['socket.cjs'], { cwd: app, timeout: 60_000 })), { opened: 0, added: 0, sees: true })
})

const typescript = `import { configure, pipelineSet, bulkLookup, scanAll, batchDelete, RedisBulkError } from 'redis-bulk'
import type { LookupResult, SetResult, ItemError } from 'redis-bulk'

interface Country { name: string }

async function main(): Promise<void> {
  configure({ url: 'memory:' })
  const set: SetResult = await pipelineSet([{ key: 'p:a', data: { name: 'A' }, ttl: 60 }])
  const text: LookupResult<string> = await bulkLookup('p:', ['a'])
  const bytes: LookupResult<Buffer> = await bulkLookup('p:', ['a'], { as: 'buffer' })
  const json: LookupResult<Country> = await bulkLookup<Country>('p:', ['a'], { as: 'json' })
  const errors: ItemError[] = json.errors
  const keys: string[] = await scanAll('p:*', 100)
  const deleted: number = await batchDelete(keys, 500)
  // @ts-expect-error -- the prefix comes first
  void (() => bulkLookup(['a']))
  // @ts-expect-error -- there is no such form
  void (() => bulkLookup('p:', ['a'], { as: 'xml' }))
  if (!(new Error() instanceof RedisBulkError)) {
    console.log(JSON.stringify([set.written, text.results, bytes.results[0]?.toString(), json.results[0]?.name, errors.length, deleted]))
  }
}
main().catch((error: unknown) => { console.error(error); process.exitCode = 1 })
`
const printed = [1, ['{"name":"A"}'], '{"name":"A"}', 'A', 0, 1]

for (const [title, module, resolution, file, output] of [
  ['node16, ESM', 'node16', 'node16', 'esm.mts', 'esm.mjs'],
  ['node16, CommonJS', 'node16', 'node16', 'cjs.cts', 'cjs.cjs'],
  ['bundler', 'esnext', 'bundler', 'bundled.mts', 'bundled.mjs'],
]) {
  test(`TypeScript compiles against it and runs: ${title}`, async (t) => {
    const dir = join(app, title.replace(/\W+/g, '-'))
    await project(dir, [])
    writeFileSync(join(dir, file), typescript)
    const compilerOptions = {
      strict: true,
      skipLibCheck: false,
      target: 'es2022',
      lib: ['es2022'],
      module,
      moduleResolution: resolution,
      types: ['node'],
      typeRoots: [join(app, 'node_modules/@types')],
      outDir: '.',
    }
    writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [file] }))
    await node([tsc, '-p', dir])
    t.deepEqual(JSON.parse(await node([output], { cwd: dir })), printed)
  })
}

test('publint finds nothing', async (t) => {
  const { publint } = await import('publint')
  const { messages } = await publint({ pkgDir: tarballs.staged.main, strict: true })
  t.deepEqual(messages, [])
})

test('arethetypeswrong finds nothing', async (t) => {
  const out = await node([join(root, 'node_modules/@arethetypeswrong/cli/dist/index.js'), tarballs.main, '--format', 'json'], { cwd: folder })
  const { analysis, problems } = JSON.parse(out)
  t.deepEqual(problems, {})
  t.deepEqual(analysis.problems, [])
  t.true(Object.keys(analysis.entrypoints).includes('.'))
})

test('`npm pack` in the repository gives an archive that works by itself on this machine', async (t) => {
  const [{ filename }] = JSON.parse(await npm(['pack', '--json', '--pack-destination', folder, '--loglevel=error'], { cwd: root }))
  const dir = await project(join(folder, 'local'), [join(folder, filename)])
  writeFileSync(join(dir, 'use.cjs'), `const ${names} = require('redis-bulk')\n${memory}(async () => {${script}})()`)
  t.deepEqual(JSON.parse(await node(['use.cjs'], { cwd: dir })), expected)
})

test('without its platform package it says in plain words what is missing and what to do', async (t) => {
  const dir = await project(join(folder, 'alone'), [tarballs.main])
  const code = "try { require('redis-bulk') } catch (error) { console.log(JSON.stringify([error.code, error.message])) }"
  const [errorCode, message] = JSON.parse(await node(['-e', code], { cwd: dir }))
  t.is(errorCode, 'ERR_REDIS_BULK_NO_ADDON')
  t.regex(message, new RegExp(`package redis-bulk-${process.platform}-${process.arch}\\S*: is not installed`))
  t.regex(message, /--omit=optional/)
})
