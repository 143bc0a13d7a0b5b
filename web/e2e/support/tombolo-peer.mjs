// The npm package under Node.js, found as a user's program finds it: by its name.
import { createHash, randomBytes } from 'node:crypto'
import { createNode } from '@tombolo/node'
import { messenger } from './messenger.mjs'
import { serve } from './rpc.mjs'

let node
let reserved

const methods = {
  async start({ identity, ...options }) {
    // A key comes as a list of numbers.
    node = await createNode({ ...options, ...(identity && { identity: Uint8Array.from(identity) }) })
    Object.assign(methods, messenger(node))
    reserved = new Promise((resolve) => node.addEventListener('relay:reserved', ({ detail }) => resolve(detail)))
    const [held] = await node.relays()
    return {
      id: node.id,
      globals: ['Go', 'fs', 'path', 'tombolo'].filter((name) => name in globalThis),
      held: held ?? null,
    }
  },
  reserved: () => reserved,
  addrs: () => node.addrs(),
  peers: () => node.peers(),
  ping: (peer) => node.ping(peer),
  async echo(peer, size) {
    const sent = randomBytes(size)
    const back = await node.echo(peer, sent)
    return { bytes: back.length, same: sha256(back) === sha256(sent) }
  },
}
serve(methods)

function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex')
}
