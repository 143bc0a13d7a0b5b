import assert from 'node:assert/strict'
import { setMaxListeners } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Message, PeerInfo, TomboloNode } from '@tombolo/node'

// Pages that tell each other of their connections. The broadcasts between them are simulated: what is counted is how many there are.

Object.assign(globalThis, {
  document: { hidden: false, addEventListener: () => {} },
  requestAnimationFrame: (f: () => void) => setTimeout(f),
  MessageChannel: class {
    port1 = {}
    port2 = { postMessage: () => {} }
  },
})
const { MAX_PAGES, Mesh } = await import('../../page/src/mesh/mesh.js')

/** A network in which everybody hears at once what another one says. */
class Network {
  /** Who has said something, in order. */
  said: string[] = []
  readonly #ears = new Map<string, (message: Message) => void>()

  node(id: string): TomboloNode {
    const node = {
      id,
      subscribe: async () => this.#heardBy(id),
      presence: async () => new Promise(() => {}),
      peers: async () => new Array<PeerInfo>(),
      relays: async () => [],
      broadcast: async (_type: string, data: Uint8Array) => {
        this.said.push(id)
        for (const ear of this.#ears.values()) ear({ from: id, via: id, data, replayed: false } as Message)
      },
    }
    return node as unknown as TomboloNode
  }

  async *#heardBy(id: string): AsyncGenerator<Message> {
    const waiting = new Array<Message>()
    let wake = () => {}
    this.#ears.set(id, (message) => {
      waiting.push(message)
      wake()
    })
    for (;;) {
      while (waiting.length > 0) yield waiting.shift()!
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }
}

/** Twice as many pages as answer, of which one asks: returns which ones answer. */
async function asked(): Promise<Set<string>> {
  const network = new Network()
  const over = new AbortController()
  setMaxListeners(0, over.signal)
  const pages = Array.from({ length: 2 * MAX_PAGES }, (_, i) => {
    const mesh = new Mesh()
    mesh.start(network.node(`page${i}`), over.signal)
    return mesh
  })
  await sleep(0) // they listen
  const away = pages[0]!.look()
  for (const until = performance.now() + 60_000; pages[0]!.view.value.heard.size < MAX_PAGES; await sleep(50)) {
    assert.ok(performance.now() < until, `${network.said.length} answers`)
  }
  await sleep(2_000) // by when all would have answered
  away()
  over.abort()
  const [asker, ...answered] = network.said
  assert.equal(asker, 'page0')
  assert.ok(answered.length < MAX_PAGES * 1.1, `${answered.length} answers`)
  return new Set(answered)
}

test('however many pages there are, a question has a bounded number of answers, from the same pages each time', async () => {
  const [first, second] = await Promise.all([asked(), asked()])
  assert.ok([...second].filter((id) => !first.has(id)).length < MAX_PAGES / 4)
})
