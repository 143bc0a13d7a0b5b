import { createNode, type TomboloNode } from '@tombolo/node'

/** Creates a node that uses the relay in `?relay=` of the page's address, and reports its progress in words. */
export async function join(tell: (state: string) => void): Promise<TomboloNode> {
  const relay = new URLSearchParams(location.search).get('relay') ?? 'http://localhost:8080'
  try {
    tell('loading the node…')
    const node = await createNode({
      relays: [relay],
      onProgress: ({ loaded }) => tell(`loading the node, ${(loaded / 1e6).toFixed(0)} MB…`),
    })
    node.addEventListener('relay:reserved', () => tell('joined'))
    node.addEventListener('relay:lost', () => tell('the relay is gone; trying again…'))
    node.addEventListener('relay:failed', ({ detail }) =>
      tell(`no place on the relay: ${detail.reason}; trying again…`),
    )
    tell((await node.relays()).length > 0 ? 'joined' : 'joining…')
    return node
  } catch (error) {
    tell(`${String(error)}. Is there a relay at ${relay}? See README.md.`)
    throw error
  }
}

/** Returns a colour for a peer, the same in every tab. */
export function hue(peer: string): number {
  let hash = 0
  for (const char of peer) hash = (hash * 31 + char.charCodeAt(0)) >>> 0
  return hash % 360
}
