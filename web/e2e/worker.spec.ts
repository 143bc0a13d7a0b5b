import type { Page } from '@playwright/test'
import type { CreateNodeOptions, PeerStream, TomboloNode } from '@tombolo/node'
import { expect, LONG, test as base } from './support/fixtures.js'
import { type Messenger, natively } from './support/messengers.js'
import { NpmServer } from './support/npm-server.js'
import { countWorkers, type Kind, runInWorker } from './support/worker.js'

// A node in a worker that really crashes or hangs; no test only pretends. The package is as published.

interface Lab extends Window {
  node: TomboloNode
  /** The reasons of the restarts so far. */
  restarts: string[]
  /** The outcomes of what was begun earlier. */
  heard: string[]
  failed: Record<string, Promise<{ name: string; code: string | undefined; message: string }>>
}
declare const window: Lab

const test = base.extend<object, { native: Messenger }>({
  native: [
    async ({ relay }, use) => {
      const native = await natively(relay)
      await native.call('listen', '/x/reply', 'reply', {})
      await native.call('respond', 'hang', 'hang')
      await use(native)
      await native.stop()
    },
    { scope: 'worker' },
  ],
})

async function create(page: Page, server: NpmServer, options: CreateNodeOptions): Promise<string> {
  await page.goto(server.url)
  return page.evaluate(async (options) => {
    const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
    const node = await createNode({ worker: 'dedicated', ...options })
    const restarts: string[] = []
    node.addEventListener('restart', ({ detail }) => restarts.push(detail.reason))
    Object.assign(window, { node, restarts, heard: [], failed: {} })
    return node.id
  }, options)
}

/** More than all buffers on the way can take. */
const MUCH = (LONG ? 64 : 16) << 20

/** How long a peer may keep a connection to a worker that hangs and cannot be ended, plus some seconds for a busy machine. */
const KEEP_ALIVE = 50_000

/** Ways to end the code in the worker of the page. The worker cannot report that it is done. */
const ways: Record<string, { reason: RegExp; kill(page: Page, kind: Kind): Promise<void> }> = {
  'an endless loop': {
    reason: /did not answer 5 heartbeats/,
    kill: (page, kind) =>
      runInWorker(page, kind, () => {
        setTimeout(() => {
          for (;;);
        })
      }),
  },
  'a panic of Go': {
    reason: /the program of the node ended: panic: /,
    async kill(page, kind) {
      // No call of the page makes the program panic. So this makes its next call differ from what Go's own JavaScript support expects.
      await runInWorker(page, kind, () => {
        const get = Reflect.get as (target: object, key: PropertyKey) => unknown
        const other = (target: object, key: PropertyKey) =>
          key === '_pendingEvent' ? { id: 'none' } : get(target, key)
        Object.assign(Reflect, { get: other })
      })
      await page.evaluate(() => void window.node.peers().catch(() => {}))
    },
  },
  'an error that nobody catches': {
    reason: /out of sand/,
    kill: (page, kind) =>
      runInWorker(page, kind, () => {
        setTimeout(() => {
          throw new Error('out of sand')
        })
      }),
  },
}

