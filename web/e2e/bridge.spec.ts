import type { Service, StreamInfo } from '@tombolo/node'
import { expect, hasWebTransport, join, NO_WEBTRANSPORT, CORE, SMOKE, test } from './support/crossing.js'
import { type Messenger, natively } from './support/messengers.js'
import type { Tab } from './support/node-tab.js'
import type { Relay } from './support/peers.js'

// Streams between a tab and TCP services and clients behind a native node: no byte is lost at the end, and every failure has a reason. Over
// WebTransport the browser carries the bytes, over the other transports Go does.

const MIB = 1 << 20

type Way = 'webtransport' | 'websocket' | 'circuit'
const ways: Way[] = ['webtransport', 'websocket', 'circuit']

interface Pair {
  id: string
  native: Messenger
}

/** Creates a node in the tab and connects it to a native node in one of the ways. */
async function meet(tab: Tab, relay: Relay, native: Messenger, way = best()): Promise<Pair> {
  const transport = way === 'circuit' ? best() : way
  const id = await join(tab, `${relay.url}?transport=${transport}`)
  const part = transport === 'websocket' ? '/ws/' : '/webtransport/'
  const addrs = way === 'circuit' ? await reserved(native) : await native.call<string[]>('addrs')
  const addr = addrs.find(
    (a) => a.includes('/127.0.0.1/') && a.includes(part) && a.includes('p2p-circuit') === (way === 'circuit'),
  )
  await tab.evaluate((addr) => window.tombolo!.connect(addr), addr!)
  const [peer] = await tab.evaluate(async (id) => (await window.tombolo!.peers()).filter((p) => p.id === id), native.id)
  expect(peer!.transport).toBe(way)
  return { id, native }
}

/** Returns a way for tests in which the way does not matter. */
function best(): Way {
  return hasWebTransport() ? 'webtransport' : 'websocket'
}

/** Returns the addresses of a native node through its relay, once it has a reservation. */
async function reserved(native: Messenger): Promise<string[]> {
  let addrs: string[] = []
  await expect
    .poll(async () => {
      addrs = (await native.call<string[]>('addrs')).filter((a) => a.includes('p2p-circuit'))
      return addrs.length
    })
    .toBeGreaterThan(0)
  return addrs
}

const bridged = test.extend<object, { native: Messenger }>({
  native: [
    async ({ relay }, use) => {
      const native = await natively(relay)
      await native.call('listen', '/x/reply', 'reply', { announce: 'says it again' })
      await native.call('listen', '/x/first', 'first', {})
      await use(native)
      await native.stop()
    },
    { scope: 'worker' },
  ],
})

let heard = 0

