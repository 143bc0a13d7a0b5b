// A Node.js process that tests use like a page: see node-tab.ts. It finds the package by its name, as a user's program does.
import { createNode } from '@tombolo/node'
import { serve } from './rpc.mjs'
import { decode, encode } from './structured.mjs'

/** Evaluated code knows it by this name. It is not a global, so that code that checks for a page's globals finds none. */
const window = {}

serve({
  /** Creates the window's node, and waits for a reservation. */
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
