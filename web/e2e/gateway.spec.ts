import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import type { BrowserContext, Frame, Page } from '@playwright/test'
import type { GatewayOptions } from '@tombolo/node'
import { expect, join, LONG, test } from './support/fixtures.js'
import { type Messenger, natively } from './support/messengers.js'
import { NpmServer } from './support/npm-server.js'

// Sites behind a native peer, in a browser with nothing but a service worker and a tab with a node.

const MIB = 1 << 20
const SITE = '/x/site/http'

const MUCH = (LONG ? 64 : 16) * MIB
const big = randomBytes(MUCH)
const bigHash = createHash('sha256').update(big).digest('hex')

interface Web {
  native: Messenger
  host: NpmServer
  folder: string
  /** A page with a node and a gateway for any site, in its own browser. */
  shower: Page
}

const web = test.extend<object, Web>({
  folder: [
    async ({}, use) => {
      const folder = mkdtempSync(joinPath(tmpdir(), 'tombolo-site-'))
      writeSite(folder)
      await use(folder)
      rmSync(folder, { recursive: true })
    },
    { scope: 'worker' },
  ],
  native: [
    async ({ relay, folder }, use) => {
      const native = await natively(relay)
      await native.call('listen', SITE, `file:${folder}`, { announce: 'a harbour almanac' })
      await native.call('listen', '/x/refused/http', `file:${folder}`, { deny: [], allow: [native.id] })
      await native.call('listen', '/x/closed/http', 'closed', {})
      await use(native)
      await native.stop()
    },
    { scope: 'worker' },
  ],
  host: [
    async ({}, use) => {
      const host = await NpmServer.start()
      await use(host)
      host.stop()
    },
    { scope: 'worker' },
  ],
  shower: [
    async ({ browser, relay, host, native }, use) => {
      const context = await browser.newContext()
      const page = await context.newPage()
      await serving(page, host.url, relay.addr('/ws/'), native.id, ALL)
      await use(page)
      await context.close()
    },
    { scope: 'worker' },
  ],
})

function writeSite(folder: string): void {
  mkdirSync(joinPath(folder, 'deep'))
  const write = (name: string, content: string | Uint8Array) => writeFileSync(joinPath(folder, name), content)
  write(
    'index.html',
    `<!doctype html><title>Almanac</title><link rel="stylesheet" href="style.css"><h1>Harbour almanac</h1>
     <p>High water at noon.</p><img src="deep/chart.svg" width="200" alt="chart"><audio src="horn.wav" preload="auto"></audio>
     <form action="send" method="post"><button>Send</button></form><script type="module" src="app.js"></script>`,
  )
  write('style.css', 'body { font-family: sans-serif; color: rgb(1, 2, 3) } h1 { color: rgb(10, 60, 120) }')
  write(
    'deep/chart.svg',
    '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="60"><path fill="#069" d="M0 60L200 0V60z"/></svg>',
  )
  write('part.js', 'export const words = "ran"')
  write('app.js', 'import { words } from "./part.js"; document.body.dataset.script = words')
  write('horn.wav', wav(30))
  write('big.bin', big)
}

/** Returns a WAV file of silence. */
function wav(seconds: number): Buffer {
  const head = Buffer.alloc(44)
  const bytes = seconds * 16_000
  head.write('RIFF')
  head.writeUInt32LE(36 + bytes, 4)
  head.write('WAVEfmt ', 8)
  head.writeUInt32LE(16, 16)
  head.writeUInt16LE(1, 20)
  head.writeUInt16LE(1, 22)
  head.writeUInt32LE(8_000, 24)
  head.writeUInt32LE(16_000, 28)
  head.writeUInt16LE(2, 32)
  head.writeUInt16LE(16, 34)
  head.write('data', 36)
  head.writeUInt32LE(bytes, 40)
  return Buffer.concat([head, Buffer.alloc(bytes)])
}

let names = 0

async function offer(native: Messenger, listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  server.unref()
  const protocol = `/x/served${++names}/http`
  await native.call('listen', protocol, `127.0.0.1:${(server.address() as AddressInfo).port}`, {})
  return protocol
}

