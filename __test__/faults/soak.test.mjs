// FAULTS 45: the short form of `npm run soak`; docs/reliability.md has the figures of the long one.
import test from 'ava'
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const script = fileURLToPath(new URL('../../scripts/soak.mjs', import.meta.url))

/** Runs in a process of its own, so that its memory is nobody else's. */
async function soak(t, ...args) {
  t.timeout(300_000)
  // It ends with 1 when anything is wrong, and says what in its last line.
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', script, '--json', ...args], { maxBuffer: 1 << 24, timeout: 280_000 }).catch((error) => error)
  const result = JSON.parse(stdout.trim().split('\n').at(-1))
  t.log(JSON.stringify(result))
  return result
}

test('FAULTS 45: 30,000 mixed calls leave memory flat and nothing pending', async (t) => {
  const result = await soak(t, '--calls', '30000', '--growth', '48')
  t.deepEqual(result.bad, [])
  t.true(result.calls >= 30_000)
})

test('FAULTS 45: with the server killed and connections cut, each outcome is what was reported', async (t) => {
  const result = await soak(t, '--kill', '--seconds', '12', '--every', '4', '--growth', '64')
  t.deepEqual(result.bad, [])
  t.true(result.kills >= 1 && result.cuts >= 1 && result.written > 0 && result.checked > 0)
})
