import type { BrowserContext, Page } from '@playwright/test'
import type { CreateNodeOptions, PeerStream, TomboloNode } from '@tombolo/node'
import { expect, test as base } from './support/fixtures.js'
import { type Messenger, natively } from './support/messengers.js'
import { NpmServer } from './support/npm-server.js'
import { Relay } from './support/peers.js'
import { countWorkers, runInWorker } from './support/worker.js'

// Tabs that share a node. What a single tab can do with a shared node is in the specs that run with nodes in every place.

interface Tab extends Window {
  node: TomboloNode
  heard: string[]
  restarts: string[]
}
declare const window: Tab

const test = base.extend<object, { native: Messenger }>({
  native: [
    async ({ relay }, use) => {
      const native = await natively(relay)
      await use(native)
      await native.stop()
    },
    { scope: 'worker' },
  ],
})

/** Opens a tab with a shared node. It records the messages of `chat`, and its events. */
async function open(context: BrowserContext, server: NpmServer, options: CreateNodeOptions): Promise<Page> {
  const page = await context.newPage()
  await page.goto(server.url)
  await page.evaluate(async (options) => {
    const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
    const node = await createNode({ worker: 'shared', ...options })
    Object.assign(window, { node, heard: [], restarts: [] })
    node.addEventListener('restart', ({ detail }) => window.restarts.push(detail.reason))
    node.addEventListener('error', ({ detail }) => window.heard.push(`error: ${detail.message}`))
    const subscription = await node.subscribe('chat')
    void (async () => {
      for await (const { data } of subscription) window.heard.push(new TextDecoder().decode(data))
      window.heard.push('the end')
    })()
  }, options)
  return page
}

const id = (page: Page) => page.evaluate(() => window.node.id)
const heard = (page: Page) => page.evaluate(() => window.heard)

/** Makes a tab take what a node has only one of, such as the responder of a type. */
async function answer(page: Page, as: string): Promise<void> {
  await page.evaluate(async (as) => {
    await window.node.respond('who', () => new TextEncoder().encode(as))
    await window.node.listen('/x/who', async ({ readable, writable }: PeerStream) => {
      await readable.cancel()
      const writer = writable.getWriter()
      await writer.write(new TextEncoder().encode(as))
      await writer.close()
    })
  }, as)
}

/** Returns the answer to a native peer's request, once there is one. */
async function asked(native: Messenger, id: string): Promise<string> {
  return native.call<string>('request', id, 'who', '?', 5_000).catch((error: Error) => error.message)
}

test('tabs have one node, each with its own subscriptions', async ({ context, server, relay, native }) => {
  const relays = [relay.addr('/webtransport/')]
  const a = await open(context, server, { relays })
  const b = await open(context, server, { relays })
  const shared = await id(a)
  expect(await id(b)).toBe(shared)
  expect(await b.evaluate(() => window.node.worker)).toBe('shared')
  expect(await countWorkers(a, 'shared')).toBe(1)
  await expect.poll(() => native.call('send', shared, 'chat', 'to both').then(() => 'sent', String)).toBe('sent')
  for (const tab of [a, b]) await expect.poll(() => heard(tab)).toEqual(['to both'])

  const elsewhere = await open(context, server, { relays, network: 'elsewhere' }) // a node with other options is another node
  expect(await id(elsewhere)).not.toBe(shared)
  expect(await countWorkers(a, 'shared')).toBe(2)
})

test('a node outlives the tab that made it, with its connections and streams', async ({
  context,
  server,
  relay,
  native,
}) => {
  const relays = [relay.addr('/webtransport/')]
  const [a, b] = [await open(context, server, { relays }), await open(context, server, { relays })]
  const shared = await id(a)
  await b.evaluate(() =>
    window.node.listen('/x/back', ({ readable, writable }: PeerStream) => readable.pipeTo(writable)),
  )
  await expect.poll(() => native.call('send', shared, 'chat', 'hello').then(() => 'sent', String)).toBe('sent')
  const since = await b.evaluate(async () => (await window.node.peers()).map(({ since }) => since).sort())
  await b.evaluate(async (addr) => {
    const stream = await window.node.open(await window.node.connect(addr), '/tombolo/echo/1.0.0', {
      allowCustomProtocol: true,
    })
    Object.assign(window, { stream, writer: stream.writable.getWriter(), reader: stream.readable.getReader() })
  }, relays[0]!)

  await a.close()
  await expect.poll(() => native.call('send', shared, 'chat', 'after').then(() => 'sent', String)).toBe('sent')
  await expect.poll(() => heard(b)).toEqual(['hello', 'after'])
  const echoed = await b.evaluate(async () => {
    const { writer, reader } = window as unknown as {
      writer: WritableStreamDefaultWriter<Uint8Array>
      reader: ReadableStreamDefaultReader<Uint8Array>
    }
    await writer.write(new TextEncoder().encode('still the same stream'))
    return new TextDecoder().decode((await reader.read()).value)
  })
  expect(echoed).toBe('still the same stream')
  const still = await b.evaluate(async () => (await window.node.peers()).map(({ since }) => since).sort())
  expect(still).toEqual(since)
  expect(await b.evaluate(() => window.restarts)).toEqual([])
})

