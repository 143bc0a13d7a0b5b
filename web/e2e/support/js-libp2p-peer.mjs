// A js-libp2p peer, made without any code of this project.
import { circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { webSockets } from '@libp2p/websockets'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { serve } from './rpc.mjs'

// js-libp2p is written for Node.js 22.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((a, b) => ([resolve, reject] = [a, b]))
  return { promise, resolve, reject }
}

let node
const heard = []
let hear = () => {}

serve({
  async start() {
    node = await createLibp2p({
      transports: [webSockets(), circuitRelayTransport()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      connectionGater: { denyDialMultiaddr: () => false }, // by default it does not dial private addresses
      // The monitor allows one ping at a time, and closes the connection if a test's own ping is that one.
      connectionMonitor: { enabled: false },
      services: { identify: identify(), ping: ping(), pubsub: gossipsub() },
    })
    node.services.pubsub.addEventListener('message', ({ detail }) => {
      heard.push(detail)
      hear()
    })
    return node.peerId.toString()
  },
  async dial(addr) {
    const connection = await node.dial(multiaddr(addr))
    return { peer: connection.remotePeer.toString(), addr: connection.remoteAddr.toString() }
  },
  ping: (addr) => node.services.ping.ping(multiaddr(addr)),
  /** Returns what it learned about a peer through identify. */
  async identified(addr) {
    const connection = await node.dial(multiaddr(addr))
    const result = await node.services.identify.identify(connection)
    return { agent: result.agentVersion, protocols: result.protocols, addrs: result.listenAddrs.map(String) }
  },
  async echo(addr, text) {
    const stream = await node.dialProtocol(multiaddr(addr), '/tombolo/echo/1.0.0', { runOnLimitedConnection: true })
    stream.send(new TextEncoder().encode(text))
    await stream.close()
    const parts = []
    for await (const part of stream) parts.push(part.subarray())
    return Buffer.concat(parts).toString()
  },
  subscribe: (topic) => node.services.pubsub.subscribe(topic),
  /** Resolves once another peer is subscribed to the topic. */
  async subscribers(topic) {
    const pubsub = node.services.pubsub
    while (pubsub.getSubscribers(topic).length === 0) {
      await new Promise((resolve) => pubsub.addEventListener('subscription-change', resolve, { once: true }))
    }
  },
  async publish(topic, data) {
    const { recipients } = await node.services.pubsub.publish(topic, Uint8Array.from(data))
    return recipients.length
  },
  /** Waits for a message that contains this text; there are also messages about presence. */
  async heard(text) {
    for (;;) {
      const found = heard.find(({ data }) => Buffer.from(data).includes(text))
      if (found) return { topic: found.topic, from: found.from.toString(), signed: found.type === 'signed' }
      await new Promise((resolve) => (hear = resolve))
    }
  },
  close: () => node.stop(),
})