const kinds: Kind[] = ['dedicated', 'shared']
const cases = kinds.flatMap((worker) => Object.entries(ways).map(([how, way]) => ({ worker, how, ...way })))
for (const { worker, how, reason, kill } of cases) {
  const seldom = worker === 'dedicated' || how === 'a panic of Go' ? '' : ' @long'
  test(`a node whose ${worker} worker ends by ${how} is the same after it was started again${seldom}`, async ({
    page,
    server,
    relay,
    native,
  }) => {
    // Both kinds of identity that must be handed on.
    const identity = how === 'an endless loop' ? 'persistent' : 'ephemeral'
    const id = await create(page, server, {
      worker,
      relays: [relay.addr('/webtransport/')],
      identity,
    })
    await page.evaluate(async (native) => {
      const { node } = window
      const text = new TextDecoder()
      await node.respond('shout', ({ data }) => new TextEncoder().encode(text.decode(data).toUpperCase()))
      const back = await node.listen('/x/back', async ({ readable, writable }: PeerStream) => {
        const all = await new Response(readable).arrayBuffer()
        const count = new DataView(new ArrayBuffer(8))
        count.setBigUint64(0, BigInt(all.byteLength))
        await new Blob([count, all]).stream().pipeTo(writable)
      })
      await back.update({ maxStreams: 7 })
      const closed = await node.listen('/x/closed', () => {})
      await closed.close()
      const subscription = await node.subscribe('chat')
      void (async () => {
        for await (const { data } of subscription) window.heard.push(text.decode(data))
        window.heard.push('the end')
      })()
      const told = (promise: Promise<unknown>) =>
        promise.then(
          () => ({ name: 'nothing', code: 'none', message: '' }),
          ({ name, code, message }: Error & { code?: string }) => ({ name, code, message }),
        )
      const stream = await node.open(native, '/x/reply')
      await stream.writable.getWriter().write(new Uint8Array(1000))
      window.failed['reading'] = told(stream.readable.getReader().read())
      window.failed['asking'] = told(node.request(native, 'hang', new Uint8Array(1)))
    }, native.id)
    await native.call('send', id, 'chat', 'before')
    await expect.poll(() => page.evaluate(() => window.heard)).toEqual(['before'])

    await kill(page, worker)
    await expect.poll(() => page.evaluate(() => window.restarts)).toEqual([expect.stringMatching(reason)])
    for (const what of ['reading', 'asking']) {
      const failed = await page.evaluate((what) => window.failed[what], what)
      expect(failed, what).toMatchObject({ name: 'RestartError', code: 'restart' })
      expect(failed!.message).toMatch(reason)
    }
    expect(await page.evaluate(() => window.node.id)).toBe(id)
    const listeners = await page.evaluate(() => window.node.listeners())
    expect(listeners.map(({ protocol, limits }) => [protocol, limits])).toEqual([['/x/back', { streams: 7 }]])

    // By other peers, through the relay, where it has a reservation again.
    const asked = () =>
      native.call('request', id, 'shout', 'still there?', 5_000).catch((error: Error) => error.message)
    await expect.poll(asked, { timeout: KEEP_ALIVE }).toBe('STILL THERE?')
    await native.call('send', id, 'chat', 'after')
    await expect.poll(() => page.evaluate(() => window.heard)).toEqual(['before', 'after'])
    const addr = await native.call<string>('forward', '/x/back', id)
    expect(await native.call('exchange', addr, 1 << 20)).toEqual({ received: (1 << 20) + 8, same: true })
    expect(await page.evaluate(() => window.restarts.length)).toBe(1)

    await page.evaluate(() => window.node.close())
    await expect.poll(() => page.evaluate(() => window.heard)).toEqual(['before', 'after', 'the end'])
    // A shared worker that hangs ends only with its pages.
    const left = worker === 'shared' && how === 'an endless loop' ? 1 : 0
    await expect.poll(() => countWorkers(page, worker)).toBe(left)
  })
}

for (const worker of kinds) {
  test(`a node whose ${worker} worker is out of memory is started again`, async ({ page, server }) => {
    const id = await create(page, server, { worker, wasm: `${server.url}crash.wasm` })
    const failed = await page.evaluate(() =>
      window.node.ping('memory').catch(({ code }: Error & { code: string }) => code),
    )
    expect(failed).toBe('restart')
    await expect.poll(() => page.evaluate(() => window.restarts)).toEqual([expect.stringMatching(/out of memory/)])
    expect(await page.evaluate(() => window.node.id)).toBe(id)
    // The next worker takes calls.
    const again = page.evaluate(() => window.node.ping('panic').catch(({ message }: Error) => message))
    expect(await again).toContain('out of sand')
  })
}

test('a node that is started again too often stops, and says so', async ({ page, server }) => {
  await create(page, server, { wasm: `${server.url}crash.wasm` })
  const result = await page.evaluate(async () => {
    const { node, restarts } = window
    const told = (promise: Promise<unknown>) =>
      promise.then(
        () => 'nothing',
        (error: Error & { code?: string }) => `${error.code}: ${error.message}`,
      )
    const fatal = new Promise((resolve) => node.addEventListener('error', ({ detail }) => resolve(detail)))
    const pings: string[] = []
    while (pings.length < 6) pings.push(await told(node.ping('panic')))
    const event = await fatal
    const after = [await told(node.peers()), await told(node.subscribe('chat')), await told(node.close())]
    return { pings, event, after, restarts: restarts.length }
  })
  const often = expect.stringMatching(/^crashed: .*panic: out of sand.*5 times in 30 s/) as unknown
  expect(result).toEqual({
    pings: [...Array<unknown>(5).fill(expect.stringMatching(/^restart: .*panic: out of sand/)), often],
    event: { message: expect.stringContaining('5 times in 30 s') as unknown, fatal: true },
    after: [often, often, 'nothing'],
    restarts: 5,
  })
  await expect.poll(() => page.workers().length).toBe(0)
})

test('a page that stood still does not take its worker for stuck @long', async ({ page, server }) => {
  await create(page, server, {})
  const result = await page.evaluate(async () => {
    const { node, restarts } = window
    // Longer than the timeout of heartbeats. Playwright cannot freeze a page, but for timers and messages this is the same.
    for (const end = performance.now() + 8_000; performance.now() < end;);
    await new Promise((resolve) => setTimeout(resolve, 2_500)) // two heartbeats later, a wrong verdict would show
    return [await node.peers(), restarts]
  })
  expect(result).toEqual([[], []])
})