/** Opens a page with a gateway and a node that is connected to the peer. */
async function serving(page: Page, url: string, relayAddr: string, peer: string, options: GatewayOptions = {}) {
  await page.goto(url)
  await page.evaluate(
    async ([relayAddr, peer, options]) => {
      const { createNode, serveGateway } = (await import('/index.js' as string)) as typeof import('@tombolo/node')
      const node = await createNode({ relays: [relayAddr] })
      await new Promise((resolve) => node.addEventListener('relay:reserved', resolve, { once: true }))
      await node.connect(peer, { signal: AbortSignal.timeout(20_000) })
      const gateway = await serveGateway(node, options)
      Object.assign(window, { node, gateway })
      window.tombolo = node
    },
    [relayAddr, peer, options] as const,
  )
}

/** Shows a site of the peer in a frame of the page. */
async function shown(page: Page, peer: string, protocol = SITE, path = '/'): Promise<Frame> {
  const name = `frame${++names}`
  await page.evaluate(
    async ([peer, protocol, path, name]) => {
      const { gateway } = window as unknown as { gateway: import('@tombolo/node').Gateway }
      const frame = await gateway.frame(peer!, protocol!, path)
      frame.name = name!
      const loaded = new Promise((resolve) => frame.addEventListener('load', resolve, { once: true }))
      document.body.append(frame)
      await loaded
    },
    [peer, protocol, path, name],
  )
  return page.frame({ name })!
}

/**
 * Returns a URL with a host name whose subdomains are separate sites. Playwright turns off the partitioning of storage by site, without
 * which Chromium gives frames of other sites no service worker. Without Playwright, `localhost` itself works, too.
 */
const named = (url: string) => url.replace('//localhost', '//app.localhost')

const ALL = { trusted: true, scope: '/' } // lets the page fetch, too

const path = (peer: string, protocol = SITE) => `/p2p/${peer}${protocol}`

/** Fetches a URL in the page. */
function get(page: Page | Frame, url: string, init: RequestInit = {}) {
  return page.evaluate(
    async ([url, init]) => {
      const response = await fetch(url, init)
      const headers = Object.fromEntries(response.headers)
      return { status: response.status, headers, url: response.url, text: await response.text() }
    },
    [url, init] as const,
  )
}

/** Returns whether the picture is there, whether the style applies, and whether the script ran. */
function look(frame: Frame) {
  return frame.evaluate(() => ({
    image: document.images[0]?.naturalWidth,
    style: getComputedStyle(document.body).color,
    script: document.body.dataset['script'],
  }))
}

async function stopWorkers(context: BrowserContext, page: Page): Promise<void> {
  const cdp = await context.newCDPSession(page)
  await cdp.send('ServiceWorker.enable')
  await cdp.send('ServiceWorker.stopAllWorkers')
  await cdp.detach()
}

