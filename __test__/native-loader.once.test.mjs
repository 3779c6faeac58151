// How lib/native.js finds the addon, in copies of it with other surroundings.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { binaryName, hostPlatform, packageName, platforms } from '../scripts/platforms.mjs'
import { root } from '../scripts/run.mjs'

const folder = mkdtempSync(join(tmpdir(), 'redis-bulk-loader-'))
test.after.always(() => rmSync(folder, { recursive: true, force: true }))
const host = hostPlatform()

let number = 0
function install() {
  const dir = join(folder, String(number++), 'node_modules', 'redis-bulk')
  mkdirSync(join(dir, 'lib'), { recursive: true })
  cpSync(join(root, 'lib/native.js'), join(dir, 'lib/native.js'))
  return dir
}

/** What loading gives in a fresh process: the exports' keys, or the error; `before` runs first. */
function load(dir, before = '') {
  const code = `${before}
    try { console.log(JSON.stringify({ loaded: require('./lib/native.js').marker ?? 'addon' })) }
    catch (error) { console.log(JSON.stringify({ code: error.code, platform: error.platform, message: error.message, cause: error.cause?.code })) }`
  return JSON.parse(execFileSync(process.execPath, ['-e', code], { cwd: dir, encoding: 'utf8' }))
}

/** A platform package that holds a JavaScript file in the place of the binary. */
function addPlatformPackage(dir, platform, code) {
  const to = join(dir, '..', packageName(platform))
  mkdirSync(to, { recursive: true })
  writeFileSync(join(to, 'package.json'), JSON.stringify({ name: packageName(platform), main: 'main.js' }))
  writeFileSync(join(to, 'main.js'), code)
}

const pretend = (platform, arch) => `
  Object.defineProperty(process, 'platform', { value: '${platform}' })
  Object.defineProperty(process, 'arch', { value: '${arch}' })`

test('it names every platform that is built, and no other', (t) => {
  const source = readFileSync(join(root, 'lib/native.js'), 'utf8')
  const named = [...source.matchAll(/^ {2}'([\w-]+)': \[/gm)].map((match) => match[1])
  t.deepEqual(named, platforms.map((platform) => platform.name))
  for (const platform of platforms) {
    // As literals, which bundlers and file tracers follow.
    t.true(source.includes(`require('../${binaryName(platform)}')`))
    t.true(source.includes(`require('${packageName(platform)}')`))
  }
})

test('the platform package is loaded; a local build beside it goes first', (t) => {
  const dir = install()
  addPlatformPackage(dir, host, "exports.marker = 'the package'")
  t.deepEqual(load(dir), { loaded: 'the package' })
  cpSync(join(root, binaryName(host)), join(dir, binaryName(host)))
  t.deepEqual(load(dir), { loaded: 'addon' })
})

test('a local build that does not load is passed over', (t) => {
  const dir = install()
  writeFileSync(join(dir, binaryName(host)), 'no library')
  addPlatformPackage(dir, host, "exports.marker = 'the package'")
  t.deepEqual(load(dir), { loaded: 'the package' })
})

test('with nothing there the error says what was tried and what to do', (t) => {
  const error = load(install())
  t.is(error.code, 'ERR_REDIS_BULK_NO_ADDON')
  t.is(error.platform, host.name)
  t.is(error.cause, 'MODULE_NOT_FOUND')
  t.true(error.message.includes(`${binaryName(host)}: no such file`))
  t.true(error.message.includes(`package ${packageName(host)}: is not installed`))
  t.regex(error.message, /--omit=optional/)
  t.regex(error.message, /Docker/)
})

test('a package that is there and does not load is not called missing', (t) => {
  const dir = install()
  addPlatformPackage(dir, host, "throw new Error('version `GLIBC_2.99` not found')")
  const { message } = load(dir)
  t.regex(message, /GLIBC_2\.99/)
  t.notRegex(message, /is not installed/)
})

test('on a platform without a build the error lists those that have one', (t) => {
  const error = load(install(), pretend('freebsd', 'x64'))
  t.is(error.platform, 'freebsd-x64')
  t.regex(error.message, /no build for this platform/)
  for (const platform of platforms) t.true(error.message.includes(platform.name))
})

for (const platform of platforms.filter((each) => each.os !== 'linux')) {
  test(`${platform.name} loads its own package`, (t) => {
    const dir = install()
    addPlatformPackage(dir, platform, `exports.marker = '${platform.name}'`)
    t.deepEqual(load(dir, pretend(platform.os, platform.cpu)), { loaded: platform.name })
  })
}

// The program's own header decides between the two; here a file in its place plays programs of other systems.
for (const platform of platforms.filter((each) => each.os === 'linux')) {
  test(`${platform.name} loads its own package`, (t) => {
    const dir = install()
    for (const each of platforms.filter((other) => other.os === 'linux')) addPlatformPackage(dir, each, `exports.marker = '${each.name}'`)
    const program = join(dir, 'program')
    const interpreter = platform.libc === 'musl' ? '/lib/ld-musl-x.so.1' : '/lib64/ld-linux-x.so.2'
    writeFileSync(program, Buffer.concat([Buffer.from('\x7fELF'), Buffer.alloc(500), Buffer.from(interpreter), Buffer.alloc(4096)]))
    const before = `${pretend('linux', platform.cpu)}\n process.execPath = ${JSON.stringify(program)}`
    t.deepEqual(load(dir, before), { loaded: platform.name })
  })
}

test('a program that cannot be read leaves the question to the process report', (t) => {
  const dir = install()
  for (const each of platforms.filter((other) => other.os === 'linux')) addPlatformPackage(dir, each, `exports.marker = '${each.libc}'`)
  const report = (header) => `${pretend('linux', 'x64')}
    process.execPath = '/no/such/program'
    process.report.getReport = () => ({ header: ${JSON.stringify(header)} })`
  t.deepEqual(load(dir, report({ glibcVersionRuntime: '2.36' })), { loaded: 'glibc' })
  t.deepEqual(load(dir, report({})), { loaded: 'musl' })
})
