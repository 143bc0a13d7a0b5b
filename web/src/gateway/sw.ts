/**
 * `gateway-sw.js`, the one file that a site hosts. As a service worker, it hands requests for services of peers to a tab that has a node.
 * As the script of `gateway.html`, on a host name that is only for sites, it installs that worker and hands it the ports of the page around
 * it.
 */
import { Exchange, type Ask } from './exchange.js'
import { ATTACH, BUSY, GONE, joinWorker, OFFER, WANTED, type Joined } from './join.js'
import { problemResponse } from './problem.js'

/** The part of a service worker's scope that is used here. TypeScript's own types for it cannot be combined with those for pages. */
interface WorkerScope {
  skipWaiting(): Promise<void>
  clients: {
    claim(): Promise<void>
    get(id: string): Promise<object | undefined>
    matchAll(options: object): Promise<{ postMessage(message: unknown): void }[]>
  }
  addEventListener(type: 'install' | 'activate', f: (event: { waitUntil(p: Promise<unknown>): void }) => void): void
  addEventListener(type: 'message', f: (event: MessageEvent) => void): void
  addEventListener(type: 'fetch', f: (event: FetchEvent) => void): void
}

interface FetchEvent {
  readonly request: Request
  readonly clientId: string
  respondWith(response: Promise<Response>): void
}

/** How long a tab may take to confirm a request, and the tabs to answer that they have a node, in milliseconds. */
const PATIENCE_MS = 3_000

/** How often to check, while there is no answer, whether the page that made the request still exists, in milliseconds. */
const LOOK_MS = 2_000

if (typeof document === 'undefined') serviceWorker(self as unknown as WorkerScope)
else broker()

function serviceWorker(scope: WorkerScope): void {
  const folder = new URL('p2p/', location.href).pathname
  let doors: MessagePort[] = [] // to tabs that have a node, the newest first
  const offers = new EventTarget()

  scope.addEventListener('install', (event) => event.waitUntil(scope.skipWaiting()))
  scope.addEventListener('activate', (event) => event.waitUntil(scope.clients.claim()))
  scope.addEventListener('message', ({ data, ports: [door] }) => {
    if (data !== OFFER || door === undefined) return
    doors.unshift(door)
    door.addEventListener('message', ({ data }) => data === GONE && forget(door))
    door.start()
    offers.dispatchEvent(new Event('offer'))
  })
  scope.addEventListener('fetch', (event) => {
    const url = new URL(event.request.url)
    if (url.origin === location.origin && url.pathname.startsWith(folder)) event.respondWith(answer(event))
  })

  function forget(door: MessagePort): void {
    doors = doors.filter((other) => other !== door)
  }

  async function answer({ request, clientId }: FetchEvent): Promise<Response> {
    if (
      request.mode === 'navigate' &&
      request.method !== 'GET' &&
      !request.referrer.startsWith(`${location.origin}/`)
    ) {
      // The referrer is the only thing that tells a service worker who sent a form. A page can hide it, but not forge it.
      const text =
        'A page of another origin, or one that hides its own, may lead here with a link, but not send anything.'
      return problemResponse({ status: 403, text }, request.headers.get('accept'))
    }
    // Chromium reports an aborted request only once its response is under way. But if the page is gone, that can be noticed.
    const mayHaveGone = clientId !== '' && request.mode !== 'navigate'
    const gone = async () => mayHaveGone && (await scope.clients.get(clientId)) === undefined
    for (let asked = false; ;) {
      if (doors[0] === undefined && !asked) {
        asked = true
        await ask()
      }
      const door = doors[0]
      if (door === undefined) break
      const response = await through(door, request, gone)
      if (response !== null) return response
      forget(door)
    }
    return problemResponse(
      {
        status: 503,
        reason: 'no node',
        text: 'No tab of this site has a node that could ask the peer. Open the site in a tab, wait until it has joined, and load this again.',
      },
      request.headers.get('accept'),
    )
  }

  /** Asks all pages for a port: after the browser has ended and restarted the worker, it has none. */
  async function ask(): Promise<void> {
    const offered = new Promise((resolve) => {
      offers.addEventListener('offer', resolve, { once: true })
      setTimeout(resolve, PATIENCE_MS)
    })
    for (const client of await scope.clients.matchAll({ includeUncontrolled: true, type: 'window' })) {
      client.postMessage(WANTED)
    }
    await offered
  }
}

