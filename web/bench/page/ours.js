// A Tombolo tab, from the built npm package. `side` says where the node runs; `ours` is the default place.
import { createNode } from '../../dist/npm/index.js'
import { run } from './measure.js'
import { Stream } from './ours-stream.js'

const { transport, side, plan } = globalThis.bench
const worker = side === 'ours' ? 'dedicated' : side

let node
run({
  async start() {
    const options = { relays: [], identity: 'ephemeral', transports: [transport], wasm: '/tombolo.wasm' }
    if (plan.start) delete options.transports
    // What an app uses that knows the relay's URL and wants to be the same peer each time.
    const app = { relays: [location.origin], identity: 'persistent', histories: 'persistent' }
    node = await createNode({ worker, ...options, ...(plan.start === 'app' && app) })
    if (node.worker !== worker) throw new Error(`the node runs in ${node.worker}, not in ${worker}`)
  },
  async reserved() {
    const reserved = new Promise((resolve) => node.addEventListener('relay:reserved', resolve, { once: true }))
    if ((await node.relays()).length === 0) await reserved
  },
  connect: (addr) => node.connect(addr),
  async address(peer) {
    return (await node.peers()).find(({ id }) => id === peer).addr
  },
  async open(peer, protocol) {
    return new Stream(await node.open(peer, protocol, { allowCustomProtocol: true }))
  },
  async serve(protocol, f) {
    await node.listen(protocol, (raw) => f(new Stream(raw)))
    return node.id
  },
  async messages(type, heard) {
    const subscription = await node.subscribe(type, { policy: 'block' })
    void (async () => {
      for await (const { missed } of subscription) {
        if (missed > 0) throw new Error(`${missed} messages were lost`)
        heard()
      }
    })()
    return node.id
  },
})
