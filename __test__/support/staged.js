'use strict'

// The package with another addon: a copy of its JavaScript in a folder of its own, beside that addon.

const { cpSync, mkdtempSync, rmSync } = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const root = path.join(__dirname, '../..')

/** The folder of the copy; it goes with the test. */
function stagePackage(t, addon, name) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'redis-bulk-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  for (const each of ['index.js', 'package.json', 'lib']) cpSync(path.join(root, each), path.join(folder, each), { recursive: true })
  cpSync(addon, path.join(folder, name))
  return folder
}

module.exports = { stagePackage }
