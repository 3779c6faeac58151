// Running other programs: inherited output, a plain sentence when one is missing, no shell.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url)).replace(/[\\/]$/, '')
export const cache = join(root, '.cache')
export const windows = process.platform === 'win32'

/** A failure whose message is all that the user has to read: no stack is printed for it. */
export class Stop extends Error {}

/** Where `name` stands on PATH, or null. */
export function which(name) {
  const extensions = windows ? ['.exe', '.cmd', '.bat'] : ['']
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const extension of extensions) {
      if (folder && existsSync(join(folder, name + extension))) return join(folder, name + extension)
    }
  }
  return null
}

const installHints = {
  cargo: 'install Rust 1.88 or later: https://rustup.rs',
  python3: 'install Python 3 with pip',
  npm: 'install Node.js 20 or later with npm',
}

/** Stops with one line that says what to install when `name` is not there. */
export function need(name) {
  const found = which(name) ?? (name === 'python3' ? which('python') : null)
  if (!found) throw new Stop(`${name} was not found: ${installHints[name] ?? `install ${name}`}.`)
  return found
}

// npm and npx are scripts on Windows, which cannot be spawned without a shell; node can run npm's own file everywhere.
function resolve(command, args) {
  if (command === 'npm' && process.env.npm_execpath?.endsWith('.js')) return [process.execPath, [process.env.npm_execpath, ...args]]
  if (windows && command === 'npm') return [process.env.ComSpec ?? 'cmd.exe', ['/d', '/c', 'npm', ...args]]
  return [command, args]
}

/** Runs to the end; resolves to `{ code, stdout }`. With `capture`, the output is collected (and shown too with `tee`). */
export function run(command, args, { capture = false, tee = false, env, cwd = root } = {}) {
  const [file, list] = resolve(command, args)
  return new Promise((done, failed) => {
    const child = spawn(file, list, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', capture ? 'pipe' : 'inherit', capture ? 'pipe' : 'inherit'],
    })
    let stdout = ''
    const collect = (stream, out) =>
      stream?.on('data', (data) => {
        stdout += data
        if (tee) out.write(data)
      })
    collect(child.stdout, process.stdout)
    collect(child.stderr, process.stderr)
    child.on('error', (error) => {
      failed(error.code === 'ENOENT' ? new Stop(`${command} was not found: ${installHints[command] ?? `install ${command}`}.`) : error)
    })
    child.on('close', (code, signal) => done({ code: code ?? (signal ? 1 : 0), stdout }))
  })
}

/** Runs to the end and stops the whole script when the command fails. */
export async function must(command, args, options) {
  const result = await run(command, args, options)
  if (result.code !== 0) {
    if (options?.capture && !options.tee) process.stderr.write(result.stdout)
    throw new Stop(`\`${[command, ...args].join(' ')}\` failed with exit code ${result.code}.`)
  }
  return result.stdout
}

/** The output of a short command, or null where it fails. */
export function quick(command, args, options = {}) {
  const [file, list] = resolve(command, args)
  const result = spawnSync(file, list, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], ...options })
  return result.status === 0 ? result.stdout : null
}

/** Runs a script's main function: a Stop prints its one line, anything else its stack. */
export async function main(body) {
  try {
    const code = await body()
    process.exitCode = typeof code === 'number' ? code : 0
  } catch (error) {
    process.stderr.write(error instanceof Stop ? `\n${error.message}\n` : `\n${error?.stack ?? error}\n`)
    process.exitCode = 1
  }
}