for (const way of ways) {
  bridged.describe(`between a tab and a native node, over ${way}`, () => {
    test.skip(() => way === 'webtransport' && !hasWebTransport(), NO_WEBTRANSPORT)

    bridged(
      'a tab ends its side after 1 MiB, and gets 1 MiB and 8 bytes back',
      CORE,
      async ({ tab, relay, native }) => {
        await meet(tab, relay, native, way)
        expect(await tab.evaluate(exchange, { peer: native.id, size: MIB })).toEqual({ received: MIB + 8, same: true })
        const [ended] = await endedStreams(tab, 1)
        expect(ended).toMatchObject({
          protocol: '/x/reply',
          peer: native.id,
          inbound: false,
          target: `/p2p/${native.id}`,
          transport: way,
          ...(way === 'circuit' && { relay: relay.id }),
          ...(way === 'websocket' && { sent: MIB, received: MIB + 8 }),
        })
        expect(ended!.reason).toBeUndefined()
        expect(await tab.evaluate(() => window.tombolo!.streams())).toEqual([])
      },
    )

    bridged('the service ends its side after 1 MiB, and gets 1 MiB and 8 bytes', async ({ tab, relay, native }) => {
      await meet(tab, relay, native, way)
      const sent = await tab.evaluate(
        async ({ peer, size }) => {
          const stream = await window.tombolo!.open(peer, '/x/first')
          const first = new Uint8Array(await new Response(stream.readable).arrayBuffer()) // ends when the service closes its half
          const wrong = first.findIndex((byte, i) => byte !== i % 251)
          const bytes = new Uint8Array(size)
          for (let i = 0; i < size; i += 65536) crypto.getRandomValues(bytes.subarray(i, i + 65536))
          const sha256 = [...new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))]
          await new Blob([bytes]).stream().pipeTo(stream.writable)
          return { first: first.length, wrong, sha256: sha256.map((b) => b.toString(16).padStart(2, '0')).join('') }
        },
        { peer: native.id, size: MIB + 8 },
      )
      expect(sent).toMatchObject({ first: MIB, wrong: -1 })
      const all = await native.call<unknown[]>('heard', ++heard)
      expect(all.at(-1)).toEqual({ bytes: MIB + 8, sha256: sent.sha256 })
    })

    bridged('a TCP client of a native forward is answered by a tab', SMOKE, async ({ tab, relay, native }) => {
      const { id } = await meet(tab, relay, native, way)
      await tab.evaluate(listenReply)
      const addr = await native.call<string>('forward', '/x/back', id)
      expect(await native.call('exchange', addr, MIB)).toEqual({ received: MIB + 8, same: true })
      const [ended] = await endedStreams(tab, 1)
      expect(ended).toMatchObject({
        protocol: '/x/back',
        inbound: true,
        origin: `/p2p/${native.id}`,
        target: 'function answer',
      })
      expect(ended!.reason).toBeUndefined()
    })

    bridged('16 MiB go to a service and back, and from a client and back', async ({ tab, relay, native }) => {
      const { id } = await meet(tab, relay, native, way)
      await tab.evaluate(listenReply)
      const size = 16 * MIB
      expect(await tab.evaluate(exchange, { peer: native.id, size })).toEqual({ received: size + 8, same: true })
      const addr = await native.call<string>('forward', '/x/back', id)
      expect(await native.call('exchange', addr, size)).toEqual({ received: size + 8, same: true })
    })

    bridged('a refusal says why', SMOKE, async ({ tab, relay, native }) => {
      const { id } = await meet(tab, relay, native, way)
      const name = (what: string) => `/x/${way}/${what}`
      await native.call('listen', name('others'), 'reply', { allow: [native.id] })
      await native.call('listen', name('denied'), 'reply', { allow: [id], deny: [id] })
      await native.call('listen', name('closed'), 'closed', {})
      await native.call('listen', name('break'), 'break', {})
      await native.call('listen', name('one'), 'reply', { maxStreams: 1 })
      await tab.evaluate(
        async ([peer, protocol]) => {
          const holding = await window.tombolo!.open(peer, protocol)
          await holding.writable.getWriter().write(new Uint8Array(1))
          Object.assign(window, { holding })
        },
        [native.id, name('one')] as const,
      )
      const reasons = {
        others: 'not allowed',
        denied: 'not allowed',
        nobody: 'no such protocol',
        closed: 'target refused',
        break: 'target failed',
        one: 'too many streams',
      }
      const seen = await Promise.all(
        Object.keys(reasons).map((what) => tab.evaluate(why, { peer: native.id, protocol: name(what), size: 65536 })),
      )
      expect(seen.map(({ reason }) => reason)).toEqual(Object.values(reasons))
      for (const { name, code, message, reason } of seen) {
        expect({ name, code }).toEqual({ name: 'TomboloError', code: 'stream' })
        expect(message).toContain(reason!)
      }
      const ended = await endedStreams(tab, seen.length) // including those that were refused before they became streams
      expect(ended.map((s) => s.reason).sort()).toEqual(Object.values(reasons).sort())
      expect((await tab.evaluate(() => window.tombolo!.streams())).map((s) => s.protocol)).toEqual([name('one')])
    })

    bridged('who may is changed while a tab listens', async ({ tab, relay, native }) => {
      const { id } = await meet(tab, relay, native, way)
      await tab.evaluate(listenReply)
      const update = (changes: object) =>
        tab.evaluate(
          (changes) => (window as unknown as { back: import('@tombolo/node').Listener }).back.update(changes),
          changes,
        )
      const addr = await native.call<string>('forward', '/x/back', id)
      const works = async () =>
        expect(await native.call('exchange', addr, 1000)).toEqual({ received: 1008, same: true })
      const refused = async (reason: string) => {
        expect(await native.call('exchange', addr, 1000)).toMatchObject({ received: 0, same: false })
        await expect.poll(async () => lastEnded(native, id)).toMatchObject({ protocol: '/x/back', reason })
      }
      await works()
      await update({ deny: [native.id] })
      await refused('not allowed')
      await update({ deny: [], allow: [id] })
      await refused('not allowed')
      await update({ allow: [id, native.id] })
      await works()
      await update({ allow: [], maxStreams: 1, rate: 1 << 20 })
      await works()
      const [info] = await tab.evaluate(() => window.tombolo!.listeners())
      expect(info).toMatchObject({
        protocol: '/x/back',
        listen: `/p2p/${id}`,
        target: 'function answer',
        limits: { streams: 1, rate: 1 << 20 },
        live: 0,
        total: 3,
        refused: 2,
      })
      // While the page is open, native's forward itself holds no stream. A stream that hangs takes the listener's only slot.
      await tab.evaluate(() => window.tombolo!.listen('/x/hang', () => {}, { maxStreams: 1 }))
      const hang = await native.call<string>('forward', '/x/hang', id)
      const first = native.call('exchange', hang, 10)
      await expect.poll(async () => (await liveStreams(tab)).map((s) => s.protocol)).toEqual(['/x/hang'])
      expect(await native.call('exchange', hang, 10)).toMatchObject({ received: 0 })
      await expect.poll(async () => (await lastEnded(native, id))?.reason).toBe('too many streams')
      const [{ id: stream }] = (await liveStreams(tab)) as [StreamInfo]
      await tab.evaluate((stream) => window.tombolo!.closeStream(stream), stream)
      expect(await first).toMatchObject({ received: 0 })
    })

    bridged('a stream that is closed by its id fails at both ends, and says why', async ({ tab, relay, native }) => {
      const { id } = await meet(tab, relay, native, way)
      const result = await tab.evaluate(async (peer) => {
        const node = window.tombolo!
        const stream = await node.open(peer, '/x/reply')
        const writer = stream.writable.getWriter()
        await writer.write(new Uint8Array(10))
        const reading = stream.readable.getReader().read()
        const live = await node.streams()
        await node.closeStream(live[0]!.id)
        const error = (e: unknown) => (e as { reason?: string }).reason ?? String(e)
        return {
          live: live.map(({ protocol, peer }) => [protocol, peer]),
          read: await reading.then(() => 'it was read', error),
          written: await writer.write(new Uint8Array(10)).then(() => 'it was written', error),
          left: await node.streams(),
          again: await node.closeStream(live[0]!.id).then(() => 'it was closed', String),
        }
      }, native.id)
      expect(result).toEqual({
        live: [['/x/reply', native.id]],
        read: 'closed by hand',
        written: 'closed by hand',
        left: [],
        again: expect.stringContaining('no live stream has that id') as unknown,
      })
      const theirs = async () => (await native.call<StreamInfo[]>('streams')).filter(({ peer }) => peer === id)
      await expect.poll(theirs).toEqual([])
    })

    bridged('a handler that throws is a reason for its caller', async ({ tab, relay, native }) => {
      const { id } = await meet(tab, relay, native, way)
      const said = tab.evaluate(async () => {
        const said = new Promise<string>((resolve) =>
          window.tombolo!.addEventListener('error', ({ detail }) => resolve(detail.message), { once: true }),
        )
        await window.tombolo!.listen('/x/throws', async (stream) => {
          await stream.readable.getReader().read()
          throw new Error('not today')
        })
        Object.assign(window, { listening: true })
        return said
      })
      await tab.waitForFunction(() => 'listening' in window)
      const addr = await native.call<string>('forward', '/x/throws', id)
      expect(await native.call('exchange', addr, 10)).toMatchObject({ received: 0 })
      expect(await said).toBe('handler of /x/throws: not today')
      await expect.poll(async () => (await lastEnded(native, id))?.reason).toBe('target failed')
      expect((await endedStreams(tab, 1))[0]!.reason).toBe('target failed')
    })

    test('a peer that is killed in the middle is an error with a reason at both kinds of stream', async ({
      tab,
      relay,
    }) => {
      const native = await natively(relay, [relay.addr('/ws/')]) // over QUIC, the relay notices its end only half a minute later
      try {
        await native.call('listen', '/x/reply', 'reply', {})
        const { id } = await meet(tab, relay, native, way)
        const ends = tab.evaluate(async (peer) => {
          const error = (e: unknown) => (e as { reason?: string }).reason ?? String(e)
          const slow = () => new Promise<void>((resolve) => setTimeout(resolve, 10))
          const drain = (from: ReadableStream) =>
            from.pipeTo(new WritableStream({ write: slow })).then(() => 'it ended', error)
          const inbound = new Promise<string>((resolve) => {
            void window.tombolo!.listen('/x/sink', async (stream) => resolve(await drain(stream.readable)))
          })
          const stream = await window.tombolo!.open(peer, '/x/reply')
          const writer = stream.writable.getWriter()
          const writing = (async () => {
            for (;;) await Promise.all([writer.write(new Uint8Array(1000)), slow()])
          })().catch(error)
          const reading = drain(stream.readable)
          Object.assign(window, { streaming: true })
          return Promise.all([writing, reading, inbound])
        }, native.id)
        await tab.waitForFunction(() => 'streaming' in window)
        const addr = await native.call<string>('forward', '/x/sink', id)
        void native.call('exchange', addr, 64 << 20).catch(() => {})
        await expect.poll(async () => (await liveStreams(tab)).length).toBe(2)
        await native.kill()
        expect(await ends).toEqual(['peer lost', 'peer lost', 'peer lost'])
        await expect.poll(() => liveStreams(tab)).toEqual([])
      } finally {
        await native.stop()
      }
    })
  })
}

