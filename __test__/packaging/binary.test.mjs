// The check of binaries for publishing has to see each thing that it is there for.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { checkBinary, isNewer, readElf } from '../../scripts/check-binary.mjs'
import { binaryName, hostPlatform } from '../../scripts/platforms.mjs'
import { emptyFolder, root } from './support.mjs'

const host = hostPlatform()
const linux = host.os === 'linux' && host.libc === 'glibc' ? test : test.skip
const folder = emptyFolder(test, 'binary')
const local = process.env.RB_STAGE_BINARY || join(root, binaryName(host))

/** The faults that the check finds in a copy of the local build after `change`, one string. */
function faults(change, platform = host) {
  const bytes = Buffer.from(readFileSync(local))
  const path = join(folder, `${Math.random()}.node`)
  writeFileSync(path, change(bytes) ?? bytes)
  try {
    checkBinary(path, platform)
    return ''
  } catch (error) {
    return error.message
  }
}

/** Writes over the text of a version that the file asks for, by one of the same length. */
function askFor(bytes, version) {
  const { versions } = readElf(bytes)
  const old = versions.find((each) => /^GLIBC_2\.\d\d$/.test(each.version)).version
  bytes.write(`GLIBC_${version}`, bytes.indexOf(`\0${old}\0`) + 1, 'latin1')
}

test('versions are compared by number', (t) => {
  t.true(isNewer('2.30', '2.4'))
  t.true(isNewer('2.2.6', '2.2.5'))
  t.true(isNewer('3', '2.99'))
  t.false(isNewer('2.28', '2.28'))
  t.false(isNewer('2.2', '2.2.5'))
})

linux('the addon is marked so that it stays in memory, and asks for glibc', (t) => {
  const elf = readElf(readFileSync(local))
  t.true(elf.nodelete)
  t.true(elf.needed.includes('libc.so.6'))
  t.true(elf.versions.some((each) => each.file === 'libc.so.6' && each.version.startsWith('GLIBC_2.')))
})

linux('a newer glibc is refused', (t) => {
  t.regex(faults((bytes) => askFor(bytes, '2.99')), /asks for glibc 2\.99, newer than 2\.28/)
  t.notRegex(faults(() => {}), /2\.99/)
})

linux('a binary that may be unloaded is refused', (t) => {
  const withoutFlag = (bytes) => {
    // DT_FLAGS_1, the only entry of its kind, as it stands in the dynamic section.
    const tag = Buffer.from([0xfb, 0xff, 0xff, 0x6f, 0, 0, 0, 0])
    const at = bytes.indexOf(tag)
    bytes.writeUInt32LE(bytes.readUInt32LE(at + 8) & ~0x8, at + 8)
  }
  t.regex(faults(withoutFlag), /DF_1_NODELETE/)
  t.notRegex(faults(() => {}), /DF_1_NODELETE/)
})

linux('a binary for another processor, for another libc, or of more than 4 MB is refused', (t) => {
  const other = host.cpu === 'x64' ? 'arm64' : 'x64'
  t.regex(faults(() => {}, { ...host, cpu: other }), new RegExp(`not ${other}`))
  t.regex(faults(() => {}, { ...host, libc: 'musl' }), /it asks for glibc/)
  t.regex(faults((bytes) => Buffer.concat([bytes, Buffer.alloc(4_000_001)])), /more than 4000000/)
})

linux('a binary that can panic on purpose is refused', (t) => {
  t.regex(faults((bytes) => Buffer.concat([bytes, Buffer.from("by redis-bulk's test-hooks")])), /feature test-hooks/)
  t.notRegex(faults(() => {}), /feature test-hooks/)
})

linux('a binary with symbols is refused', (t) => {
  // A section of another kind becomes a symbol table.
  const withSymbols = (bytes) => {
    const at = Number(bytes.readBigUInt64LE(0x28)) + bytes.readUInt16LE(0x3a)
    bytes.writeUInt32LE(2, at + 4)
  }
  t.regex(faults(withSymbols), /symbol table/)
})

test('a file that is no ELF is refused', (t) => {
  t.throws(() => readElf(Buffer.from('MZ'.repeat(64))), { message: /no ELF/ })
})
