// A process of Node.js that is what a page is to the tests: see node-tab.ts. The package is found as a user's program finds it, by its name.
import { createNode } from '@tombolo/node'
import { serve } from './rpc.mjs'
import { decode, encode } from './structured.mjs'

/** What is evaluated knows it by its name. It is no global: whoever looks for those of a page finds none here. */
const window = {}

serve({
  /** Makes the window's node, and waits for a reservation. */
  async create(options) {
    const node = await createNode(decode(options))
    const reserved = new Promise((resolve) => node.addEventListener('relay:reserved', resolve, { once: true }))
    if ((await node.relays()).length === 0) await reserved
    window.tombolo = node
    return node.id
  },
  async evaluate(source, arg) {
    const value = new Function('window', `return (${source})`)(window)
    return encode(await (typeof value === 'function' ? value(decode(arg)) : value))
  },
})
