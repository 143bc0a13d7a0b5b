import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { offerConnections } from '../../src/page/connections.js'
import { Life } from '../../src/page/life.js'
import type { Hired } from '../../src/page/places.js'
import type { Packet } from '../../src/wire/wire.js'

const BEAT_MS = 1000

/** A worker that says hello, starts its node when the test says so, and may answer heartbeats or not. */
function life() {
  let starting: number | undefined
  let answers = false
  const deaths: string[] = []
  const hired: Hired = {
    port: {
      onmessage: null,
      postMessage(packet: unknown) {
        const { kind, what, id } = packet as { kind: string; what?: string; id?: number }
        if (kind === 'call') starting = id
        if (what === 'hello' || (what === 'beat' && answers)) say({ kind: 'tell', what, detail: undefined })
      },
    },
    lock: undefined,
    connections: offerConnections({ postMessage() {} }, false),
    onerror: null,
    onreplaced: null,
    dismiss() {},
  }
  const say = (packet: Packet) => void hired.port.onmessage?.({ data: packet } as MessageEvent<Packet>)
  const it = new Life(hired, { event() {}, died: (_, why) => void deaths.push(why.message) })
  return {
    it,
    deaths,
    answer: () => (answers = true),
    started: () => say({ kind: 'done', id: starting!, sent: { values: [{ id: 'a' }], marks: [] } }),
  }
}

const FILES = { program: 'https://example.com/program.wasm', rest: 'https://example.com/program.rest.wasm' }

test('a worker that starts slowly is not taken for one that is stuck', async () => {
  mock.timers.enable({ apis: ['setInterval', 'setTimeout'] })
  try {
    const { it, deaths, answer, started } = life()
    const born = it.start(FILES, {}, {})
    mock.timers.tick(50 * BEAT_MS)
    assert.deepEqual(deaths, [])
    started()
    await born
    answer()
    mock.timers.tick(20 * BEAT_MS)
    assert.deepEqual(deaths, [], 'and neither is one that answers')
    it.end(new Error('over'))
  } finally {
    mock.timers.reset()
  }
})

test('a worker whose node is up and that answers no heartbeats is stuck, and so is one that never starts', async () => {
  mock.timers.enable({ apis: ['setInterval', 'setTimeout'] })
  try {
    const up = life()
    const born = up.it.start(FILES, {}, {})
    up.started()
    await born
    mock.timers.tick(10 * BEAT_MS)
    assert.match(up.deaths[0]!, /did not answer 5 heartbeats/)
    up.it.end(new Error('over'))
    const never = life()
    never.it.start(FILES, {}, {}).catch(() => {})
    mock.timers.tick(90 * BEAT_MS)
    assert.match(never.deaths[0]!, /did not answer 60 heartbeats/)
    never.it.end(new Error('over'))
    await turn()
  } finally {
    mock.timers.reset()
  }
})