bridged('a service that never answers is a refusal that says so', async ({ tab, relay, native }) => {
  await meet(tab, relay, native)
  await native.call('listen', '/x/silent', 'silent', {})
  const said = await tab.evaluate(why, { peer: native.id, protocol: '/x/silent', size: 65536 })
  expect(said).toMatchObject({ name: 'TomboloError', code: 'stream', reason: 'target timed out' })
})

bridged('services are seen both ways', async ({ tab, relay, native }) => {
  const { id } = await meet(tab, relay, native)
  const services = (peer?: string) =>
    tab.evaluate((peer) => (peer ? window.tombolo!.services(peer) : window.tombolo!.services()), peer)
  const theirs: Service = { peer: native.id, protocol: '/x/reply', description: 'says it again' }
  expect(await services(native.id)).toEqual([theirs])
  expect(await services()).toEqual([theirs])
  expect(await services(relay.id)).toEqual([])
  await tab.evaluate(async (native) => {
    await window.tombolo!.listen('/x/open', () => {}, { announce: 'for everybody' })
    await window.tombolo!.listen('/x/secret', () => {}, { announce: 'for nobody', deny: [native] })
    await window.tombolo!.listen('/x/quiet', () => {})
  }, native.id)
  expect(await native.call('services', id)).toEqual([{ protocol: '/x/open', description: 'for everybody' }])
  const stats = await tab.evaluate(async () => (await window.tombolo!.stats()).bridge)
  expect(stats).toMatchObject({ listeners: 3, streams: 0 })
})

