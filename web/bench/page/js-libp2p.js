// A js-libp2p tab. It differs from the defaults in three ways:
//  - the gater allows private addresses, which browsers deny by default: a benchmark on one machine uses them;
//  - the connection monitor is off: it closes connections that are too busy to answer its pings in time, as these are;
//  - a protocol may have more than 64 streams at a time, because the benchmark opens 100.
// If the start is measured, it has what our program has: both transports, and GossipSub.
import { circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { webSockets } from '@libp2p/websockets'
import { webTransport } from '@libp2p/webtransport'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { Stream } from './js-libp2p-stream.js'
import { run } from './measure.js'

const { transport, plan } = globalThis.bench
const transports = { websocket: webSockets, webtransport: webTransport }
const used = plan.start ? Object.values(transports) : [transports[transport]]

let node
run({
  async start() {
    node = await createLibp2p({
      transports: [...used.map((make) => make()), circuitRelayTransport()],
      addresses: { listen: plan.start === 'app' ? [`${plan.relay}/p2p-circuit`] : [] },
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      connectionGater: { denyDialMultiaddr: () => false },
      connectionMonitor: { enabled: false },
      services: { identify: identify(), ping: ping(), ...(plan.start && { pubsub: gossipsub() }) },
    })
  },
  async reserved() {
    while (!node.getMultiaddrs().some((addr) => addr.toString().includes('/p2p-circuit'))) {
      await new Promise((resolve) => node.addEventListener('self:peer:update', resolve, { once: true }))
    }
  },
  connect: (addr) => node.dial(multiaddr(addr)),
  address: async (connection) => connection.remoteAddr.toString(),
  async open(connection, protocol) {
    const options = { maxOutboundStreams: 1000, runOnLimitedConnection: true }
    return new Stream(await connection.newStream(protocol, options))
  },
  async serve(protocol, f) {
    await node.handle(protocol, (raw) => f(new Stream(raw)))
    return node.peerId.toString()
  },
  /** js-libp2p has no such messages: this reads the same frames with as little work as possible. */
  async messages(_, heard) {
    await node.handle('/tombolo/msg/2.0.0', (raw) => {
      const frames = new Frames(heard)
      raw.addEventListener('message', ({ data }) => frames.push(data.subarray()))
    })
    return node.peerId.toString()
  },
})

/** Cuts a stream into frames, each preceded by its length as a varint, and copies each of them. */
class Frames {
  constructor(heard) {
    this.heard = heard
    this.rest = new Uint8Array(0)
  }
  push(chunk) {
    const bytes = new Uint8Array(this.rest.length + chunk.length)
    bytes.set(this.rest)
    bytes.set(chunk, this.rest.length)
    let at = 0
    for (;;) {
      let length = 0
      let next = at
      let shift = 0
      while (next < bytes.length && bytes[next] > 127) {
        length |= (bytes[next++] & 127) << shift
        shift += 7
      }
      if (next >= bytes.length) break
      length |= bytes[next++] << shift
      if (next + length > bytes.length) break
      this.heard(bytes.slice(next, next + length))
      at = next + length
    }
    this.rest = bytes.slice(at)
  }
}
