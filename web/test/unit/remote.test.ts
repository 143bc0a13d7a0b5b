import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Hired, Place } from '../../src/page/places.js'
import type { Files } from '../../src/load.js'
import { TomboloNode } from '../../src/node.js'
import { offerConnections } from '../../src/page/connections.js'
import { RemoteNode } from '../../src/page/remote.js'
import type { Packet } from '../../src/wire/wire.js'

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
  return { at, seen, workers, hired }
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

/** A place whose workers answer every call. `calls` records what they got. */
function answering() {
  const calls: { method: string; values: unknown[] }[] = []
  const workers: Hired[] = []
  const hire = async () => {
    const hired = place().hired()
    hired.port.postMessage = (packet, transfer) => {
      const got = structuredClone(packet, { transfer }) as Packet
      if (got.kind !== 'call') return
      const { id, method, sent } = got
      calls.push({ method, values: sent.values })
      const values = [method === 'start' ? { id: 'me', network: 'n', version: 'v' } : calls.length]
      queueMicrotask(() => {
        hired.port.onmessage?.({ data: { kind: 'done', id, sent: { values, marks: [] } } } as never)
      })
    }
    workers.push(hired)
    return hired
  }
  const at: Place = { kind: 'dedicated', hire }
  const got = (method: string) => calls.filter((call) => call.method === method).map(({ values }) => values)
  return { at, workers, got }
}

test('a caller may reuse its arguments at once, also while a worker is restarted', async (t) => {
  const { at, workers, got } = answering()
  const config = { relays: ['/relay'] }
  const starting = RemoteNode.start(at, files(), config, {})
  config.relays.length = 0
  const remote = await starting
  t.after(() => remote.close())
  const node = new TomboloNode(remote, remote, new AbortController())
  const bytes = new Uint8Array(1)
  const peers = ['a', 'b']
  const options = { allow: ['friend'] }
  const limits = { count: 5 }
  const all: Promise<unknown>[] = []
  const call = () => {
    all.push(node.send('a', 'chat', bytes), node.sendAll(peers, 'chat', bytes), node.keepHistory('chat', limits))
    all.push(node.sendTo(() => true, 'chat', bytes).catch(() => {})) // the worker's answer is not one of `peers`
    all.push(node.listen('/x/a', () => {}, options))
  }
  bytes[0] = 1
  call()
  bytes[0] = 2
  await Promise.all(all)
  workers[0]!.onerror!({ message: 'it crashed' })
  call()
  bytes[0] = 3
  peers.length = options.allow.length = 0
  limits.count = 0
  await Promise.all(all)

  const one = new Uint8Array([1])
  const two = new Uint8Array([2])
  assert.deepEqual(got('send'), [
    ['a', 'chat', one],
    ['a', 'chat', two],
  ])
  assert.deepEqual(got('sendAll'), [
    [['a', 'b'], 'chat', one],
    [['a', 'b'], 'chat', two],
  ])
  const [listened, ...others] = got('listen').map((args) => args[2])
  assert.deepEqual(
    [listened, ...others],
    [options, options, options].map(() => ({ allow: ['friend'] })),
  )
  assert(got('keepHistory').every((args) => (args[1] as typeof limits).count === 5))
  assert.deepEqual(
    got('start').map((args) => (args[1] as typeof config).relays),
    [['/relay'], ['/relay']],
  )
})

test('a call whose signal aborts while a worker is restarted is not made', async (t) => {
  const { at, workers, got } = answering()
  const remote = await RemoteNode.start(at, files(), {}, {})
  t.after(() => remote.close())
  const node = new TomboloNode(remote, remote, new AbortController())
  workers[0]!.onerror!({ message: 'it crashed' })
  const abort = new AbortController()
  const sent = node.send('a', 'chat', new Uint8Array(1), { signal: abort.signal })
  abort.abort(new Error('the reason'))
  await assert.rejects(sent, { message: 'the reason' })
  await node.disconnect('a')
  assert.deepEqual(got('send'), [])
})

test('bytes for peers that a filter picks are those of the call', async () => {
  const sent: unknown[][] = []
  const raw = Object.assign(new EventTarget(), {
    peers: async () => [{ id: 'a' }],
    sendAll: async (...args: unknown[]) => void sent.push(args),
  })
  const program = { ended: new AbortController().signal, call: (f: () => unknown) => f() }
  const node = new TomboloNode(raw as never, program as never, new AbortController())
  const bytes = new Uint8Array([1])
  const sending = node.sendTo(() => true, 'chat', bytes)
  bytes[0] = 2
  await sending
  assert.deepEqual(sent, [[['a'], 'chat', new Uint8Array([1]), undefined]])
})
