import test from 'ava'
import windowsModule from '../../lib/windows.js'

const { Windows } = windowsModule
const long = { points: 1, durationMs: 600_000, blockMs: 0 }

test('made-up ids do not fill the memory: the oldest windows are forgotten', (t) => {
  const windows = new Windows()
  for (let id = 0; id < 150_000; id++) windows.consume(`id${id}`, long, 1)
  t.true(windows.consume('id0', long, 0).allowed)
  t.false(windows.consume('id149999', long, 0).allowed)
  t.false(windows.consume('id100000', long, 0).allowed)
})

test('looking opens no window', (t) => {
  const windows = new Windows()
  t.deepEqual(windows.consume('a', long, 0), { allowed: true, consumed: 0, blocked: false, resetMs: 0 })
  t.deepEqual(windows.consume('a', { ...long, points: 0 }, 1), { allowed: false, consumed: 0, blocked: false, resetMs: 0 })
  t.is(windows.consume('a', long, 1).consumed, 1)
})