/**
 * Sends a request to the tab behind a door. Resolves to null if the tab did not take the request, or if it is gone and the request can be
 * made again.
 */
async function through(door: MessagePort, request: Request, gone: () => Promise<boolean>): Promise<Response | null> {
  const body = await bodyOf(request)
  return new Promise((resolve, reject) => {
    const { port1, port2 } = new MessageChannel()
    let taken = false
    let answered = false
    const exchange = new Exchange(
      port1,
      (word) => {
        if ('taken' in word) {
          taken = true
          clearTimeout(timer)
          if (body !== null) void exchange.send(body)
        } else if ('gone' in word) {
          exchange.close()
        } else if ('head' in word) {
          answered = true
          clearInterval(looking)
          const { head } = word
          resolve(new Response(head.body ? exchange.receive(done) : null, head))
          if (!head.body) exchange.close()
        }
      },
      () => {
        clearTimeout(timer)
        clearInterval(looking)
        request.signal.removeEventListener('abort', onAbort)
        if (answered) return
        if (!taken || body === null) return resolve(null)
        const text = 'The tab whose node sent the request has gone. Whether the peer got all of it is not known.'
        resolve(problemResponse({ status: 502, text }, request.headers.get('accept')))
      },
      { calls: true },
    )
    const timer = setTimeout(() => abort(), PATIENCE_MS)
    const looking = setInterval(() => void gone().then((yes) => yes && abort(yes)), LOOK_MS)
    const done = () => exchange.close()
    function abort(gone = request.signal.aborted) {
      if (gone) reject(new DOMException('the request was given up', 'AbortError'))
      exchange.say({ abort: true })
      exchange.close()
    }
    const onAbort = () => abort()
    request.signal.addEventListener('abort', onAbort)
    const ask: Ask = { method: request.method, url: request.url, headers: [...request.headers], body: body !== null }
    door.postMessage(ask, [port2])
  })
}

/** Returns the body of a request. Firefox does not offer it as a stream. */
async function bodyOf(request: Request): Promise<ReadableStream<Uint8Array> | null> {
  if (request.method === 'GET' || request.method === 'HEAD' || request.bodyUsed) return null
  return request.body ?? new Response(await request.clone().arrayBuffer()).body
}

/**
 * Runs in the frame of another origin, and lets one page use this origin: the page that made the frame, because only that page knows the
 * fragment of the frame's address. Its host name must be this one without one or more of the first labels. So neither a site that is shown
 * here nor a page on another port of the same host can answer for others.
 */
function broker(): void {
  const { hash, host, origin, protocol } = location
  const isAbove = (page: string) =>
    page.startsWith(`${protocol}//`) && host.endsWith(`.${page.slice(protocol.length + 2)}`)
  window.addEventListener('message', (event) => {
    const [port] = event.ports
    if (!`${event.data}`.startsWith(ATTACH) || port === undefined || event.source !== window.parent) return
    port.postMessage({ here: true })
    if (hash === '' || event.data !== ATTACH + hash || !isAbove(event.origin)) {
      return port.postMessage({ error: `pages of ${event.origin} may not use ${origin}` })
    }
    const offer = () => {
      const { port1, port2 } = new MessageChannel()
      port.postMessage({ door: true }, [port1])
      return port2
    }
    const script = new URL('gateway-sw.js', location.href)
    let joined: Joined | undefined
    port.addEventListener('message', ({ data }) => data === BUSY && joined?.busy())
    port.addEventListener('close', () => joined?.leave())
    port.start()
    joinWorker(script, new URL('p2p/', script).pathname, offer).then(
      (result) => {
        joined = result
        port.postMessage({ ready: true })
      },
      (error: unknown) => port.postMessage({ error: String(error) }),
    )
  })
}