bridged('a rate holds over WebTransport, too', async ({ tab, relay, native }) => {
  test.skip(!hasWebTransport(), NO_WEBTRANSPORT)
  const { id } = await meet(tab, relay, native, 'webtransport')
  await tab.evaluate(() =>
    window.tombolo!.listen(
      '/x/slow',
      (stream) => stream.readable.pipeTo(new WritableStream()).then(() => stream.writable.close()),
      {
        rate: 256 << 10,
      },
    ),
  )
  const addr = await native.call<string>('forward', '/x/slow', id)
  const before = Date.now()
  expect(await native.call('exchange', addr, 512 << 10)).toMatchObject({ received: 0 })
  expect(Date.now() - before).toBeGreaterThan(1200) // 512 KiB, of which 64 KiB pass at once
  expect((await endedStreams(tab, 1))[0]).toMatchObject({ received: 512 << 10 })
})

bridged('a page that neither reads nor ends has its streams listed', async ({ tab, relay, native }) => {
  const apart = ['dedicated', 'shared'].includes(test.info().project.name)
  test.skip(apart, 'a stream on its way to a page is read ahead, and so to its end')
  await meet(tab, relay, native)
  const left = await tab.evaluate(async (peer) => {
    const node = window.tombolo!
    const [a, b] = [await node.open(peer, '/x/reply'), await node.open(peer, '/x/first')]
    await a.writable.close() // then 8 bytes arrive that nobody reads
    await b.writable.close()
    const left = await node.streams()
    await Promise.all([a, b].map((stream) => stream.readable.cancel()))
    return left.map(({ protocol }) => protocol)
  }, native.id)
  expect(left).toEqual(['/x/reply', '/x/first'])
  await expect.poll(() => liveStreams(tab)).toEqual([])
  await native.call('heard', ++heard)
})

