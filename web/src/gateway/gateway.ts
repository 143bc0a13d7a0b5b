/** `serveGateway` shows the services of peers as web sites in a frame of a page. */
import { TomboloError } from '../errors.js'
import { absolute } from '../load.js'
import { optionsOf } from '../values.js'
import { answer, SANDBOX, type Fetcher, type Rights } from './answer.js'
import { Exchange, type Ask } from './exchange.js'
import { ATTACH, BUSY, BUSY_MS, GONE, joinWorker, type Joined } from './join.js'
import { isPeer, pathWithin, servicePath } from './path.js'
import type { Frame } from '../types.js'

export interface GatewayOptions {
  /** The address of `gateway-sw.js` on the page's server. Default `/gateway-sw.js`. The sites are below `p2p/` in its folder. */
  scriptUrl?: string | URL
  /**
   * The scope of the service worker in the page's origin. Default: only the sites. With the folder of the script, `/`, the page itself can
   * `fetch` from the sites, too.
   */
  scope?: string
  /**
   * The origin of the sites, if it is not the page's: a host name below that of the page, whose server has `gateway-sw.js` and
   * `gateway.html` at the path of `scriptUrl`. A `*` in it, as in `https://*.example.com`, is replaced by a name for each service, which
   * isolates the services from each other, too. Only in another origin can a site run scripts without access to what the page's origin
   * stores, such as the node's key.
   */
  origin?: string
  /**
   * Lets sites in the page's own origin run scripts, with all the rights of the page. Default false: sites are shown without their scripts.
   */
  trusted?: boolean
}

/** A gateway that shows the services of peers as web sites, while it and the page are open. */
export interface Gateway {
  /** Whether scripts of the sites run. */
  readonly scripts: boolean
  /** The `sandbox` attribute for an `<iframe>` that shows a site. */
  readonly sandbox: string
  /** Returns the address of a path of a service. It works only in this browser, while a page with a node is open. */
  url(peer: string, protocol: string, path?: string): Promise<string>
  /** Makes a frame that shows the path, for the page to insert. */
  frame(peer: string, protocol: string, path?: string): Promise<Frame>
  /** Stops taking requests, and aborts those under way. May be called more than once. */
  close(): void
}

/** How long the frame of another origin may take to load and to install the service worker. */
const ATTACH_MS = 10_000
/** How long the frame may be silent once it has loaded. */
const HELLO_MS = 1_500

interface FromFrame {
  here?: true
  ready?: true
  error?: string
}

/**
 * Registers the service worker, and answers its requests with this node. Requires a secure context. Rejects with a `TomboloError` if the
 * browser has no service workers (`unsupported`), or if the worker or its origin cannot be reached (`option`).
 */
export async function serveGateway(node: { fetch: Fetcher }, options: GatewayOptions = {}): Promise<Gateway> {
  if (typeof navigator === 'undefined' || !('serviceWorker' in navigator)) {
    const why = globalThis.isSecureContext === false ? ': this page was not opened over https or as localhost' : ''
    throw new TomboloError('unsupported', `there are no service workers here${why}`)
  }
  const { origin, trusted = false, scriptUrl = '/gateway-sw.js' } = optionsOf(options, 'option')
  if (origin !== undefined && trusted) {
    throw new TomboloError('option', 'trusted: sites in an origin of their own need not be trusted')
  }
  if (origin !== undefined) originFrom(origin, 'name')
  const script = absolute(scriptUrl, 'scriptUrl')
  const rights: Rights = origin !== undefined ? 'own origin' : trusted ? 'trusted' : 'no scripts'
  const served = new Served(node, script, rights)
  if (origin === undefined) await served.joinHere(options.scope)
  else if (!origin.includes('*')) await served.originOf('', origin)
  return {
    scripts: rights !== 'no scripts',
    sandbox: SANDBOX[rights],
    url: (peer, protocol, path = '/') => served.url(origin, peer, protocol, path),
    async frame(peer, protocol, path = '/') {
      const frame = document.createElement('iframe')
      frame.setAttribute('sandbox', SANDBOX[rights])
      frame.referrerPolicy = 'no-referrer'
      frame.src = await served.url(origin, peer, protocol, path)
      return frame
    },
    close: () => served.close(),
  }
}

