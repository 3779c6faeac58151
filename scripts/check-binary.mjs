// Checks a binary for publishing: node scripts/check-binary.mjs [FILE]
//   at most 4 MB; stripped; on Linux never unloaded (`-z nodelete`), for the right processor, and asking
//   for no glibc newer than 2.28 (for musl: for no glibc at all); without the hooks of the tests
// The ELF file is read here, because what it asks for is a fact of the file and tools that print it are not everywhere.
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { pathToFileURL } from 'node:url'
import { binaryName, hostPlatform, platforms } from './platforms.mjs'
import { Stop, main, root } from './run.mjs'

const maxBytes = 4_000_000
const maxGlibc = '2.28'
/** Stands in every binary with the feature `test-hooks` (src/panic.rs), which can panic on purpose. */
const hookMark = 'by redis-bulk\'s test-hooks'

const SHT = { SYMTAB: 2, STRTAB: 3, DYNAMIC: 6, GNU_VERNEED: 0x6ffffffe }
const DT = { NEEDED: 1, FLAGS_1: 0x6ffffffb }
const DF_1_NODELETE = 0x8
const machines = { x64: 62, arm64: 183 }

/** What a 64-bit little-endian ELF file says of itself. */
export function readElf(bytes) {
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46) throw new Stop('This is no ELF file.')
  if (bytes[4] !== 2 || bytes[5] !== 1) throw new Stop('This is no 64-bit little-endian ELF file.')
  const number = (at) => Number(bytes.readBigUInt64LE(at))
  const tableAt = number(0x28)
  const entrySize = bytes.readUInt16LE(0x3a)
  const entries = bytes.readUInt16LE(0x3c)
  const sections = Array.from({ length: entries }, (_, i) => {
    const at = tableAt + i * entrySize
    return {
      nameAt: bytes.readUInt32LE(at),
      type: bytes.readUInt32LE(at + 4),
      offset: number(at + 0x18),
      size: number(at + 0x20),
      link: bytes.readUInt32LE(at + 0x28),
      info: bytes.readUInt32LE(at + 0x2c),
    }
  })
  const text = (table, at) => bytes.toString('latin1', table.offset + at, bytes.indexOf(0, table.offset + at))
  const names = sections[bytes.readUInt16LE(0x3e)]

  const needed = []
  let flags1 = 0
  for (const section of sections.filter((each) => each.type === SHT.DYNAMIC)) {
    for (let at = section.offset; at < section.offset + section.size; at += 16) {
      const tag = number(at)
      if (tag === 0) break
      if (tag === DT.NEEDED) needed.push(text(sections[section.link], number(at + 8)))
      if (tag === DT.FLAGS_1) flags1 = number(at + 8)
    }
  }

  // Each record names a file and leads to the versions that are asked of it: { file, version }.
  const versions = []
  for (const section of sections.filter((each) => each.type === SHT.GNU_VERNEED)) {
    const strings = sections[section.link]
    let at = section.offset
    for (let i = 0; i < section.info; i++) {
      const file = text(strings, bytes.readUInt32LE(at + 4))
      let aux = at + bytes.readUInt32LE(at + 8)
      for (let j = 0; j < bytes.readUInt16LE(at + 2); j++) {
        versions.push({ file, version: text(strings, bytes.readUInt32LE(aux + 8)) })
        aux += bytes.readUInt32LE(aux + 12)
      }
      at += bytes.readUInt32LE(at + 12)
    }
  }

  return {
    machine: bytes.readUInt16LE(0x12),
    needed,
    versions,
    nodelete: (flags1 & DF_1_NODELETE) !== 0,
    stripped: !sections.some((each) => each.type === SHT.SYMTAB || text(names, each.nameAt).startsWith('.debug_')),
  }
}

/** Whether version `a` (`2.4`) comes after `b`. */
export function isNewer(a, b) {
  const [x, y] = [a, b].map((version) => version.split('.').map(Number))
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    if ((x[i] ?? 0) !== (y[i] ?? 0)) return (x[i] ?? 0) > (y[i] ?? 0)
  }
  return false
}

/** Sentences about a file that passes; a Stop with every fault of one that does not. */
export function checkBinary(path, platform) {
  const bytes = readFileSync(path)
  const good = []
  const bad = []
  const hold = (condition, yes, no) => (condition ? good.push(yes) : bad.push(no))
  hold(bytes.length <= maxBytes, `${bytes.length} bytes, at most ${maxBytes}`, `it has ${bytes.length} bytes, more than ${maxBytes}`)
  hold(!bytes.includes(hookMark), 'without test-hooks', 'it was built with the feature test-hooks')
  if (platform.os === 'linux') {
    const elf = readElf(bytes)
    hold(elf.machine === machines[platform.cpu], `for ${platform.cpu}`, `it is for machine ${elf.machine}, not ${platform.cpu}`)
    hold(elf.stripped, 'stripped', 'it still has its symbol table or debug sections')
    hold(elf.nodelete, 'marked nodelete', 'it may be unloaded under running threads: DF_1_NODELETE is not set')
    const asked = elf.versions.filter((each) => /^GLIBC_\d/.test(each.version)).map((each) => each.version.slice(6))
    const newest = asked.reduce((a, b) => (isNewer(b, a) ? b : a), '0')
    if (platform.libc === 'glibc') {
      hold(asked.length > 0, `asks for glibc ${newest}, at most ${maxGlibc}`, 'it asks for no glibc version, which no glibc build does')
      if (isNewer(newest, maxGlibc)) bad.push(`it asks for glibc ${newest}, newer than ${maxGlibc}`)
    } else {
      hold(asked.length === 0 && !elf.needed.includes('libc.so.6'), 'asks for no glibc', `it asks for glibc (${elf.needed.join(', ')})`)
    }
  }
  if (bad.length > 0) throw new Stop(`${path}:\n${bad.map((line) => `  ${line}`).join('\n')}`)
  return good
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(() => {
    const host = hostPlatform()
    const path = process.argv[2] ?? `${root}/npm/${host.name}/${binaryName(host)}`
    const platform = platforms.find((each) => binaryName(each) === basename(path)) ?? host
    for (const line of checkBinary(path, platform)) process.stdout.write(`${line}\n`)
  })
}
