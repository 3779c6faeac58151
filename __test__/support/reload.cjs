'use strict'

// Loads the package again and again, uses each copy and forgets it; prints the bytes of array buffers after the first
// and the second half. A file of its own: Node keeps what `node -e` required.

const entry = require.resolve('../../index.js')
const settled = () => new Promise((resolve) => setImmediate(resolve))

async function main() {
  const sizes = []
  for (let round = 0; round < 120; round++) {
    for (const key of Object.keys(require.cache)) if (key !== __filename) delete require.cache[key]
    const client = require(entry).createClient({ url: process.env.URL })
    module.children.length = 0
    for (let i = 0; i < 8; i++) await client.bulkLookup('', ['k'])
    if (round % 60 !== 59) continue
    for (let i = 0; i < 3; i++) {
      await settled()
      global.gc()
    }
    sizes.push(process.memoryUsage().arrayBuffers)
  }
  console.log(JSON.stringify(sizes))
}

main()