class Served {
  readonly #node: { fetch: Fetcher }
  readonly #script: URL
  readonly #rights: Rights
  readonly #folder: string
  readonly #over = new AbortController()
  readonly #joined = new Set<Joined>()
  readonly #origins = new Map<string, Promise<string>>()
  readonly #doors = new Map<string, MessagePort>() // by service
  readonly #exchanges = new Set<Exchange>()
  #beat: ReturnType<typeof setInterval> | undefined

  constructor(node: { fetch: Fetcher }, script: URL, rights: Rights) {
    this.#node = node
    this.#script = script
    this.#rights = rights
    this.#folder = new URL('p2p/', script).pathname
    // The browser reports the end of a page to nobody else. A page that comes back is asked again.
    window.addEventListener('pagehide', () => this.#hang(), { signal: this.#over.signal })
  }

  async joinHere(scope = this.#folder): Promise<void> {
    const offer = () => {
      const { port1, port2 } = new MessageChannel()
      this.#take(port1)
      return port2
    }
    try {
      this.#joined.add(await joinWorker(this.#script, scope, offer))
    } catch (cause) {
      throw new TomboloError('option', `scriptUrl: ${this.#script.href} could not be registered: ${String(cause)}`, {
        cause,
      })
    }
  }

  async url(origin: string | undefined, peer: string, protocol: string, path: string): Promise<string> {
    if (!isPeer(peer)) throw new TomboloError('argument', `peer: ${JSON.stringify(peer)} is not a peer ID`)
    const service = servicePath(peer, protocol)
    if (service === undefined) {
      throw new TomboloError('argument', `protocol: ${protocol} is not /http, nor of the form /x/<name>/http`)
    }
    if (typeof path !== 'string' || !path.startsWith('/')) {
      throw new TomboloError('argument', `path: ${JSON.stringify(path)} does not begin with a slash`)
    }
    const base = origin === undefined ? location.origin : await this.originOf(service, origin)
    return base + this.#folder + service + pathWithin(path)
  }

  /** Returns the origin of a service, once the worker is installed there. */
  async originOf(service: string, pattern: string): Promise<string> {
    const origin = originFrom(pattern, await label(service))
    let attached = this.#origins.get(origin)
    if (attached === undefined) {
      attached = this.#attach(origin, pattern.includes('*') ? service : undefined).then(() => origin)
      this.#origins.set(origin, attached)
      attached.catch(() => this.#origins.delete(origin)) // it may work the next time
    }
    return attached
  }

  close(): void {
    this.#hang()
    this.#over.abort()
    clearInterval(this.#beat)
    for (const joined of this.#joined) joined.leave()
  }

  /** Adds a hidden frame that installs the worker in its origin and hands on the ports. */
  async #attach(origin: string, only: string | undefined): Promise<void> {
    const frame = document.createElement('iframe')
    frame.hidden = true
    frame.title = 'Gateway to services of peers'
    const secret = `#${crypto.randomUUID()}`
    const page = new URL('gateway.html', new URL(this.#script.pathname, origin)).href
    const { port1: port, port2 } = new MessageChannel()
    const ready = new Promise<void>((resolve, reject) => {
      const fail = (why: string) => reject(new TomboloError('option', `origin: ${origin} cannot show sites: ${why}`))
      const late = () => fail(`${page} did not answer in time`)
      let settled = false
      let limit = setTimeout(late, ATTACH_MS)
      const within = (ms: number) => {
        clearTimeout(limit)
        limit = setTimeout(late, ms)
      }
      frame.addEventListener(
        'load', // also fires for the browser's own error page
        () => {
          within(HELLO_MS)
          frame.contentWindow?.postMessage(ATTACH + secret, origin, [port2])
        },
        { once: true },
      )
      port.addEventListener('message', ({ data, ports: [door] }: MessageEvent<FromFrame>) => {
        if (!settled) within(ATTACH_MS)
        if (door !== undefined) this.#take(door, only)
        if (data.error !== undefined) fail(data.error)
        if (data.ready) resolve()
        if (data.ready ?? data.error) {
          settled = true
          clearTimeout(limit)
        }
      })
      port.start()
    })
    frame.src = page + secret
    document.body.append(frame)
    const leave = () => {
      port.close()
      frame.remove()
    }
    try {
      await ready
    } catch (error) {
      leave()
      throw error
    }
    this.#joined.add({ busy: () => port.postMessage(BUSY), leave })
  }

  /** Disconnects from the workers, and aborts all requests under way. */
  #hang(): void {
    for (const only of [...this.#doors.keys()]) this.#shut(only)
    for (const exchange of this.#exchanges) exchange.close()
  }

  #shut(only: string): void {
    const door = this.#doors.get(only)
    this.#doors.delete(only)
    door?.postMessage(GONE)
    door?.close()
  }

  /** Takes requests on a port, in place of the previous one, whose worker has ended. */
  #take(door: MessagePort, only?: string): void {
    if (this.#over.signal.aborted) return door.postMessage(GONE)
    this.#shut(only ?? '')
    this.#doors.set(only ?? '', door)
    door.addEventListener('message', ({ data, ports: [port] }: MessageEvent<Ask>) => {
      if (port !== undefined) void this.#serve(data, port, only)
    })
    door.start()
  }

  async #serve(ask: Ask, port: MessagePort, only: string | undefined): Promise<void> {
    const abort = new AbortController()
    const leave = () => abort.abort(new DOMException('the request was given up', 'AbortError'))
    const exchange = new Exchange(port, (word) => 'abort' in word && leave(), leave)
    this.#exchanges.add(exchange)
    this.#beatWhileBusy()
    exchange.say({ taken: true })
    try {
      const body = ask.body ? exchange.receive(() => {}) : null
      const fetcher: Fetcher = (...args) => this.#node.fetch(...args)
      const response = await answer(
        fetcher,
        ask,
        body,
        { folder: this.#folder, rights: this.#rights, only },
        abort.signal,
      )
      const { status, statusText, headers } = response
      exchange.say({ head: { status, statusText, headers: [...headers], body: response.body !== null } })
      if (response.body !== null) await exchange.send(response.body)
    } catch {
      if (abort.signal.aborted) return
      exchange.say({ gone: true })
      this.close() // this node cannot be used any more, but another tab's may work
    } finally {
      this.#exchanges.delete(exchange)
      this.#beatWhileBusy()
    }
  }

  #beatWhileBusy(): void {
    if (this.#exchanges.size === 0) {
      clearInterval(this.#beat)
      this.#beat = undefined
    } else this.#beat ??= setInterval(() => this.#joined.forEach((joined) => joined.busy()), BUSY_MS)
  }
}

/** Returns the origin of a service, given the option and the name that stands for the service. */
function originFrom(pattern: string, name: string): string {
  try {
    const { protocol, origin } = new URL(String(pattern).replace('*', name))
    if (/^https?:$/.test(protocol)) return origin
  } catch {
    // It is refused below.
  }
  throw new TomboloError('option', `origin: ${JSON.stringify(pattern)} is not of the form https://sites.example`)
}

/** Returns the host name of a service: a hash, because such names are in lower case and have at most 63 characters. */
async function label(service: string): Promise<string> {
  const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(service))
  return Array.from(new Uint8Array(hash, 0, 16), (byte) => byte.toString(16).padStart(2, '0')).join('')
}
