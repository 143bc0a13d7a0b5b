import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Hired, Place } from '../../src/page/places.js'
import type { Files } from '../../src/load.js'
import { offerConnections } from '../../src/page/connections.js'
import { RemoteNode } from '../../src/page/remote.js'

const EMPTY = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])

/** A place whose workers stay silent, and a record of what happened in it. */
function place() {
  const seen: string[] = []
  const workers: Hired[] = []
  const hired = (): Hired => ({
    port: { onmessage: null, postMessage: (packet) => void seen.push((packet as { kind: string }).kind) },
    lock: undefined,
    connections: offerConnections({ postMessage() {} }, false),
    onerror: null,
    onreplaced: null,
    dismiss: () => void seen.push('dismissed'),
  })
  const at: Place = {
    kind: 'dedicated',
    hire: async () => {
      seen.push('hired')
      workers.push(hired())
      return workers.at(-1)!
    },
  }
  return { at, seen, workers }
}

const files = (): Files => ({ program: new WebAssembly.Module(EMPTY), rest: 'https://example.com/rest.wasm' })

test('a worker is begun while the program is on its way, and started when it is there', async () => {
  const { at, seen } = place()
  let arrived!: (files: Files) => void
  const program = new Promise<Files>((resolve) => (arrived = resolve))
  void RemoteNode.start(at, program, {}, {})
  await turn()
  assert.deepEqual(seen, ['hired'])
  arrived(files())
  await turn()
  assert.deepEqual(seen, ['hired', 'tell', 'call'])
})

test('a worker that cannot be loaded fails the node, once the program is there', async () => {
  const { at, workers } = place()
  const started = RemoteNode.start(at, turn().then(files), {}, {})
  await Promise.resolve()
  workers[0]!.onerror!({})
  await assert.rejects(started, { code: 'worker-unreachable' })
})

test('without a program there is no worker left, and the failure is that of the program', async () => {
  const { at, seen } = place()
  const started = RemoteNode.start(at, Promise.reject(new Error('no such program')), {}, {})
  await assert.rejects(started, { message: 'no such program' })
  assert.equal(seen.at(-1), 'dismissed')
})

test('without a worker the failure is that of the worker, whatever becomes of the program', async () => {
  const at: Place = { kind: 'dedicated', hire: () => Promise.reject(new Error('no worker')) }
  const started = RemoteNode.start(at, Promise.reject(new Error('no such program')), {}, {})
  await assert.rejects(started, { message: 'no worker' })
  await turn() // an unhandled rejection fails the test
})
