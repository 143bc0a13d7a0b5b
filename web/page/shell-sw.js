// The service worker of the page: it keeps the page's own files, so that the page opens where its relay cannot be reached. What peers and
// relays say never passes through here, and neither does any site of a peer: those have a worker of their own, below /p2p/.

/** The files of this build, and a name for it: written by site-plugin.ts. */
const FILES = []
const BUILD = ''

const NAME = 'tombolo-shell-'

/** How long the page may take to be had anew, in ms: a network may answer nothing at all. */
const PATIENCE_MS = 4_000

self.addEventListener('install', (event) => event.waitUntil(install()))
self.addEventListener('activate', (event) => event.waitUntil(activate()))
self.addEventListener('fetch', (event) => {
  const { request } = event
  const { origin, pathname } = new URL(request.url)
  if (request.method !== 'GET' || origin !== location.origin) return
  if (request.mode === 'navigate') {
    if (pathname === '/') event.respondWith(openPage(request))
  } else if (FILES.includes(pathname)) {
    event.respondWith(caches.match(pathname).then((kept) => kept ?? fetch(request)))
  }
})

/** A page that can be had anew is: the one that is kept may be older than the relay. */
async function openPage(request) {
  const anew = fetch(request)
  const kept = await caches.match('/')
  if (kept === undefined) return anew
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE_MS, kept))
  return Promise.race([anew.catch(() => kept), late])
}

async function install() {
  const cache = await caches.open(NAME + BUILD)
  await cache.addAll(FILES) // most of them out of the browser's own cache: the page has just loaded them
  await self.skipWaiting()
}

/** Keeps the files of the build before, too: a page of it may still be open, and load a view. */
async function activate() {
  const names = (await caches.keys()).filter((name) => name.startsWith(NAME) && name !== NAME + BUILD)
  await Promise.all(names.slice(0, -1).map((name) => caches.delete(name)))
  await self.clients.claim()
}