test('every call with bad input rejects, names what is wrong, and the node lives on', async ({ tab, relay }) => {
  await join(tab, relay.url)
  const { said: errors, codes } = await tab.evaluate(async (relay) => {
    // eslint-disable-next-line @typescript-eslint/no-explicit-any
    const node = window.tombolo as any
    const f = () => {}
    await node.listen('/x/taken', f)
    const closed = await node.listen('/x/closed', f)
    await closed.close()
    await closed.close()
    const open = await node.listen('/x/open', f)
    const calls: Record<string, () => Promise<unknown>> = {
      'open peer': () => node.open('nobody', '/x/a'),
      'open self': () => node.open(node.id, '/x/a'),
      'open protocol': () => node.open(relay, 5),
      'open name': () => node.open(relay, '/a'),
      'open option': () => node.open(relay, '/x/a', { sginal: null }),
      'open custom': () => node.open(relay, '/a', { allowCustomProtocol: 'yes' }),
      'open custom missing': () => node.open(relay, '/a', { allowCustomProtocol: true }),
      'open missing': () => node.open(relay, '/x/a'),
      'open away': () => node.open('12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA', '/x/a'),
      'open signal': () => node.open(relay, '/x/a', { signal: 5 }),
      'open aborted': () => node.open(relay, '/x/a', { signal: AbortSignal.abort(new Error('too long')) }),
      'listen protocol': () => node.listen(undefined, f),
      'listen name': () => node.listen('/a', f),
      'listen bare': () => node.listen('/x/', f),
      'listen space': () => node.listen('/x/a b', f),
      'listen long': () => node.listen('/x/' + 'a'.repeat(300), f),
      'listen handler': () => node.listen('/x/a'),
      'listen taken': () => node.listen('/x/taken', f),
      'listen own': () => node.listen('/tombolo/bridge/1.0.0', f, { allowCustomProtocol: true }),
      'listen options': () => node.listen('/x/a', f, 5),
      'listen option': () => node.listen('/x/a', f, { alow: [] }),
      'listen allow': () => node.listen('/x/a', f, { allow: 'me' }),
      'listen allow peer': () => node.listen('/x/a', f, { allow: ['me'] }),
      'listen deny': () => node.listen('/x/a', f, { deny: [5] }),
      'listen announce': () => node.listen('/x/a', f, { announce: true }),
      'listen announce long': () => node.listen('/x/a', f, { announce: 'a'.repeat(257) }),
      'listen announce lines': () => node.listen('/x/a', f, { announce: 'a\nb' }),
      'listen custom': () => node.listen('/x/a', f, { allowCustomProtocol: 1 }),
      'listen maxStreams': () => node.listen('/x/a', f, { maxStreams: -1 }),
      'listen maxStreamsPerPeer': () => node.listen('/x/a', f, { maxStreamsPerPeer: 1.5 }),
      'listen rate': () => node.listen('/x/a', f, { rate: '1 MB' }),
      'update nothing': () => open.update(),
      'update option': () => open.update({ announce: 'a' }),
      'update allow': () => open.update({ allow: [''] }),
      'update rate': () => open.update({ rate: NaN }),
      'update closed': () => closed.update({}),
      'update other': () => open.update.call(node, {}),
      'services peer': () => node.services('nobody'),
      'services null': () => node.services(null),
      'services self': () => node.services(node.id),
      'services option': () => node.services({ peer: relay }),
      'services signal': () => node.services(relay, { signal: 'now' }),
      'services aborted': () => node.services({ signal: AbortSignal.abort(new Error('too long')) }),
      'streams option': () => node.streams({ end: true }),
      'streams ended': () => node.streams({ ended: 'yes' }),
      'closeStream id': () => node.closeStream('0'),
      'closeStream fraction': () => node.closeStream(0.5),
      'closeStream unknown': () => node.closeStream(1e9),
    }
    const said: Record<string, string> = {}
    const codes: Record<string, string | undefined> = {}
    for (const [name, call] of Object.entries(calls)) {
      said[name] = await call().then(
        () => 'it did not reject',
        (error: Error & { code?: string; reason?: string }) => {
          codes[name] = error.code
          return `${error.name}: ${error.message}` + (error.reason ? ` (${error.reason})` : '')
        },
      )
    }
    return { said, codes }
  }, relay.id)
  const within = 'must be within the /x/ namespace'
  const wanted: Record<string, string> = {
    'open peer': 'TomboloError: peer must be a peer id, not "nobody"',
    'open self': 'this node itself',
    'open protocol': 'TomboloError: protocol must be a name that begins with /, not 5',
    'open name': within,
    'open option': 'unknown option "sginal"',
    'open custom': 'TomboloError: option allowCustomProtocol must be true or false',
    'open custom missing': '(no such protocol)',
    'open missing': '(no such protocol)',
    'open away': '(peer away)',
    'open signal': 'TomboloError: option signal must be an AbortSignal',
    'open aborted': 'Error: too long',
    'listen protocol': 'TomboloError: protocol must be a name that begins with /, not undefined',
    'listen name': within,
    'listen bare': within,
    'listen space': 'bad protocol name "/x/a b"',
    'listen long': 'longer than 256 bytes',
    'listen handler': 'TomboloError: handler must be a function, not undefined',
    'listen taken': 'listen on /x/taken: listener already registered',
    'listen own': 'protocol already has a handler',
    'listen options': 'TomboloError: options must be an object, not 5',
    'listen option': 'unknown option "alow"',
    'listen allow': 'TomboloError: option allow must be an array of peer ids, not "me"',
    'listen allow peer': 'TomboloError: option allow must be an array of peer ids, not "me"',
    'listen deny': 'TomboloError: option deny must be an array of peer ids, not 5',
    'listen announce': 'TomboloError: option announce must be a description, not true',
    'listen announce long': 'the description is longer than 256 bytes',
    'listen announce lines': 'the description holds the character U+000A',
    'listen custom': 'TomboloError: option allowCustomProtocol must be true or false, not 1',
    'listen maxStreams': 'TomboloError: option maxStreams must be a whole number, or 0 for no bound, not -1',
    'listen maxStreamsPerPeer':
      'TomboloError: option maxStreamsPerPeer must be a whole number, or 0 for no bound, not 1.5',
    'listen rate': 'TomboloError: option rate must be a whole number, or 0 for no bound, not "1 MB"',
    'update nothing': 'TomboloError: changes must be an object, not undefined',
    'update option': 'unknown option "announce"',
    'update allow': 'TomboloError: option allow must be an array of peer ids, not ""',
    'update rate': 'TomboloError: option rate must be a whole number',
    'update closed': 'the listener is closed',
    'update other': 'update was not called on a listener',
    'services peer': 'TomboloError: peer must be a peer id, not "nobody"',
    'services null': 'TomboloError: peer must be a peer id, not null',
    'services self': 'this node itself',
    'services option': 'unknown option "peer"',
    'services signal': 'TomboloError: option signal must be an AbortSignal',
    'services aborted': 'Error: too long',
    'streams option': 'unknown option "end"',
    'streams ended': 'TomboloError: option ended must be true or false, not "yes"',
    'closeStream id': 'TomboloError: id must be the id of a stream, which is a whole number, not "0"',
    'closeStream fraction': 'TomboloError: id must be the id of a stream',
    'closeStream unknown': 'close stream 1000000000: no live stream has that id',
  }
  for (const [call, text] of Object.entries(wanted)) expect.soft(errors[call], call).toContain(text)
  expect(Object.keys(errors)).toEqual(Object.keys(wanted))
  const others = Object.entries(codes).filter(([, code]) => code !== 'argument')
  expect(Object.fromEntries(others)).toEqual({
    'open custom missing': 'stream',
    'open missing': 'stream',
    'open away': 'stream',
    'open aborted': undefined, // the signal's own reason
    'listen taken': 'taken',
    'listen own': 'taken',
    'update closed': 'closed',
    'services aborted': undefined,
  })
  const names = await tab.evaluate(async () => (await window.tombolo!.listeners()).map(({ protocol }) => protocol))
  expect(names).toEqual(['/x/open', '/x/taken'])
})