test('a worker that cannot be loaded is an error that says so', async ({ page, server }) => {
  await page.route('**/worker.js', (route) => route.fulfill({ status: 404 }))
  await page.goto(server.url)
  const failed = await page.evaluate(async () => {
    const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
    return createNode({ worker: 'dedicated' }).catch(({ name, code }: Error & { code: string }) => ({ name, code }))
  })
  expect(failed).toEqual({ name: 'TomboloError', code: 'worker-unreachable' })
})

test('a bad option, an aborted wait and the progress are as without a worker', async ({ page, server }) => {
  await page.goto(server.url)
  const result = await page.evaluate(async () => {
    const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
    const both = async (options: object) => {
      const said = (worker: 'none' | 'dedicated') =>
        createNode({ worker, ...options }).then(
          (node) => node.close().then(() => 'it was made'),
          (error: Error) => `${error.name}: ${error.message}`,
        )
      return [await said('none'), await said('dedicated')]
    }
    let loaded = 0
    const progress = { onProgress: (progress: { loaded: number }) => (loaded = progress.loaded) }
    const watched = await createNode({ worker: 'dedicated', ...progress })
    const module = await WebAssembly.compileStreaming(fetch('/tombolo.wasm'))
    await watched.close()
    return {
      loaded,
      closed: await watched.peers().catch(String),
      again: await watched.close(),
      pairs: [
        await both({ relays: 'nowhere' }),
        await both({ relay: [] }),
        await both({ identity: new Uint8Array([1, 2, 3]) }),
        await both({ identity: new AbortController() }),
        await both({ histories: 'persistent' }),
        await both({ signal: AbortSignal.abort(new Error('too long')) }),
        await both({ wasm: 'http://' }),
        await both({ wasm: '/elsewhere.wasm' }),
        await both({ wasm: module }),
      ],
    }
  })
  expect(result.loaded).toBeGreaterThan(1 << 20)
  expect(result.closed).toBe('TomboloError: the node is closed')
  for (const [none, dedicated] of result.pairs) expect(dedicated).toBe(none)
  await expect.poll(() => page.workers().length).toBe(0)
})

test(`${MUCH >> 20} MiB go each way through the worker`, async ({ page, server, testPeer }) => {
  await create(page, server, {})
  const result = await page.evaluate(
    async ({ peer, addr, size }) => {
      const { node } = window
      await node.connect(addr)
      const up = await node.open(peer, '/test/sink/1', { allowCustomProtocol: true })
      const writer = up.writable.getWriter()
      const piece = new Uint8Array(65536)
      for (let sent = 0; sent < size; sent += piece.length) {
        await writer.ready
        void writer.write(piece)
      }
      await writer.close()
      const receipt = new DataView(await new Response(up.readable).arrayBuffer())
      const down = await node.open(peer, '/test/source/1', { allowCustomProtocol: true })
      const wanted = new DataView(new ArrayBuffer(8))
      wanted.setBigUint64(0, BigInt(size))
      await down.writable.getWriter().write(new Uint8Array(wanted.buffer))
      let received = 0
      await down.readable.pipeTo(new WritableStream({ write: (chunk) => void (received += chunk.length) }))
      return { sent: Number(receipt.getBigUint64(0)) / size, received: received / size }
    },
    { peer: testPeer.id, addr: testPeer.addr('/ws/'), size: MUCH },
  )
  expect(result).toEqual({ sent: 1, received: 1 })
})

test('a subscription whose node was closed is read to its end', async ({ page, server, relay, native }) => {
  const id = await create(page, server, { relays: [relay.addr('/webtransport/')] })
  await page.evaluate(async () => {
    Object.assign(window, { left: await window.node.subscribe('left', { buffer: 2 }) })
    Object.assign(window, { all: await window.node.subscribe('left') })
  })
  await expect.poll(() => native.call('send', id, 'left', '1').then(() => 'sent', String)).toBe('sent')
  for (const text of ['2', '3']) await native.call('send', id, 'left', text)
  await native.call('request', id, 'left', '').catch(() => {}) // this comes after the messages, and so does its answer
  const result = await page.evaluate(async () => {
    type Subscription = Awaited<ReturnType<TomboloNode['subscribe']>>
    const { left, all } = window as unknown as { left: Subscription; all: Subscription }
    await window.node.close()
    const texts = async (subscription: Subscription) => {
      const read: string[] = []
      for await (const { data } of subscription) read.push(new TextDecoder().decode(data))
      return read
    }
    return { left: await texts(left), dropped: await left.dropped(), all: await texts(all) }
  })
  expect(result).toEqual({ left: ['1', '2'], dropped: 1, all: ['1', '2', '3'] })
})
