// A Tombolo tab that connects to another: directly, or through the relay all the time.
import { createNode } from '../../dist/npm/index.js'
import { Stream } from './ours-stream.js'
import { run } from './tabs.js'

const { transport, side, plan } = globalThis.bench
const direct = side === 'circuit' ? 'never' : 'auto'
let node
let peer

run({
  async start() {
    node = await createNode({ relays: [plan.relay], transports: [transport], wasm: '/tombolo.wasm', direct })
    const reserved = new Promise((resolve) => node.addEventListener('relay:reserved', resolve, { once: true }))
    if ((await node.relays()).length === 0) await reserved
  },
  serve: (name, f) => node.listen(`/x/bench/${name}`, (raw) => f(new Stream(raw))),
  address: async () => node.id,
  async meet(id) {
    peer = id
    const made = new Promise((resolve) => node.addEventListener('peer:direct', resolve, { once: true }))
    await node.connect(`${plan.relay}/p2p-circuit/p2p/${id}`)
    if (direct === 'never') return undefined
    const start = performance.now()
    const stream = await this.open('echo') // a peer that sends nothing gets no direct connection
    await made
    const took = performance.now() - start
    await stream.end()
    while ((await stream.receive()) !== null);
    return took
  },
  open: async (name) => new Stream(await node.open(peer, `/x/bench/${name}`)),
})
