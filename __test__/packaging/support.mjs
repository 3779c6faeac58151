// Packs what would be published and installs it into an empty folder, without the network.
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { root, windows } from '../../scripts/run.mjs'
import { stage } from '../../scripts/stage.mjs'

const execute = promisify(execFile)

export { root }
export const tsc = join(root, 'node_modules/typescript/bin/tsc')

/** Runs to the end; rejects with the output of what fails. */
export async function exec(command, args, options) {
  try {
    return (await execute(command, args, { encoding: 'utf8', maxBuffer: 1 << 26, ...options })).stdout
  } catch (error) {
    throw new Error(`${[basename(command), ...args].join(' ')} failed:\n${error.stdout ?? ''}${error.stderr ?? error.message}`)
  }
}

export const node = (args, options) => exec(process.execPath, args, options)

// Without what an outer `npm test` says about itself, and without looking for a registry.
const npmEnv = () => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name))),
  npm_config_update_notifier: 'false',
})
export const npm = (args, options) =>
  windows
    ? exec(process.env.ComSpec ?? 'cmd.exe', ['/d', '/c', 'npm', ...args], { env: npmEnv(), ...options })
    : exec('npm', args, { env: npmEnv(), ...options })

/** Removed when the tests of the file have ended. */
export function emptyFolder(test, name) {
  const folder = mkdtempSync(join(realpathSync(tmpdir()), `redis-bulk-${name}-`))
  test.after.always(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The tarballs of redis-bulk and of this machine's platform package. */
export async function pack(folder) {
  const staged = stage({ out: join(folder, 'stage') })
  const tarballs = []
  for (const from of [staged.main, ...staged.platforms]) {
    const out = join(folder, basename(from))
    mkdirSync(out)
    await npm(['pack', '--pack-destination', out, '--loglevel=error'], { cwd: from })
    tarballs.push(join(out, readdirSync(out).find((name) => name.endsWith('.tgz'))))
  }
  return { main: tarballs[0], platform: tarballs[1], staged }
}

/** A project of its own with the tarballs installed. */
export async function project(folder, tarballs, manifest = {}) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'consumer', version: '1.0.0', private: true, ...manifest }))
  await npm(['install', ...tarballs, '--offline', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder })
  return folder
}

/** The types of Node, which a TypeScript project has of its own; from here, so that nothing has to be fetched. */
export function addNodeTypes(folder) {
  for (const name of ['@types/node', 'undici-types']) {
    cpSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), { recursive: true })
  }
}

/** The files of a package archive with their contents. */
export async function readTarball(path, folder) {
  mkdirSync(folder, { recursive: true })
  await exec('tar', ['-xzf', path, '-C', folder])
  return (await exec('tar', ['-tzf', path]))
    .split('\n')
    .filter(Boolean)
    .map((name) => name.replace(/\r$/, '').replace(/^package\//, ''))
    .sort()
}