web.describe('a site', () => {
  web('of an origin of its own has its scripts, and not what the page keeps', async ({ page, relay, host, native }) => {
    const origin = named(host.url).replace('//', '//*.').replace(/\/$/, '')
    await serving(page, named(host.url), relay.addr('/ws/'), native.id, { origin })
    await page.evaluate(
      () =>
        new Promise((resolve, reject) => {
          const open = indexedDB.open('key')
          open.onsuccess = resolve
          open.onerror = reject
        }),
    )
    const frame = await shown(page, native.id)
    await expect.poll(() => look(frame)).toEqual({ image: 200, style: 'rgb(1, 2, 3)', script: 'ran' })
    expect(new URL(frame.url()).hostname).toMatch(/^[0-9a-f]{32}\.app\.localhost$/)
    expect(await page.evaluate(async () => (await indexedDB.databases()).map(({ name }) => name))).toContain('key')
    expect(await frame.evaluate(async () => indexedDB.databases())).toEqual([])
    const reach = () => frame.evaluate(() => parent.document.title)
    await expect(reach()).rejects.toThrow(/SecurityError|cross-origin/)
    const asks = (url: string) => frame.evaluate(async (url) => (await fetch(url)).status, url)
    expect(await asks(`${path(native.id)}/part.js`)).toBe(200)
    expect(await asks(`${path(native.id, '/x/closed/http')}/`), 'of another service').toBe(403)
    const other = await shown(page, native.id, '/x/closed/http')
    expect(new URL(other.url()).hostname, 'another service is of another origin').not.toBe(
      new URL(frame.url()).hostname,
    )
  })

  web(
    'of an origin of its own outlives its worker, and cannot have others shown to it',
    async ({ page, context, relay, host, native }) => {
      const origin = named(host.url).replace('//', '//*.').replace(/\/$/, '')
      await serving(page, named(host.url), relay.addr('/ws/'), native.id, { origin })
      const frame = await shown(page, native.id)
      await stopWorkers(context, page)
      expect(await get(frame, 'part.js')).toMatchObject({ status: 200 })
      const sibling = origin.replace('*', 'sibling')
      const said = await frame.evaluate(
        (url) =>
          new Promise((resolve) => {
            const { port1, port2 } = new MessageChannel()
            port1.onmessage = ({ data }: MessageEvent<{ error?: string }>) => data.error && resolve(data.error)
            const inner = document.createElement('iframe')
            inner.src = url
            inner.onload = () => inner.contentWindow!.postMessage('tombolo:gateway-attach', '*', [port2])
            document.body.append(inner)
          }),
        `${sibling}/gateway.html`,
      )
      const proud = await offer(native, (req, res) => {
        res.writeHead(200, { 'content-type': 'text/html', 'x-frame-options': 'DENY' })
        res.end(`<h1>for ${req.headers['x-forwarded-host']}</h1>`)
      })
      await expect((await shown(page, native.id, proud)).locator('h1')).toContainText('.app.localhost')
      expect(said).toMatch(/^pages of http:\/\/[0-9a-f]{32}\.app\.localhost:\d+ may not use http:\/\/sibling\./)
    },
  )

  web('is shown no more by a node that was closed', async ({ page, relay, host, native }) => {
    await serving(page, host.url, relay.addr('/ws/'), native.id, ALL)
    expect((await get(page, `${path(native.id)}/`)).status).toBe(200)
    await page.evaluate(() => (window as unknown as { gateway: import('@tombolo/node').Gateway }).gateway.close())
    expect(await get(page, `${path(native.id)}/`)).toMatchObject({ status: 503 })
  })

  web('in the page’s own origin has all but scripts', async ({ page, relay, host, native }) => {
    await serving(page, host.url, relay.addr('/ws/'), native.id)
    const frame = await shown(page, native.id)
    // A frame without scripts is accessible from the page, whose origin it has.
    const seen = await page.evaluate(() => {
      const inside = document.querySelector<HTMLIFrameElement>('iframe:not([hidden])')!.contentDocument!
      return {
        image: inside.images[0]!.naturalWidth,
        style: inside.defaultView!.getComputedStyle(inside.body).color,
        script: inside.body.dataset['script'],
      }
    })
    expect(seen).toEqual({ image: 200, style: 'rgb(1, 2, 3)', script: undefined })
    // The script does not run in a tab either, where there is no frame to forbid it.
    const tab = await page.context().newPage()
    await tab.goto(frame.url())
    await expect(tab.locator('h1')).toHaveText('Harbour almanac')
    await expect(tab.locator('body')).not.toHaveAttribute('data-script')
  })

  web('that is trusted has its scripts, and sound that can be sought in', async ({ page, relay, host, native }) => {
    await serving(page, host.url, relay.addr('/ws/'), native.id, ALL)
    const frame = await shown(page, native.id)
    await expect.poll(() => look(frame)).toEqual({ image: 200, style: 'rgb(1, 2, 3)', script: 'ran' })
    const at = await frame.evaluate(async () => {
      const audio = document.querySelector('audio')!
      if (audio.readyState === 0) await new Promise((resolve) => audio.addEventListener('loadedmetadata', resolve))
      const sought = new Promise((resolve) => audio.addEventListener('seeked', resolve, { once: true }))
      audio.currentTime = 25
      await sought
      return [audio.duration, audio.seekable.end(0), audio.currentTime]
    })
    expect(at).toEqual([30, 30, 25])
  })
})

