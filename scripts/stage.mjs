// Lays out what is published, in one folder for each package, and changes nothing in the tree:
//   node scripts/stage.mjs [--out FOLDER]             redis-bulk and this machine's platform package, from a local build
//   node scripts/stage.mjs --release [--out FOLDER]   redis-bulk and all platform packages, from npm/*/*.node
// RB_STAGE_BINARY names the binary to take in place of the local build's.
// The package.json in the repository names no platform packages, because a fresh clone has to install before they exist;
// the staged one lists them as optional dependencies at exactly its own version. It carries no scripts, so that nothing
// runs on a user's machine.
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { binaryName, hostPlatform, packageName, platforms } from './platforms.mjs'
import { Stop, cache, main, root } from './run.mjs'

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))
const writeJson = (path, value) => writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`)

/** @returns {{ main: string, platforms: string[] }} the folders */
export function stage({ out = join(cache, 'stage'), release = false } = {}) {
  const manifest = readJson(join(root, 'package.json'))
  const repository = repositoryOf(process.env)
  rmSync(out, { recursive: true, force: true })

  const staged = (release ? platforms : [hostPlatform()]).map((platform) => {
    const from = join(root, 'npm', platform.name)
    const binary = release ? join(from, binaryName(platform)) : process.env.RB_STAGE_BINARY || join(root, binaryName(platform))
    if (!existsSync(binary)) {
      throw new Stop(`${binary} is missing: ${release ? 'put the binary of each platform into its folder under npm/ first' : 'npm run build'}.`)
    }
    const own = readJson(join(from, 'package.json'))
    if (own.version !== manifest.version) throw new Stop(`${own.name} has version ${own.version}, redis-bulk has ${manifest.version}.`)
    const to = join(out, packageName(platform))
    mkdirSync(to, { recursive: true })
    writeJson(join(to, 'package.json'), { ...own, ...repository })
    copyFileSync(join(from, 'README.md'), join(to, 'README.md'))
    copyFileSync(join(root, 'LICENSE'), join(to, 'LICENSE'))
    copyFileSync(binary, join(to, binaryName(platform)))
    return to
  })

  const to = join(out, manifest.name)
  mkdirSync(to, { recursive: true })
  const files = manifest.files.filter((pattern) => !pattern.endsWith('.node'))
  for (const pattern of [...files, 'README.md', 'LICENSE']) {
    const path = pattern.replace(/\/\*\*.*$/, '')
    // The whole folder: npm itself applies the patterns of `files` to it.
    if (existsSync(join(root, path))) {
      mkdirSync(dirname(join(to, path)), { recursive: true })
      cpSync(join(root, path), join(to, path), { recursive: true })
    }
  }
  const { private: _private, scripts: _scripts, devDependencies: _dev, ava: _ava, napi: _napi, ...published } = manifest
  writeJson(join(to, 'package.json'), {
    ...published,
    ...repository,
    files,
    optionalDependencies: Object.fromEntries(platforms.map((platform) => [packageName(platform), manifest.version])),
  })
  return { main: to, platforms: staged }
}

// Provenance is refused by the registry when the package does not name the repository that the workflow ran in.
function repositoryOf({ GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: name }) {
  return server && name ? { repository: { type: 'git', url: `git+${server}/${name}.git` } } : {}
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(() => {
    const at = process.argv.indexOf('--out')
    const folders = stage({ out: at < 0 ? undefined : resolve(process.argv[at + 1]), release: process.argv.includes('--release') })
    for (const folder of [...folders.platforms, folders.main]) process.stdout.write(`${folder}: ${readdirSync(folder).join(' ')}\n`)
  })
}
