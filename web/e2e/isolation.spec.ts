import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { BrowserContext, Frame, Page } from '@playwright/test'
import { expect, join, test } from './support/fixtures.js'
import { type Messenger, natively } from './support/messengers.js'
import { NpmServer } from './support/npm-server.js'
import { Daemon } from './support/peers.js'

// The table of docs/isolation.md, tested with a malicious site: what it can reach of the page around it, of another site, of the node's
// first page and of other programs, and they of it. In both gateways.

const BAD = '/x/bad/http'
const GOOD = '/x/good/http'
const SECRET = 'between you and me'

interface World {
  native: Messenger
  /** The requests that have reached the good site, except those of its own pages. */
  reached: string[]
  /** Another program, at another port of this machine, and the requests with cookies that have reached it. */
  elsewhere: { port: number; cookies: string[] }
  daemon: Daemon & { gateway: string }
}

const web = test.extend<object, { world: World; host: NpmServer }>({
  world: [
    async ({ relay }, use) => {
      const native = await natively(relay)
      const reached: string[] = []
      const offer = async (protocol: string, listener: RequestListener) => {
        const port = await listening(listener)
        await native.call('listen', protocol, `127.0.0.1:${port}`, { announce: protocol })
      }
      await offer(BAD, (_, res) => html(res, '<h1>bad</h1>'))
      await offer(GOOD, (req, res) => {
        if (!req.url!.startsWith('/own')) reached.push(`${req.method} ${req.url} ${req.headers.cookie ?? ''}`.trim())
        html(res, `<h1>${SECRET}</h1><script>localStorage.setItem('key', '${SECRET}')</script>`)
      })
      const elsewhere = { port: 0, cookies: [] as string[] }
      elsewhere.port = await listening((req: IncomingMessage, res) => {
        if (req.headers.cookie !== undefined) elsewhere.cookies.push(req.headers.cookie)
        html(res, '<h1>elsewhere</h1>')
      })
      const daemon = await Daemon.start(relay, '--gateway', '127.0.0.1:0')
      const [gateway] = await daemon.program.lines(/^gateway /)
      await use({ native, reached, elsewhere, daemon: Object.assign(daemon, { gateway: gateway!.slice(8) }) })
      await daemon.stop()
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
})

async function listening(listener: RequestListener): Promise<number> {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1').unref()
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

function html(res: ServerResponse, body: string): void {
  res.writeHead(200, { 'content-type': 'text/html' }).end(`<!doctype html>${body}`)
}

/** See gateway.spec.ts. */
const named = (url: string) => url.replace('//localhost', '//app.localhost')

/**
 * Tries to read from an address, and to trigger actions there, in each way that a page has. Returns what was read, and how the other
 * attempts ended.
 */
function tries(from: Page | Frame, url: string) {
  return from.evaluate(async (url) => {
    const tried = (f: () => Promise<unknown>) => f().then(String, (error: Error) => error.name)
    const text = (init: RequestInit) => tried(async () => (await fetch(url, init)).text())
    const element = (name: 'img' | 'script' | 'link', set: object) =>
      tried(
        () =>
          new Promise((resolve) => {
            const e = Object.assign(document.createElement(name), set)
            e.onload = () => resolve('loaded')
            e.onerror = () => resolve('error')
            document.head.append(e)
          }),
      )
    const framed = (start: (name: string) => void) =>
      tried(
        () =>
          new Promise((resolve) => {
            const frame = document.createElement('iframe')
            frame.name = `f${Math.random()}`
            document.body.append(frame)
            frame.onload = () => {
              let inside = 'out of reach'
              try {
                if (frame.contentDocument!.URL === 'about:blank') return
                inside = frame.contentDocument!.body.innerText
              } catch {
                // of another origin
              }
              resolve(inside)
            }
            start(frame.name)
          }),
      )
    const form = (name: string) => {
      const form = Object.assign(document.createElement('form'), { action: url, method: 'post', target: name })
      document.body.append(form)
      form.submit()
    }
    return {
      fetch: await text({}),
      post: await text({ method: 'POST', body: 'x' }),
      blind: await text({ mode: 'no-cors', credentials: 'include' }),
      blindPost: await text({ mode: 'no-cors', method: 'POST', body: 'x' }),
      image: await element('img', { src: url }),
      script: await element('script', { src: url }),
      style: await element('link', { rel: 'stylesheet', href: url }),
      frame: await framed((name) => window.open(url, name)),
      form: await framed(form),
      socket: await tried(
        () =>
          new Promise((resolve) => {
            const socket = new WebSocket(url.replace('http', 'ws'))
            socket.onopen = () => resolve('open')
            socket.onerror = () => resolve('error')
          }),
      ),
    }
  }, url)
}

/** Returns what a page opens, and whether it keeps a reference to it. */
async function opens(context: BrowserContext, from: Page | Frame, url: string) {
  const [popup] = await Promise.all([
    context.waitForEvent('page'),
    from.evaluate((url) => void Object.assign(window, { popup: window.open(url) }), url),
  ])
  await expect(popup.locator('h1')).not.toBeEmpty()
  const opener = await popup.evaluate(() => window.opener !== null)
  const held = await from.evaluate(() => !(window as unknown as { popup: Window }).popup.closed)
  const text = await popup.locator('h1').innerText()
  await popup.close()
  return { text, opener, held }
}

web.describe('the native gateway', () => {
  /** Opens a service's page under its own name in a browser that is sent there. */
  const open = async (page: Page, world: World, protocol: string, path = '/') => {
    await page.goto(`${world.daemon.gateway}p2p/${world.native.id}${protocol}${path}`)
    await expect(page.locator('h1')).not.toBeEmpty()
    return new URL(page.url())
  }

  web('shows each site under a name of its own, and nothing else there', async ({ page, context, world }) => {
    const good = await open(await context.newPage(), world, GOOD, '/own')
    const bad = await open(page, world, BAD)
    for (const url of [good, bad]) expect(url.hostname).toMatch(/^[0-9a-f]{32}\.localhost$/)
    expect(good.hostname).not.toBe(bad.hostname)
    world.reached.length = 0

    expect((await tries(page, bad.href)).fetch).toContain('bad')
    for (const path of ['/', `/p2p/${world.native.id}${GOOD}/`, '/favicon.ico']) {
      const { fetch, post, frame, form } = await tries(page, bad.origin + path)
      for (const text of [fetch, post, frame, form]) expect(text, path).not.toContain(SECRET)
      expect(fetch, path).toContain('403 Forbidden')
      expect(fetch, path).not.toContain(world.daemon.id)
    }
    const gateway = new URL(world.daemon.gateway)
    const others = [
      good.href.replace('/own', '/'),
      good.href.replace('/own', '/').replace('.localhost', '.LOCALHOST.'),
      `${gateway.origin}${good.pathname.replace('/own', '/')}`,
      `http://localhost:${gateway.port}${good.pathname.replace('/own', '/')}`,
      gateway.href,
      `http://localhost:${gateway.port}/`,
    ]
    for (const url of others) {
      expect(await tries(page, url), url).toEqual({
        fetch: 'TypeError',
        post: 'TypeError',
        blind: expect.stringMatching(/^(TypeError|)$/),
        blindPost: expect.stringMatching(/^(TypeError|)$/),
        image: 'error',
        script: 'error',
        style: 'error',
        frame: 'out of reach',
        form: 'out of reach',
        socket: 'error',
      })
    }
    expect(world.reached, 'nothing has come to the other site').toEqual([])
    expect(await opens(context, page, good.href)).toEqual({ text: SECRET, opener: false, held: false })
    const first = await opens(context, page, `http://localhost:${gateway.port}/`)
    expect(first).toMatchObject({ opener: false, held: false })
  })

  web('keeps cookies and storage of a site to it', async ({ page, context, world }) => {
    await open(page, world, BAD)
    const { cookie, stored } = await page.evaluate(() => {
      for (const domain of ['localhost', '.localhost', '127.0.0.1', 'app.localhost']) {
        document.cookie = `spread=${domain}; Domain=${domain}; Path=/`
      }
      return { cookie: document.cookie, stored: localStorage.getItem('key') }
    })
    expect({ cookie, stored }).toEqual({ cookie: '', stored: null })
    world.reached.length = 0
    await open(page, world, GOOD, '/')
    expect(world.reached).toEqual(['GET /'])
    for (const host of ['localhost', '127.0.0.1']) {
      await page.goto(`http://${host}:${world.elsewhere.port}/`)
      await page.evaluate(() => (document.cookie = 'theirs=1; Path=/'))
    }
    world.reached.length = 0
    await open(page, world, GOOD, '/')
    expect(world.reached, 'nor do those of other programs of this machine go to a peer').toEqual(['GET /'])
    expect(world.elsewhere.cookies.join()).not.toContain('spread')
    await context.clearCookies()
  })

  web('answers no page of another program of this machine', async ({ page, context, world }) => {
    const good = (await open(await context.newPage(), world, GOOD, '/own')).href.replace('/own', '/')
    world.reached.length = 0
    for (const host of ['localhost', '127.0.0.1', new URL(good).hostname]) {
      await page.goto(`http://${host}:${world.elsewhere.port}/`)
      for (const url of [good, world.daemon.gateway, `${world.daemon.gateway}p2p/${world.native.id}${GOOD}/`]) {
        const result = await tries(page, url)
        expect(Object.values(result).join(), url).not.toMatch(/between|loaded|open|peer/)
      }
    }
    expect(world.reached).toEqual([])
  })
})

web.describe('the service worker’s gateway', () => {
  const serving = async (page: Page, host: NpmServer, relayAddr: string, peer: string) => {
    await page.goto(named(host.url))
    const origin = named(host.url).replace('//', '//*.').replace(/\/$/, '')
    await page.evaluate(
      async ([relayAddr, peer, origin]) => {
        const { createNode, serveGateway } = (await import('/index.js' as string)) as typeof import('@tombolo/node')
        const node = await createNode({ relays: [relayAddr!] })
        await new Promise((resolve) => node.addEventListener('relay:reserved', resolve, { once: true }))
        await node.connect(peer!, { signal: AbortSignal.timeout(20_000) })
        Object.assign(window, { gateway: await serveGateway(node, { origin: origin! }) })
      },
      [relayAddr, peer, origin] as const,
    )
  }

  let names = 0
  const show = async (page: Page, peer: string, protocol: string, path = '/'): Promise<Frame> => {
    const name = `site${++names}`
    await page.evaluate(
      async ([peer, protocol, path, name]) => {
        const { gateway } = window as unknown as { gateway: import('@tombolo/node').Gateway }
        const frame = Object.assign(await gateway.frame(peer!, protocol!, path), { name })
        document.body.append(frame)
      },
      [peer, protocol, path, name] as const,
    )
    const frame = await expect
      .poll(() => page.frame({ name }))
      .not.toBeNull()
      .then(() => page.frame({ name })!)
    await expect(frame.locator('h1')).not.toBeEmpty()
    return frame
  }

  web('keeps a site from others and from the page', async ({ page, context, relay, host, world }) => {
    await serving(page, host, relay.addr('/ws/'), world.native.id)
    const good = new URL((await show(page, world.native.id, GOOD, '/own')).url())
    const bad = await show(page, world.native.id, BAD)
    world.reached.length = 0
    expect((await tries(bad, bad.url())).fetch).toContain('bad')
    const within = await tries(bad, `/p2p/${world.native.id}${GOOD}/`)
    expect(Object.values(within).join()).not.toContain(SECRET)
    expect(within.fetch).toContain('403 Forbidden')
    const other = await tries(bad, good.href.replace('/own', '/'))
    expect(other).toMatchObject({ fetch: 'TypeError', post: 'TypeError', frame: 'out of reach', form: 'out of reach' })
    // A frame can be navigated there like a link; only the frame itself sees what it shows.
    expect(world.reached.filter((request) => request !== 'GET /')).toEqual([])
    const own = await tries(bad, `${bad.url()}form`)
    expect(own.form, 'its own forms are sent').toBe('bad')
    await expect(bad.evaluate(() => parent.document.title)).rejects.toThrow(/SecurityError|cross-origin/)
    await expect(bad.evaluate(() => parent.frames[0]!.document.title)).rejects.toThrow(/SecurityError|cross-origin/)
    expect(await bad.evaluate(() => localStorage.getItem('key'))).toBeNull()
    expect(await opens(context, bad, good.href)).toEqual({ text: SECRET, opener: false, held: false })
  })

  web('lets no page of another port answer for a site', async ({ page, context, relay, host, world }) => {
    await serving(page, host, relay.addr('/ws/'), world.native.id)
    const good = await show(page, world.native.id, GOOD, '/own')
    const evil = await context.newPage()
    await evil.goto(named(`http://localhost:${world.elsewhere.port}/`))
    const url = `${new URL(good.url()).origin}/gateway.html`
    // A page that frames it knows the end of its address; a page that does not frame it cannot give it one.
    for (const [hash, sent] of [
      ['#known', '#known'],
      ['#known', ''],
      ['', ''],
      ['#known', '#other'],
    ] as const) {
      const said = await evil.evaluate(
        ([url, sent]) =>
          new Promise((resolve) => {
            const { port1, port2 } = new MessageChannel()
            port1.onmessage = ({ data }: MessageEvent<{ error?: string; ready?: true; door?: true }>) => {
              if (data.error !== undefined || data.ready !== undefined || data.door !== undefined) resolve(data)
            }
            const frame = Object.assign(document.createElement('iframe'), { src: url })
            frame.onload = () => frame.contentWindow!.postMessage(`tombolo:gateway-attach${sent}`, '*', [port2])
            document.body.append(frame)
          }),
        [url + hash, sent] as const,
      )
      expect(said).toEqual({
        error: expect.stringMatching(/^pages of http:\/\/app\.localhost:\d+ may not use /),
      })
    }
    // Nor the page's own origin, to a frame that it did not create.
    const same = await context.newPage()
    await same.goto(named(host.url))
    const said = await same.evaluate(
      (url) =>
        new Promise((resolve) => {
          const { port1, port2 } = new MessageChannel()
          port1.onmessage = ({ data }: MessageEvent<{ error?: string }>) => data.error && resolve(data.error)
          const frame = Object.assign(document.createElement('iframe'), { src: `${url}#theirs` })
          frame.onload = () => frame.contentWindow!.postMessage('tombolo:gateway-attach#mine', '*', [port2])
          document.body.append(frame)
        }),
      url,
    )
    expect(said).toMatch(/may not use/)
  })
})

web.describe('the relay’s page', () => {
  const shown = async (page: Page, url: string, peer: string, protocol: string) => {
    await join(page, `${url}?peer=${peer}`)
    await page.locator(`.service[data-protocol="${protocol}"]`).getByRole('button', { name: 'Open' }).click()
    await expect(page.frameLocator('.site iframe').locator('h1')).not.toBeEmpty()
  }

  web('goes on while a site loops', async ({ page, relay, world }) => {
    await shown(page, named(relay.url), world.native.id, BAD)
    const frame = page.frames().find((frame) => frame.url().includes(BAD))!
    await frame.evaluate(
      () =>
        void setTimeout(() => {
          for (;;);
        }),
    )
    // The loop has begun once the frame no longer answers.
    const silent = () =>
      Promise.race([frame.evaluate(() => false), new Promise((resolve) => setTimeout(resolve, 1_000, true))])
    await expect.poll(silent).toBe(true)
    await page.locator('.site').getByRole('button', { name: 'Close' }).click()
    await expect(page.locator('.site')).toHaveCount(0)
  })

  web('outlives the cookies that a site sets for it', async ({ page, relay, world }) => {
    const url = named(relay.url)
    await shown(page, url, world.native.id, BAD)
    const frame = page.frames().find((frame) => frame.url().includes(BAD))!
    await frame.evaluate(() => {
      const domain = location.hostname.split('.').slice(1).join('.')
      for (let i = 0; i < 40; i++) document.cookie = `c${i}=${'x'.repeat(4_000)}; Domain=${domain}; Path=/`
    })
    // The browser takes them over from the frame's process one by one.
    await expect
      .poll(() => page.evaluate(() => document.cookie.length), { message: 'they are there' })
      .toBeGreaterThan(100_000)
    expect((await page.reload())!.status()).toBe(200)
    expect(await page.evaluate(() => document.cookie.length), 'and then gone').toBeLessThan(5_000)
    await shown(page, url, world.native.id, GOOD)
  })
})