test('what a node has only one of is the first tab’s, and then the next one’s', async ({
  context,
  server,
  relay,
  native,
}) => {
  const relays = [relay.addr('/webtransport/')]
  const tabs: Page[] = []
  for (const name of ['first', 'second', 'third']) {
    const tab = await open(context, server, { relays })
    await answer(tab, name)
    tabs.push(tab)
  }
  const [first, second, third] = tabs as [Page, Page, Page]
  const shared = await id(first)
  await expect.poll(() => asked(native, shared)).toBe('first')
  const twice = second.evaluate(() => window.node.listen('/x/who', () => {}).catch(({ message }: Error) => message))
  expect(await twice).toContain('/x/who')
  await second.evaluate(() => window.node.close()) // it gives up its turn before the turn has come
  await first.close()
  await expect.poll(() => asked(native, shared)).toBe('third')
  const listeners = await third.evaluate(() => window.node.listeners())
  expect(listeners.map(({ protocol }) => protocol)).toEqual(['/x/who'])
})

test('a tab that is frozen passes on what it has, and has it again when it is back', async ({
  context,
  server,
  relay,
  native,
}) => {
  const relays = [relay.addr('/webtransport/')]
  const [a, b] = [await open(context, server, { relays }), await open(context, server, { relays })]
  const shared = await id(a)
  await answer(a, 'first')
  await expect.poll(() => asked(native, shared)).toBe('first')
  // Playwright's pages are never hidden, and so never frozen: send the events that they would get.
  const told = (page: Page, what: string) => page.evaluate((what) => void document.dispatchEvent(new Event(what)), what)
  await told(a, 'freeze')
  await expect.poll(() => asked(native, shared)).toContain('who') // nobody answers it
  await answer(b, 'second')
  await expect.poll(() => asked(native, shared)).toBe('second')
  await told(a, 'resume')
  await expect.poll(() => asked(native, shared)).toBe('first')

  // When all tabs are frozen the node is suspended, until one of them resumes or another one opens.
  for (const tab of [a, b]) await told(tab, 'freeze')
  await expect.poll(() => a.evaluate(() => window.node.peers())).toEqual([])
  const c = await open(context, server, { relays })
  await expect.poll(() => c.evaluate(async () => (await window.node.relays()).length)).toBe(1)
  await answer(c, 'third')
  await expect.poll(() => asked(native, shared)).toBe('third')
})

test('a node that a tab closes is the others’ still, and the last one ends the worker', async ({
  context,
  server,
  relay,
  native,
}) => {
  const options: CreateNodeOptions = { relays: [relay.addr('/webtransport/')], identity: 'persistent' }
  const [a, b] = [await open(context, server, options), await open(context, server, options)]
  const shared = await id(a)
  await expect.poll(() => native.call('send', shared, 'chat', 'one').then(() => 'sent', String)).toBe('sent')
  await expect.poll(() => heard(a)).toEqual(['one'])
  await a.evaluate(() => window.node.close())
  await expect.poll(() => heard(a)).toEqual(['one', 'the end'])
  expect(await a.evaluate(() => window.node.peers().catch(String))).toBe('TomboloError: the node is closed')
  await native.call('send', shared, 'chat', 'two')
  await expect.poll(() => heard(b)).toEqual(['one', 'two'])

  await b.evaluate(() => window.node.close())
  await expect.poll(() => countWorkers(a, 'shared')).toBe(0)
  const again = await open(context, server, options) // the identity is free again
  expect(await id(again)).toBe(shared)
})

