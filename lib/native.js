'use strict'

// Finds and loads the addon of this platform. Nothing is scanned and no process is started: on Linux two kilobytes of
// the running program are read to tell glibc from musl, elsewhere the names of platform and architecture are enough.

const { closeSync, existsSync, openSync, readSync } = require('node:fs')
const { join } = require('node:path')

/**
 * Each platform with its two sources. The requires are written out, so that bundlers and file tracers (Next.js, esbuild,
 * webpack, Vercel) see which files may be needed.
 * @type {Record<string, [local: () => unknown, installed: () => unknown]>}
 */
const sources = {
  'linux-x64-gnu': [() => require('../redis-bulk.linux-x64-gnu.node'), () => require('redis-bulk-linux-x64-gnu')],
  'linux-x64-musl': [() => require('../redis-bulk.linux-x64-musl.node'), () => require('redis-bulk-linux-x64-musl')],
  'linux-arm64-gnu': [() => require('../redis-bulk.linux-arm64-gnu.node'), () => require('redis-bulk-linux-arm64-gnu')],
  'linux-arm64-musl': [() => require('../redis-bulk.linux-arm64-musl.node'), () => require('redis-bulk-linux-arm64-musl')],
  'darwin-x64': [() => require('../redis-bulk.darwin-x64.node'), () => require('redis-bulk-darwin-x64')],
  'darwin-arm64': [() => require('../redis-bulk.darwin-arm64.node'), () => require('redis-bulk-darwin-arm64')],
  'win32-x64-msvc': [() => require('../redis-bulk.win32-x64-msvc.node'), () => require('redis-bulk-win32-x64-msvc')],
  'win32-arm64-msvc': [() => require('../redis-bulk.win32-arm64-msvc.node'), () => require('redis-bulk-win32-arm64-msvc')],
}

/**
 * Whether the running program uses musl: its ELF header names the loader it was linked for (`/lib/ld-musl-x86_64.so.1`).
 * A look for files under /lib would be wrong on a glibc system that has musl installed beside it.
 */
function isMusl() {
  try {
    const head = Buffer.alloc(2048)
    const file = openSync(process.execPath, 'r')
    try {
      readSync(file, head, 0, head.length, 0)
    } finally {
      closeSync(file)
    }
    if (head.includes('ld-musl-')) return true
    if (head.includes('ld-linux')) return false
  } catch {
    // The program cannot be read, or is gone since it started: the slower source of the same fact answers.
  }
  const report = /** @type {{ header?: { glibcVersionRuntime?: string } }} */ (process.report?.getReport() ?? {})
  return report.header !== undefined && report.header.glibcVersionRuntime === undefined
}

/** @returns {string} such as `linux-x64-gnu`, also for platforms that have no build */
function platformName() {
  const { platform, arch } = process
  if (platform === 'linux') return `linux-${arch}-${isMusl() ? 'musl' : 'gnu'}`
  if (platform === 'win32') return `win32-${arch}-msvc`
  return `${platform}-${arch}`
}

/**
 * @param {string} name
 * @param {{ what: string, why: string, error?: unknown }[]} tried
 */
function failure(name, tried) {
  const supported = Object.keys(sources).join(', ')
  const lines = [`redis-bulk could not load its native addon for ${name} (Node.js ${process.version}).`]
  if (!Object.hasOwn(sources, name)) {
    lines.push(`There is no build for this platform. There are builds for: ${supported}.`)
  } else {
    lines.push('Tried:')
    for (const { what, why } of tried) lines.push(`  - ${what}: ${why}`)
    lines.push(
      'What to do:',
      `  - The package redis-bulk-${name} is an optional dependency. Install again without --omit=optional or --no-optional,`,
      '    and with the lock file renewed if it was made on another platform: npm install redis-bulk',
      '  - If node_modules was copied from another system (from a laptop into a Docker image, from Debian to Alpine, between',
      '    x64 and arm64), run the installation on the system that runs the program instead.',
      '  - In a checkout of redis-bulk itself: npm run build',
    )
  }
  const cause = tried.find((attempt) => attempt.error !== undefined)?.error
  const error = new Error(lines.join('\n'), cause === undefined ? undefined : { cause })
  return Object.assign(error, { code: 'ERR_REDIS_BULK_NO_ADDON', platform: name })
}

function load() {
  const name = platformName()
  const source = Object.hasOwn(sources, name) ? sources[name] : undefined
  if (!source) throw failure(name, [])

  /** @type {{ what: string, why: string, error?: unknown }[]} */
  const tried = []
  const [local, installed] = source
  const file = `redis-bulk.${name}.node`
  if (existsSync(join(__dirname, '..', file))) {
    try {
      return local()
    } catch (error) {
      tried.push({ what: file, why: firstLine(error), error })
    }
  } else {
    tried.push({ what: file, why: 'no such file (there is one after a local build only)' })
  }
  try {
    return installed()
  } catch (error) {
    tried.push({ what: `package redis-bulk-${name}`, why: missing(error) ? 'is not installed' : firstLine(error), error })
  }
  throw failure(name, tried)
}

/** @param {unknown} error */
function firstLine(error) {
  return error instanceof Error ? error.message.split('\n', 1)[0] : String(error)
}

/** @param {unknown} error */
function missing(error) {
  return error instanceof Error && /** @type {NodeJS.ErrnoException} */ (error).code === 'MODULE_NOT_FOUND'
}

module.exports = /** @type {typeof import('./addon')} */ (load())