/** Returns the stream between a native node and a peer that ended last. */
async function lastEnded(native: Messenger, peer: string): Promise<StreamInfo | undefined> {
  return (await native.call<StreamInfo[]>('endedStreams')).findLast((stream) => stream.peer === peer)
}

function liveStreams(tab: Tab): Promise<StreamInfo[]> {
  return tab.evaluate(() => window.tombolo!.streams())
}

/** Returns the streams of the tab that have ended, once there are `count`. */
async function endedStreams(tab: Tab, count: number): Promise<StreamInfo[]> {
  let ended: StreamInfo[] = []
  await expect
    .poll(async () => (ended = await tab.evaluate(() => window.tombolo!.streams({ ended: true }))).length)
    .toBeGreaterThanOrEqual(count)
  return ended
}

/** Runs in the tab: sends random bytes to a service that answers with their count and the bytes after they have ended. */
async function exchange({ peer, size }: { peer: string; size: number }) {
  const sent = new Uint8Array(size)
  for (let i = 0; i < size; i += 65536) crypto.getRandomValues(sent.subarray(i, i + 65536))
  const { readable, writable } = await window.tombolo!.open(peer, '/x/reply')
  await new Blob([sent]).stream().pipeTo(writable)
  const back = await new Response(readable).arrayBuffer()
  const hash = async (bytes: BufferSource) => String(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))
  const counted = Number(new DataView(back).getBigUint64(0)) === size
  return { received: back.byteLength, same: counted && (await hash(back.slice(8))) === (await hash(sent)) }
}

/** Runs in the tab: provides that service. */
async function listenReply() {
  const back = await window.tombolo!.listen('/x/back', async function answer(stream) {
    const all = await new Response(stream.readable).arrayBuffer()
    const count = new DataView(new ArrayBuffer(8))
    count.setBigUint64(0, BigInt(all.byteLength))
    await new Blob([count, all]).stream().pipeTo(stream.writable)
  })
  Object.assign(window, { back })
}

/** Runs in the tab: returns where a stream fails, and why. */
async function why({ peer, protocol, size }: { peer: string; protocol: string; size: number }) {
  let where = 'open'
  try {
    const stream = await window.tombolo!.open(peer, protocol)
    where = 'read'
    const writer = stream.writable.getWriter()
    writer.write(new Uint8Array(size)).catch(() => {})
    await stream.readable.pipeTo(new WritableStream()) // a Response would hide the reason
    return { where: 'nowhere', reason: 'it ended' }
  } catch (error) {
    const { name, message, code, reason } = error as Error & { code?: string; reason?: string }
    return { where, name, message, code, reason }
  }
}
