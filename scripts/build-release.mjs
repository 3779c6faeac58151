// Builds a binary for publishing into npm/<platform>/:
//   node scripts/build-release.mjs [PLATFORM]      default: this machine's (linux-x64-gnu, darwin-arm64, …)
// On Linux the linker is zig, which links against glibc 2.28 whatever this machine has, and crosses to arm64 and musl.
// zig and cargo-zigbuild come from PyPI into .cache/zig. The result is checked (scripts/check-binary.mjs).
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join, sep } from 'node:path'
import { place } from './build.mjs'
import { checkBinary } from './check-binary.mjs'
import { binaryName, cargoArtifact, hostPlatform, platforms } from './platforms.mjs'
import { Stop, cache, main, must, need, quick, root, windows } from './run.mjs'
import { checkNode, say, seconds } from './setup.mjs'

const glibc = '2.28'
const tools = ['ziglang==0.15.2', 'cargo-zigbuild==0.24.0']

/** A Python environment with zig and cargo-zigbuild; returns its folder of programs. */
async function zig() {
  const folder = join(cache, 'zig', tools.join('-').replaceAll('==', '-'))
  const bin = join(folder, windows ? 'Scripts' : 'bin')
  if (existsSync(join(folder, 'complete'))) return bin
  const python = need('python3')
  rmSync(folder, { recursive: true, force: true })
  say(`fetching ${tools.join(' and ')}`)
  await must(python, ['-m', 'venv', folder])
  await must(join(bin, 'python'), ['-m', 'pip', '--disable-pip-version-check', '-q', 'install', ...tools])
  await must(join(bin, 'python'), ['-c', 'import pathlib, sys; pathlib.Path(sys.argv[1]).touch()', join(folder, 'complete')])
  return bin
}

await main(async () => {
  checkNode()
  need('cargo')
  const start = performance.now()
  const name = process.argv[2] ?? hostPlatform().name
  const platform = platforms.find((each) => each.name === name)
  if (!platform) throw new Stop(`There is no platform ${name}; there are ${platforms.map((each) => each.name).join(', ')}.`)

  const installed = quick('rustup', ['target', 'list', '--installed'])
  if (installed !== null && !installed.split(/\s+/).includes(platform.target)) {
    throw new Stop(`Rust has no ${platform.target} here: rustup target add ${platform.target}`)
  }

  // Panics name the file that they come from: with these, not by where it stands on the machine that built it.
  const cargoHome = process.env.CARGO_HOME || join(homedir(), '.cargo')
  const flags = [`--remap-path-prefix=${cargoHome}=/cargo`, `--remap-path-prefix=${root}=/redis-bulk`]
  // A library that a program of the musl system loads has to use that system's libc, not one of its own.
  if (platform.libc === 'musl') flags.push('-C', 'target-feature=-crt-static')
  if (process.env.RUSTFLAGS) flags.push(...process.env.RUSTFLAGS.split(/\s+/).filter(Boolean))
  const env = { CARGO_ENCODED_RUSTFLAGS: flags.join('\x1f') }

  // Only the library that Node loads: what other crates could call is left out, a tenth of its size.
  const build = ['--release', '--lib', '--crate-type', 'cdylib']
  if (platform.os === 'linux') {
    const bin = await zig()
    const version = platform.libc === 'glibc' ? `.${glibc}` : ''
    await must(join(bin, 'cargo-zigbuild'), ['rustc', ...build, '--target', platform.target + version], {
      env: { ...env, PATH: `${bin}${delimiter}${process.env.PATH}` },
    })
  } else {
    await must('cargo', ['rustc', ...build, '--target', platform.target], { env })
  }

  const from = join(process.env.CARGO_TARGET_DIR || join(root, 'target'), platform.target, 'release', cargoArtifact(platform))
  const to = join(root, 'npm', platform.name, binaryName(platform))
  place(from, to)
  say(`npm/${platform.name}/${binaryName(platform)}: ${(statSync(to).size / 2 ** 20).toFixed(2)} MiB, ${seconds(start)}`)
  for (const line of checkBinary(to, platform)) say(line)
  const bytes = readFileSync(to)
  for (const folder of [homedir(), cargoHome, root]) {
    if (bytes.includes(folder + sep)) throw new Stop(`${to} names a folder of this machine: ${folder}${sep}`)
  }
})
