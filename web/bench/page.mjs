// Runs one page of one side in a fresh Chromium with an empty cache, and collects the figures that the page reports. The page is not
// cross-origin isolated, as few pages are. Isolation would give it a finer clock, but Chromium runs the shared worker of such a page in
// another process, to which all data is copied.
import { createServer } from 'node:http'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { launch } from '../test/chromium.mjs'
import { atEnd } from '../test/lifetime.mjs'
import { watchOthers } from './cpu.mjs'

/** How long a page may take, in ms, unless its plan says how many minutes it takes. */
const LIMIT = 240_000

/**
 * Serves the pages. `files` is the result of bundle. When a page asks, `flood` sends it messages, `tunnel` measures its services, and
 * `bots` play in its room.
 */
export class Pages {
  #files
  #far
  #server
  #run // the current run: { html, figure(f), loaded(body), served: bytes, settle: { resolve, reject } }

  constructor(files, far) {
    this.#files = files
    this.#far = far
    this.#server = createServer((req, res) => this.#serve(req, res))
    atEnd(() => {
      this.#server.closeAllConnections()
      this.#server.close()
    })
  }

  async listen() {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    this.origin = `http://127.0.0.1:${this.#server.address().port}`
  }

  /**
   * Resolves to { figures: { name: value }, others, error }; after a failure, with the figures up to then. If `profile` is a folder, the
   * browser's caches stay in it. The page is loaded from `origin`, which must lead here. `loaded` is called with the report of a page of
   * start.mjs, the number of bytes it was served, and the browser; its result is the answer to the page. `linear` is called with the memory
   * of the page's program, and `memory` with that and the browser.
   */
  async run(side, transport, plan, { profile, origin = this.origin, loaded, linear, memory } = {}) {
    const figures = {}
    let settle
    const done = new Promise((resolve, reject) => (settle = { resolve, reject }))
    this.#run = {
      html: html(side, { side, transport, plan }),
      settle,
      relay: plan.relay,
      served: 0,
      loaded: (body) => loaded(body, this.#run.served, chromium),
      linear,
      memory: (bytes) => memory(bytes, chromium),
      mail: new Map(),
      figure: (f) => {
        const wrong = wrongUpload(f, plan)
        if (wrong) settle.reject(new Error(wrong))
        figures[f.figure] = f.value
      },
    }
    const othersTook = watchOthers()
    const chromium = launch(`${origin}/`, { profile })
    atEnd(() => chromium.close())
    const called = plan.tabs && launch(`${origin}/?called`) // the other tab
    if (called) atEnd(() => called.close())
    const limit = LIMIT + (plan.soak?.minutes ?? 0) * 70_000
    const late = setTimeout(() => settle.reject(new Error(`did not finish within ${limit / 1000} s`)), limit)
    chromium.exited.then((how) => settle.reject(new Error(`Chromium died: ${how}\n${chromium.log()}`)))
    const error = await done.then(
      () => undefined,
      (err) => err.message,
    )
    const others = othersTook() // before Chromium's processes and their times are gone
    clearTimeout(late)
    if (profile) await chromium.quit()
    await chromium.close()
    await called?.close()
    return { figures, others, error }
  }