test('relays of a later tab are relays of the node', async ({ context, server, relay }) => {
  const other = await Relay.start()
  const a = await open(context, server, { relays: [relay.addr('/webtransport/')] })
  const b = await open(context, server, { relays: [other.addr('/ws/')] })
  expect(await id(b)).toBe(await id(a))
  const held = () => a.evaluate(async () => (await window.node.relays()).map(({ id }) => id).sort())
  await expect.poll(held).toEqual([relay.id, other.id].sort())
  await other.stop()
})

for (const [how, reason, kill] of [
  [
    'is stuck',
    /./,
    () =>
      setTimeout(() => {
        for (;;);
      }),
  ],
  [
    'crashes',
    /out of sand/,
    () =>
      setTimeout(() => {
        throw new Error('out of sand')
      }),
  ],
] as [string, RegExp, () => void][]) {
  test(`when the worker of several tabs ${how}, they meet again in the next${how === 'is stuck' ? ' @long' : ''}`, async ({
    context,
    server,
    relay,
    native,
  }) => {
    const options: CreateNodeOptions = { relays: [relay.addr('/webtransport/')], identity: 'persistent' }
    const tabs = [await open(context, server, options), await open(context, server, options)]
    const shared = await id(tabs[0]!)
    await answer(tabs[0]!, 'first')
    await runInWorker(tabs[0]!, 'shared', kill)
    for (const tab of tabs) {
      await expect.poll(() => tab.evaluate(() => window.restarts)).toEqual([expect.stringMatching(reason)])
    }
    const late = await open(context, server, options) // finds the running one
    for (const tab of [...tabs, late]) expect(await id(tab)).toBe(shared)
    await expect.poll(() => asked(native, shared)).toBe('first')
    await native.call('send', shared, 'chat', 'to all')
    for (const tab of [...tabs, late]) await expect.poll(() => heard(tab)).toEqual(['to all'])
  })
}

test('what cannot be had is said, and the next tab may have it', async ({ context, server }) => {
  const page = await context.newPage()
  await page.goto(server.url)
  const failed = await page.evaluate(async (url) => {
    const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
    const tried = (options: object) =>
      createNode({ worker: 'shared', ...options }).then(
        () => 'it was made',
        ({ code, message }: Error & { code?: string }) => `${code}: ${message}`,
      )
    return [
      await tried({ wasm: '/elsewhere.wasm' }),
      await tried({ wasm: '/errors.js' }),
      await tried({ wasm: await WebAssembly.compileStreaming(fetch('/tombolo.wasm')) }),
      await tried({ relays: ['nowhere'] }),
      await tried({ relays: [url.replace('http', 'ftp')] }),
      await tried({ worker: 'communal' }),
    ]
  }, server.url)
  expect(failed).toEqual([
    expect.stringMatching(/^wasm-not-found: .*elsewhere\.wasm/),
    expect.stringMatching(/^wasm-type: .*errors\.js/),
    expect.stringMatching(/^option: wasm/),
    expect.stringMatching(/relays/),
    expect.stringMatching(/relays/),
    expect.stringMatching(/^option: worker: "communal" .*"none", "dedicated", "shared"/),
  ])
  await expect.poll(() => countWorkers(page, 'shared')).toBe(0)
  let loaded = 0
  await page.exposeFunction('progress', (bytes: number) => (loaded = Math.max(loaded, bytes)))
  const made = await page.evaluate(async () => {
    const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
    const { progress } = window as unknown as { progress(bytes: number): void }
    const node = await createNode({ worker: 'shared', onProgress: ({ loaded }) => progress(loaded) })
    return node.worker
  })
  expect(made).toBe('shared')
  await expect.poll(() => loaded).toBeGreaterThan(1 << 20)
})

test('without shared workers, and where there are no Web Locks, it is a dedicated one', async ({ page, server }) => {
  for (const url of [server.url, server.url.replace('localhost', 'insecure.test')]) {
    await page.goto(url)
    const worker = await page.evaluate(async (lacking) => {
      if (lacking) Object.defineProperty(globalThis, 'SharedWorker', { value: undefined })
      const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
      const node = await createNode({ worker: 'shared' })
      await node.peers()
      return node.worker
    }, url === server.url)
    expect(worker).toBe('dedicated')
  }
})
