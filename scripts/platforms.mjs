// The platforms that the package is built for: the one list that the build, the packing, the workflows' matrix and the
// tests read. lib/native.js holds the same names as literal `require`s, so that bundlers can follow them; a test
// compares the two.
export const platforms = [
  { name: 'linux-x64-gnu', target: 'x86_64-unknown-linux-gnu', os: 'linux', cpu: 'x64', libc: 'glibc' },
  { name: 'linux-x64-musl', target: 'x86_64-unknown-linux-musl', os: 'linux', cpu: 'x64', libc: 'musl' },
  { name: 'linux-arm64-gnu', target: 'aarch64-unknown-linux-gnu', os: 'linux', cpu: 'arm64', libc: 'glibc' },
  { name: 'linux-arm64-musl', target: 'aarch64-unknown-linux-musl', os: 'linux', cpu: 'arm64', libc: 'musl' },
  { name: 'darwin-x64', target: 'x86_64-apple-darwin', os: 'darwin', cpu: 'x64' },
  { name: 'darwin-arm64', target: 'aarch64-apple-darwin', os: 'darwin', cpu: 'arm64' },
  { name: 'win32-x64-msvc', target: 'x86_64-pc-windows-msvc', os: 'win32', cpu: 'x64' },
  { name: 'win32-arm64-msvc', target: 'aarch64-pc-windows-msvc', os: 'win32', cpu: 'arm64' },
]

/** The file that Node loads, beside package.json after a local build and inside the platform's own package. */
export const binaryName = (platform) => `redis-bulk.${platform.name}.node`

/** Unscoped, so that no npm organisation has to be owned before the first release. */
export const packageName = (platform) => `redis-bulk-${platform.name}`

/** What Cargo calls the cdylib. */
export const cargoArtifact = (platform) =>
  platform.os === 'win32' ? 'redis_bulk.dll' : platform.os === 'darwin' ? 'libredis_bulk.dylib' : 'libredis_bulk.so'

/** The platform of the running Node. */
export function hostPlatform() {
  const libc = process.platform !== 'linux' ? undefined : process.report.getReport().header.glibcVersionRuntime ? 'glibc' : 'musl'
  const found = platforms.find((p) => p.os === process.platform && p.cpu === process.arch && p.libc === libc)
  if (!found) throw new Error(`redis-bulk is not built for ${process.platform} ${process.arch}${libc ? ` (${libc})` : ''}.`)
  return found
}
