// A js-libp2p tab that connects to another over /webrtc. For what differs from its defaults, see js-libp2p.js; also, it asks no third-party
// servers for its address. @libp2p/webrtc is the one in web/package.json, which is there for the tests.
import { circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { webRTC } from '@libp2p/webrtc'
import { webSockets } from '@libp2p/websockets'
import { webTransport } from '@libp2p/webtransport'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { Stream } from './js-libp2p-stream.js'
import { run } from './tabs.js'

const { transport, plan } = globalThis.bench
let node
let connection

run({
  async start() {
    node = await createLibp2p({
      addresses: { listen: ['/p2p-circuit', '/webrtc'] },
      transports: [
        { websocket: webSockets, webtransport: webTransport }[transport](),
        circuitRelayTransport(),
        webRTC({ rtcConfiguration: { iceServers: [] } }),
      ],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      connectionGater: { denyDialMultiaddr: () => false },
      connectionMonitor: { enabled: false },
      services: { identify: identify() },
    })
    await node.dial(multiaddr(plan.relay))
  },
  serve: (name, f) =>
    node.handle(`/x/bench/${name}`, (raw) => f(new Stream(raw)), { maxInboundStreams: 1000, runOnLimitedConnection: true }),
  async address() {
    for (;;) {
      const addr = node.getMultiaddrs().find((addr) => String(addr).includes('/p2p-circuit/p2p/'))
      if (addr !== undefined) return String(addr)
      await new Promise((resolve) => node.addEventListener('self:peer:update', resolve, { once: true }))
    }
  },
  async meet(addr) {
    await node.dial(multiaddr(addr))
    const start = performance.now()
    connection = await node.dial(multiaddr(addr.replace('/p2p-circuit/', '/p2p-circuit/webrtc/')))
    const took = performance.now() - start
    if (!String(connection.remoteAddr).includes('/webrtc')) throw new Error(`connected over ${connection.remoteAddr}`)
    return took
  },
  open: async (name) => new Stream(await connection.newStream(`/x/bench/${name}`, { maxOutboundStreams: 1000 })),
})
