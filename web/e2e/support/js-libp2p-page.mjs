// A page that is a js-libp2p peer, made without any code of this project. Bundled by `direct.spec.ts`.
import { circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { webRTC } from '@libp2p/webrtc'
import { webSockets } from '@libp2p/websockets'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const echo = '/x/echo'
let node

globalThis.jsLibp2p = {
  /** Starts the peer. Resolves to its address through the relay. */
  async start(relay) {
    node = await createLibp2p({
      addresses: { listen: ['/p2p-circuit', '/webrtc'] },
      transports: [
        webSockets(),
        circuitRelayTransport(),
        webRTC({ rtcConfiguration: { iceServers: [] } }), // otherwise it asks servers of third parties
      ],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      connectionGater: { denyDialMultiaddr: () => false }, // by default it does not dial private addresses
      services: { identify: identify() },
    })
    await node.handle(
      echo,
      async (stream) => {
        for await (const part of stream) {
          if (!stream.send(part)) await stream.onDrain()
        }
        await stream.close()
      },
      { runOnLimitedConnection: true },
    )
    await node.dial(multiaddr(relay))
    for (;;) {
      const addr = node.getMultiaddrs().find((addr) => String(addr).includes('/p2p-circuit/p2p/'))
      if (addr !== undefined) return String(addr)
      await new Promise((resolve) => node.addEventListener('self:peer:update', resolve, { once: true }))
    }
  },
  /**
   * Dials a peer, and has bytes echoed on the connection. Resolves to the connection's address and to the number of bytes that came back
   * intact.
   */
  async echo(addr, size) {
    const connection = await node.dial(multiaddr(addr))
    const stream = await connection.newStream(echo)
    const sent = Uint8Array.from({ length: size }, (_, i) => (i * 7) % 251)
    const reading = (async () => {
      let at = 0
      for await (const part of stream) for (const byte of part.subarray()) if (byte === sent[at]) at++
      return at
    })()
    for (let at = 0; at < size; at += 16384) {
      if (!stream.send(sent.subarray(at, at + 16384))) await stream.onDrain()
    }
    await stream.close()
    return { addr: connection.remoteAddr.toString(), same: await reading }
  },
}
