/** How a page and the service worker find each other. */

/** From the worker to all pages: a page that has a node should send a port. */
export const WANTED = 'tombolo:gateway-wanted'
/** From a page to the worker, with a port on which the page takes requests. */
export const OFFER = 'tombolo:gateway-offer'
/** From a page to the worker, regularly while a request lasts: the browser ends a worker that gets no message for half a minute. */
export const BUSY = 'tombolo:gateway-busy'
/** From a page, on the port that it offered: it takes no more requests. */
export const GONE = 'tombolo:gateway-gone'
/** From a page to the frame of another origin, followed by the fragment of the frame's address. It comes with a port for the offers. */
export const ATTACH = 'tombolo:gateway-attach'

/** The interval of BUSY messages in milliseconds. The browser ends an idle worker after 30 s. */
export const BUSY_MS = 10_000

export interface Joined {
  busy(): void
  leave(): void
}

/** Registers the service worker, and gives it a port whenever it asks: it loses its ports each time the browser ends it. */
export async function joinWorker(script: URL, scope: string, offer: () => MessagePort): Promise<Joined> {
  const container = navigator.serviceWorker
  const registration = await container.register(script, { scope, updateViaCache: 'none' })
  const give = (to: MessageEventSource | ServiceWorker | null) => {
    const port = offer()
    ;(to as ServiceWorker | null)?.postMessage(OFFER, [port])
  }
  const hear = ({ data, source }: MessageEvent) => {
    if (data === WANTED) give(source)
  }
  container.addEventListener('message', hear)
  container.startMessages()
  try {
    give(await active(registration))
  } catch (error) {
    container.removeEventListener('message', hear)
    throw error
  }
  return {
    busy: () => registration.active?.postMessage(BUSY),
    leave: () => container.removeEventListener('message', hear),
  }
}

function active(registration: ServiceWorkerRegistration): Promise<ServiceWorker> {
  return new Promise((resolve, reject) => {
    const worker = registration.installing ?? registration.waiting ?? registration.active
    if (worker === null) return reject(new Error('the service worker was not installed'))
    const look = () => {
      if (worker.state === 'activated') resolve(worker)
      else if (worker.state === 'redundant') reject(new Error('the service worker could not be installed'))
    }
    worker.addEventListener('statechange', look)
    look()
  })
}