web.describe('a request', () => {
  web(`brings ${MUCH / MIB} MiB whole, and a range of them`, async ({ shower: page, native }) => {
    const hash = await page.evaluate(
      async (url) => {
        const response = await fetch(url)
        const digest = await crypto.subtle.digest('SHA-256', await response.arrayBuffer())
        return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
      },
      `${path(native.id)}/big.bin`,
    )
    expect(hash).toBe(bigHash)
    const part = await get(page, `${path(native.id)}/app.js`, { headers: { range: 'bytes=2-5' } })
    expect(part).toMatchObject({ status: 206, text: 'port', headers: { 'content-length': '4' } })
    expect(part.headers['content-range']).toMatch(/^bytes 2-5\//)
  })

  web('that is read slowly is sent slowly', async ({ shower: page, native }) => {
    let sent = 0
    const protocol = await offer(native, (_, res) => {
      res.writeHead(200)
      const more = () => {
        while (sent < 256 * MIB && !res.destroyed) {
          sent += MIB
          if (!res.write(Buffer.alloc(MIB))) return void res.once('drain', more)
        }
      }
      more()
    })
    await page.evaluate(
      async (url) => {
        const reader = (await fetch(url)).body!.getReader()
        await reader.read()
        Object.assign(window, { reader })
      },
      `${path(native.id, protocol)}/`,
    )
    await page.waitForTimeout(2_000)
    expect(sent).toBeLessThan(64 * MIB)
  })

  web('has its method, headers and body at the service', async ({ shower: page, native }) => {
    const protocol = await offer(native, (req, res) => {
      const hash = createHash('sha256')
      req.on('data', (part: Buffer) => hash.update(part))
      req.on('end', () => {
        res.writeHead(201, { 'x-method': req.method!, 'set-cookie': 'a=b', 'service-worker-allowed': '/' })
        res.end(JSON.stringify({ hash: hash.digest('hex'), url: req.url, headers: req.headers }))
      })
    })
    const sent = await page.evaluate(
      async (url) => {
        const body = new Uint8Array(8 << 20)
        for (let i = 0; i < body.length; i += 65_536) crypto.getRandomValues(body.subarray(i, i + 65_536))
        const digest = await crypto.subtle.digest('SHA-256', body)
        const hash = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('')
        const response = await fetch(url, { method: 'PUT', body: new Blob([body]), headers: { 'x-own': 'yes' } })
        return { hash, status: response.status, headers: [...response.headers.keys()], told: await response.text() }
      },
      `${path(native.id, protocol)}/a%20b?c=d`,
    )
    const told = JSON.parse(sent.told) as { hash: string; url: string; headers: Record<string, string> }
    expect(sent.status).toBe(201)
    expect(told).toMatchObject({ hash: sent.hash, url: '/a%20b?c=d' })
    expect(told.headers).toMatchObject({
      'x-own': 'yes',
      'x-forwarded-prefix': path(native.id, protocol),
      host: native.id,
    })
    expect(sent.headers).not.toContain('service-worker-allowed')
    expect(await page.evaluate(() => document.cookie)).toBe('')
  })

  web('that is given up ends at the service', async ({ shower: page, native }) => {
    const begun: string[] = []
    const ended: string[] = []
    const protocol = await offer(native, (req, res) => {
      begun.push(req.url!)
      res.on('close', () => ended.push(req.url!))
      if (req.url === '/endless') res.writeHead(200).write('it begins')
    })
    await page.evaluate(
      async (base) => {
        const abort = new AbortController()
        const response = await fetch(`${base}/endless`, { signal: abort.signal })
        await response.body!.getReader().read()
        abort.abort()
      },
      path(native.id, protocol),
    )
    await expect.poll(() => ended).toContain('/endless')
    // Before there is an answer, Chromium does not report an abort; but the gateway notices that the page has gone.
    const frame = await shown(page, native.id)
    await frame.evaluate((url) => void fetch(url).catch(() => {}), `${path(native.id, protocol)}/silent`)
    await expect.poll(() => begun).toContain('/silent')
    await page.evaluate((name) => document.querySelector(`iframe[name="${name}"]`)!.remove(), frame.name())
    await expect.poll(() => ended).toContain('/silent')
  })

  web('is redirected within the service, and elsewhere', async ({ shower: page, native }) => {
    const server = createServer((_, res) => res.writeHead(200, { 'access-control-allow-origin': '*' }).end('elsewhere'))
    await once(server.listen(0, '127.0.0.1').unref(), 'listening')
    const elsewhere = `http://localhost:${(server.address() as AddressInfo).port}/`
    const protocol = await offer(native, (req, res) => {
      if (req.url === '/old') res.writeHead(302, { location: '/new?x=1' }).end()
      else if (req.url === '/own') res.writeHead(307, { location: `http://${req.headers.host}/new` }).end()
      else if (req.url === '/away') res.writeHead(302, { location: elsewhere }).end()
      else res.writeHead(200, { 'content-type': 'text/html' }).end(`<h1>at ${req.url}</h1>`)
    })
    const base = path(native.id, protocol)
    expect(await get(page, `${base}/old`)).toMatchObject({ status: 200, text: '<h1>at /new?x=1</h1>' })
    expect(await get(page, `${base}/own`)).toMatchObject({ status: 200, text: '<h1>at /new</h1>' })
    expect(await get(page, `${base}/away`)).toMatchObject({ status: 200, text: 'elsewhere', url: elsewhere })
    expect((await get(page, base)).url).toMatch(/\/http\/$/)
    const frame = await shown(page, native.id, protocol, '/old')
    await expect(frame.locator('h1')).toHaveText('at /new?x=1')
    expect(new URL(frame.url()).pathname).toBe(`${base}/new`)
  })

  web('that cannot be answered says why in words', async ({ shower: page, relay, native }) => {
    const says = async (rest: string) => {
      const { status, text } = await get(page, `/p2p/${rest}`)
      return `${status} ${text}`
    }
    expect(await says(`${native.id}/x/missing/http/`)).toMatch(/^502 .*no such protocol[^]*has no service of that name/)
    expect(await says(`${native.id}/x/refused/http/`)).toMatch(/^502 .*not allowed[^]*does not let this node use/)
    expect(await says(`${native.id}/x/closed/http/`)).toMatch(/^502 .*target refused[^]*may not be running/)
    expect(await says('12D3KooWEhJv7FiRLhvHsYqQRJ9mCiG2zVJAeZ8iN1RybnQgoRNS/x/site/http/')).toMatch(/^502 .*peer away/)
    expect(await says(`${native.id}/x/site`)).toMatch(/^400 [^]*has no \/http\//)
    expect(await says('nobody/x/site/http/')).toMatch(/^400 [^]*"nobody" is not a peer ID/)
    const gone = await natively(relay)
    await gone.kill()
    expect(await says(`${gone.id}/x/site/http/`)).toMatch(/^502 .*peer away[^]*cannot be reached/)
    const frame = await shown(page, native.id, '/x/missing/http')
    await expect(frame.locator('h1')).toHaveText('502 no such protocol')
    await expect(frame.locator('dd').first()).toHaveText(native.id)
  })

  web('is answered after the browser has ended the worker', async ({ shower: page, native }) => {
    for (let i = 0; i < 3; i++) {
      expect(await get(page, `${path(native.id)}/part.js`)).toMatchObject({ status: 200 })
      await stopWorkers(page.context(), page)
    }
    expect(await get(page, `${path(native.id)}/part.js`)).toMatchObject({ status: 200 })
  })
})

web(
  'another tab answers when one is closed, and none says what to do',
  async ({ page, context, relay, host, native }) => {
    await serving(page, host.url, relay.addr('/ws/'), native.id, ALL)
    const second = await context.newPage()
    await serving(second, host.url, relay.addr('/ws/'), native.id, ALL)
    const bare = await context.newPage()
    const url = new URL(`${path(native.id)}/`, host.url).href
    await bare.goto(url)
    await expect(bare.locator('h1')).toHaveText('Harbour almanac')
    await second.close()
    await bare.reload()
    await expect(bare.locator('h1')).toHaveText('Harbour almanac')
    await page.close()
    await bare.reload()
    await expect(bare.locator('h1')).toHaveText('503 no node')
    await expect(bare.locator('p')).toContainText('Open the site in a tab')
  },
)

web('what is on its way ends when the tab does, or the worker', async ({ page, context, relay, host, native }) => {
  let ended = 0
  const protocol = await offer(native, (_, res) => {
    res.on('close', () => ended++)
    res.writeHead(200).write('it begins')
  })
  await serving(page, host.url, relay.addr('/ws/'), native.id, ALL)
  const bare = await context.newPage()
  await bare.goto(new URL(`${path(native.id)}/`, host.url).href)
  const begin = () =>
    bare.evaluate(
      async (url) => {
        const reader = (await fetch(url)).body!.getReader()
        await reader.read()
        const failed = reader.read().then(String, String)
        Object.assign(window, { failed })
      },
      `${path(native.id, protocol)}/`,
    )
  const failed = () => bare.evaluate(() => (window as unknown as { failed: Promise<string> }).failed)
  await begin()
  await stopWorkers(context, bare)
  expect(await failed()).toMatch(/TypeError/)
  await expect.poll(() => ended).toBe(1)
  await begin()
  await page.close()
  expect(await failed()).toMatch(/TypeError/)
  await expect.poll(() => ended).toBe(2)
})

web('where the worker is not, that is said', async ({ page, relay, host, native }) => {
  const failed = serving(page, host.url, relay.addr('/ws/'), native.id, { scriptUrl: '/nowhere.js' })
  await expect(failed).rejects.toThrow(/scriptUrl: .*\/nowhere\.js could not be registered/)
  const off = serving(page, host.url, relay.addr('/ws/'), native.id, { origin: 'http://a.localhost:1' })
  await expect(off).rejects.toThrow(/origin: http:\/\/a\.localhost:1 cannot show sites/)
})

web.describe('the page', () => {
  const opened = async (page: Page, url: string, peer: string) => {
    await join(page, `${url}?peer=${peer}`)
    const row = page.locator(`.service[data-protocol="${SITE}"]`)
    await expect(row).toContainText('a harbour almanac')
    await row.getByRole('button', { name: 'Open' }).focus()
    await page.keyboard.press('Enter')
  }

  web('opens a site that a peer announces, with its scripts, apart from its key', async ({ page, relay, native }) => {
    await opened(page, named(relay.url), native.id)
    const inside = page.frameLocator('.site iframe')
    await expect(inside.locator('body')).toHaveAttribute('data-script', 'ran')
    const frame = page.frames().find((frame) => frame.url().includes('/p2p/'))!
    expect(await page.evaluate(async () => (await indexedDB.databases()).length)).toBeGreaterThan(0)
    expect(await frame.evaluate(async () => indexedDB.databases())).toEqual([])
    await expect(page.locator('#site-address')).toHaveText(`…${native.id.slice(-8)}${SITE}/`)
    await page.locator('.site').getByRole('button', { name: 'Reload' }).press('Enter')
    await expect(inside.locator('h1')).toHaveText('Harbour almanac')
    await page.locator('.site').getByRole('button', { name: 'Close' }).press('Enter')
    await expect(page.locator('.site')).toHaveCount(0)
  })

  web('shows it without scripts at an address that is no name', async ({ page, relay, native }) => {
    await opened(page, relay.url.replace('localhost', '127.0.0.1'), native.id)
    await expect(page.frameLocator('.site iframe').locator('h1')).toHaveText('Harbour almanac')
    await expect(page.locator('.site-caveat')).toContainText('without its scripts')
  })

  web('has room for a site on a wide screen', async ({ page, relay, native }) => {
    await page.setViewportSize({ width: 1280, height: 900 })
    await opened(page, named(relay.url), native.id)
    await expect(page.frameLocator('.site iframe').locator('h1')).toHaveText('Harbour almanac')
    const { width } = (await page.locator('.site iframe').boundingBox())!
    expect(width).toBeGreaterThan(1_000)
    const to = process.env['SCREENSHOTS']
    if (to !== undefined) await page.screenshot({ path: joinPath(to, 'gateway-wide.png'), fullPage: true })
  })

  for (const colorScheme of ['light', 'dark'] as const) {
    web(`fits 360 px with a site in it (${colorScheme})`, async ({ page, relay, native }) => {
      await page.setViewportSize({ width: 360, height: 740 })
      await page.emulateMedia({ colorScheme })
      await opened(page, named(relay.url), native.id)
      await expect(page.frameLocator('.site iframe').locator('h1')).toHaveText('Harbour almanac')
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360)
      const to = process.env['SCREENSHOTS'] // a folder for screenshots to look at
      if (to !== undefined) await page.screenshot({ path: joinPath(to, `gateway-${colorScheme}.png`), fullPage: true })
    })
  }
})
