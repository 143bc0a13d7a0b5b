import { serveGateway, type Gateway, type TomboloNode } from '@tombolo/node'
import { message } from '../failures.js'

/** How a peer's site is shown. */
export interface ShownSite {
  url: string
  sandbox: string
  /** Why the site's scripts do not run; undefined if they do. */
  caveat: string | undefined
}

/** Shows sites of peers: each under its own name below this page's host if there is such a name, otherwise without scripts. */
export class Sites {
  readonly #node: TomboloNode
  #apart: Promise<Gateway> | undefined
  #here: Promise<Gateway> | undefined

  constructor(node: TomboloNode) {
    this.#node = node
  }

  async show(peer: string, protocol: string): Promise<ShownSite> {
    const { protocol: scheme, host, hostname } = location
    let caveat = `${hostname} is an address and no name, under which sites could have names of their own.`
    if (/[a-z][^.]*$/i.test(hostname) && !hostname.startsWith('[')) {
      try {
        this.#apart ??= serveGateway(this.#node, { origin: `${scheme}//*.${host}` })
        const gateway = await this.#apart
        return { url: await gateway.url(peer, protocol), sandbox: gateway.sandbox, caveat: undefined }
      } catch (error) {
        this.#apart = undefined
        caveat = message(error)
      }
    }
    try {
      const gateway = await (this.#here ??= serveGateway(this.#node))
      return { url: await gateway.url(peer, protocol), sandbox: gateway.sandbox, caveat }
    } catch (error) {
      this.#here = undefined
      throw error
    }
  }
}

/** Whether a protocol carries HTTP, and so can be a site. */
export function isSite(protocol: string): boolean {
  return protocol === '/http' || /^\/x\/.+\/http$/.test(protocol)
}