  #serve(req, res) {
    const path = new URL(req.url, this.origin).pathname
    if (req.method === 'POST') return this.#report(path, req, res)
    if (path === '/') return res.setHeader('Content-Type', 'text/html').end(settling)
    if (path === '/bench') return res.setHeader('Content-Type', 'text/html').end(this.#run.html)
    if (path === '/.well-known/tombolo') return res.end(JSON.stringify(described(this.#run.relay)))
    const file = this.#files.get(path)
    if (!file) return res.writeHead(404).end()
    this.#run.served += file.body.length
    res.setHeader('Cache-Control', 'max-age=600') // some pages are loaded more than once
    res.setHeader('Content-Type', file.type)
    res.setHeader('Content-Encoding', 'br')
    res.setHeader('Content-Length', file.body.length)
    res.end(file.body)
  }

  async #report(path, req, res) {
    const parts = []
    for await (const part of req) parts.push(part)
    const body = JSON.parse(Buffer.concat(parts).toString())
    const run = this.#run // may have ended by the time the request fails
    const asked = {
      '/tunnel': () => this.#tunnel(body),
      '/bots': () => this.#far.bots.play(body),
      '/seen': () => this.#far.bots.seen(),
      '/loaded': () => run.loaded(body),
      '/linear': async () => run.linear(body.bytes),
      '/memory': async () => run.memory(body.bytes),
      '/put': async () => mail(run, body.key).resolve(body.value),
      '/take': async () => ({ value: await mail(run, body.key).promise }),
    }[path]
    const answer = await asked?.().catch((err) => run.settle.reject(err))
    res.end(JSON.stringify(answer ?? {}))
    if (path === '/figure') this.#run.figure(body)
    if (path === '/flood') {
      this.#far.flood(body).then(
        (lost) => lost > 0 && this.#run.settle.reject(new Error(`${lost} messages were not sent`)),
        (err) => this.#run.settle.reject(err),
      )
    }
    if (path === '/failed') this.#run.settle.reject(new Error(body.error))
    if (path === '/done') this.#run.settle.resolve()
  }

  /** Measures transfers through the native node to the page's services and back, and the same over plain TCP. */
  async #tunnel({ area, peer, bytes }) {
    const { pull, push, 'raw-pull': rawPull, 'raw-push': rawPush } = await this.#far.tunnel({ peer, bytes })
    const figures = { pull, push, 'pull@raw-tcp': rawPull, 'push@raw-tcp': rawPush }
    for (const [name, value] of Object.entries(figures)) this.#run.figure({ figure: `${area}/${name}`, value })
  }
}

// Chromium is busy when it has just started. The page to be measured is loaded after that.
const settling = `<!doctype html><meta charset="utf-8"><title>bench</title>
<script>setTimeout(() => location.replace('/bench' + location.search), 3000)</script>`

/** What the relay's own page says about it. */
const described = (relay) => ({ peerId: relay.split('/').at(-1), network: 'tombolo', addrs: [relay] })

const script = (side, { room, world, tabs }) =>
  tabs ? `tabs-${side === 'circuit' ? 'ours' : side}` : room ? 'rooms' : world ? 'world' : side === 'js-libp2p' ? side : 'ours'

/** Returns the box for a message between the two tabs of a run, by the message's name. */
function mail(run, key) {
  if (!run.mail.has(key)) {
    const box = {}
    box.promise = new Promise((resolve) => (box.resolve = resolve))
    run.mail.set(key, box)
  }
  return run.mail.get(key)
}

// As described in docs/typescript.md.
const preload = '<link rel="preload" as="fetch" crossorigin href="/tombolo.wasm">'

const html = (side, config) => `<!doctype html><meta charset="utf-8"><title>bench ${side}</title>
<link rel="icon" href="data:,">${['js-libp2p', 'raw-channel'].includes(side) ? '' : preload}<script>globalThis.bench = ${JSON.stringify(config)}</script>
<script type="module" src="/${script(side, config.plan)}.js"></script>`

const sums = new Map()

/** Returns what is wrong with a reported upload, if anything: all of its bytes are 5. */
function wrongUpload({ figure, count, sha256 }, plan) {
  const target = plan.targets.find(({ area }) => figure === `${area}/upload`)
  if (!target) return undefined
  const { bytes } = target
  if (!sums.has(bytes)) sums.set(bytes, createHash('sha256').update(Buffer.alloc(bytes, 5)).digest('hex'))
  if (count === bytes && sha256 === sums.get(bytes)) return undefined
  return `${figure}: ${count} bytes with SHA-256 ${sha256} arrived, not ${bytes} with ${sums.get(bytes)}`
}
