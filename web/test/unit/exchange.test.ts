import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Exchange } from '../../src/gateway/exchange.js'

const BEAT_MS = 2_000

/** The two sides of an exchange, with timers and a clock that the test moves. */
function exchange(t: TestContext) {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const clock = { now: Date.now() }
  t.mock.method(Date, 'now', () => clock.now)
  const { port1, port2 } = new MessageChannel()
  const over: string[] = []
  const worker = new Exchange(
    port1,
    () => {},
    () => over.push('worker'),
    { calls: true },
  )
  new Exchange(
    port2,
    () => {},
    () => over.push('tab'),
  )
  t.after(() => worker.close())
  const beats = async (count: number) => {
    for (let beat = 0; beat < count; beat++) {
      clock.now += BEAT_MS
      t.mock.timers.tick(BEAT_MS)
      for (let i = 0; i < 10; i++) await turn() // the messages cross
    }
  }
  return { clock, port2, over, beats }
}

test('an exchange goes on after the machine has slept, or its clock was set', async (t) => {
  const { clock, over, beats } = exchange(t)
  await beats(8)
  for (const change of [60_000, -60_000, 3_600_000]) {
    clock.now += change
    await beats(8)
  }
  assert.deepEqual(over, [])
})

test('an exchange ends after five heartbeats without an answer, which are counted anew after a sleep', async (t) => {
  const { clock, over, beats, port2 } = exchange(t)
  await beats(1)
  t.mock.method(port2, 'postMessage', () => {})
  await beats(4)
  clock.now += 60_000
  await beats(5)
  assert.deepEqual(over, [])
  await beats(1)
  assert.deepEqual(over.sort(), ['tab', 'worker'])
})
