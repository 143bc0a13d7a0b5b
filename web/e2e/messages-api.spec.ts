import { expect, join, CORE, SMOKE, test } from './support/crossing.js'
import { inTab, natively, type Heard } from './support/messengers.js'

test('every call with bad input rejects, names what is wrong, and the node lives on', async ({ tab, relay }) => {
  await join(tab, relay.url)
  const { said: errors, codes } = await tab.evaluate(async () => {
    // eslint-disable-next-line @typescript-eslint/no-explicit-any
    const node = window.tombolo as any
    const bytes = new Uint8Array(1)
    const peer = '12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA'
    const calls: Record<string, () => Promise<unknown>> = {
      'subscribe no type': () => node.subscribe(),
      'subscribe empty': () => node.subscribe(''),
      'subscribe reserved': () => node.subscribe('tombolo/x'),
      'subscribe long': () => node.subscribe('x'.repeat(129)),
      'subscribe option': () => node.subscribe('a', { bufer: 1 }),
      'subscribe buffer': () => node.subscribe('a', { buffer: 0 }),
      'subscribe fraction': () => node.subscribe('a', { buffer: 1.5 }),
      'subscribe policy': () => node.subscribe('a', { policy: 'drop-all' }),
      'broadcast text': () => node.broadcast('a', 'text'),
      'broadcast nobody': () => node.broadcast('a type that nobody is on', bytes),
      'broadcast large': () => node.broadcast('a', new Uint8Array(2 << 20)),
      'send peer': () => node.send('nobody', 'a', bytes),
      'send self': () => node.send(node.id, 'a', bytes),
      'send priority': () => node.send(peer, 'a', bytes, { priority: 'urgent' }),
      'sendAll peers': () => node.sendAll('all', 'a', bytes),
      'sendTo filter': () => node.sendTo('some', 'a', bytes),
      'sendTo random': () => node.sendTo({ random: -1 }, 'a', bytes),
      'request type': () => node.request(peer, 5, bytes),
      'respond handler': () => node.respond('a'),
      'validate handler': () => node.validate('a', 'accept'),
      'presence type': () => node.presence({}),
      'keepHistory count': () => node.keepHistory('a', { count: 'many' }),
      'recover unkept': () => node.recover('never kept'),
      'request signal': () => node.request(peer, 'a', bytes, { signal: new AbortController() }),
      'request timeout': () => node.request(peer, 'a', bytes, { signal: AbortSignal.abort(new Error('too long')) }),
      'request aborted': () => node.request(peer, 'a', bytes, { signal: AbortSignal.abort() }),
    }
    const said: Record<string, string> = {}
    const codes: Record<string, string | number | undefined> = {}
    for (const [name, call] of Object.entries(calls)) {
      said[name] = await call().then(
        () => 'it did not reject',
        (error: Error & { code?: string | number }) => {
          codes[name] = error.code
          return `${error.name}: ${error.message}`
        },
      )
    }
    return { said, codes }
  })
  const others = Object.entries(codes).filter(([, code]) => code !== 'argument')
  expect(Object.fromEntries(others)).toEqual({
    'broadcast nobody': 'no-peers',
    'broadcast large': 'too-large',
    'request timeout': undefined, // the signals' own reasons
    'request aborted': 20,
  })
  expect(errors['subscribe no type']).toBe('TomboloError: type must be a string, not undefined')
  expect(errors['subscribe empty']).toContain('type')
  expect(errors['subscribe reserved']).toContain('tombolo/')
  expect(errors['subscribe long']).toContain('128')
  expect(errors['subscribe option']).toContain('unknown option "bufer"')
  expect(errors['subscribe buffer']).toContain('option buffer must be a whole number of at least 1, not 0')
  expect(errors['subscribe fraction']).toContain('option buffer')
  expect(errors['subscribe policy']).toContain('option policy must be one of drop-newest')
  expect(errors['broadcast text']).toBe('TomboloError: data must be a Uint8Array, not "text"')
  expect(errors['broadcast nobody']).toContain('no peer is on the topic')
  expect(errors['broadcast large']).toMatch(/large|limit|1048576/)
  expect(errors['send peer']).toContain('peer must be a peer id, not "nobody"')
  expect(errors['send self']).toContain('this node itself')
  expect(errors['send priority']).toContain('option priority must be "high", "normal" or "low"')
  expect(errors['sendAll peers']).toContain('peers must be an array of peer ids')
  expect(errors['sendTo filter']).toContain('filter must be "every"')
  expect(errors['sendTo random']).toContain('option random must be a whole number')
  expect(errors['request type']).toContain('type must be a string, not 5')
  expect(errors['respond handler']).toContain('handler must be a function')
  expect(errors['validate handler']).toContain('handler must be a function')
  expect(errors['presence type']).toContain('type must be a string')
  expect(errors['keepHistory count']).toContain('option count must be a whole number')
  expect(errors['recover unkept']).toContain('KeepHistory')
  expect(errors['request signal']).toContain('option signal must be an AbortSignal')
  expect(errors['request timeout']).toBe('Error: too long')
  expect(errors['request aborted']).toContain('AbortError')
  expect(await tab.evaluate(async () => (await window.tombolo!.peers()).length)).toBe(1)
})

test('a subscription says what it lost, and ends as its policy says', CORE, async ({ tab, relay }) => {
  const messenger = await inTab(tab, relay)
  const native = await natively(relay)
  try {
    const opened = tab.evaluate(async () => {
      const node = window.tombolo!
      const counted = await node.subscribe('flood', { buffer: 4 })
      const ended = await node.subscribe('flood', { buffer: 4, policy: 'close-on-overflow' })
      const latest = await node.subscribe('flood', { policy: 'latest-per-sender' })
      Object.assign(window, { counted, ended, latest })
    })
    await opened
    for (let i = 0; i < 20; i++) await native.call('send', messenger.id, 'flood', String(i))
    await native.call('request', messenger.id, 'flood', '').catch(() => {}) // this comes after the messages, and so does its answer
    const result = await tab.evaluate(async () => {
      const { counted, ended, latest } = window as unknown as Record<
        'counted' | 'ended' | 'latest',
        Awaited<ReturnType<NonNullable<typeof window.tombolo>['subscribe']>>
      >
      const texts = async (subscription: typeof counted, count: number) => {
        const all: { text: string; missed: number }[] = []
        while (all.length < count) {
          const { value, done } = await subscription.next()
          if (done) break
          all.push({ text: new TextDecoder().decode(value.data), missed: value.missed })
        }
        return all
      }
      const kept = await texts(counted, 4)
      const dropped = await counted.dropped()
      await counted.close()
      return {
        kept,
        dropped,
        droppedAfter: await counted.dropped(),
        afterClose: await counted.next(),
        before: await texts(ended, 4),
        why: await ended.next().catch((error: Error) => error.message),
        latest: await texts(latest, 1),
      }
    })
    expect(result.kept.map(({ text }) => text)).toEqual(['0', '1', '2', '3'])
    expect(result.dropped).toBe(16)
    expect(result.droppedAfter).toBe(16)
    expect(result.afterClose).toEqual({ done: true, value: undefined })
    expect(result.before.map(({ text }) => text)).toEqual(['0', '1', '2', '3'])
    expect(result.why).toContain('too slow')
    expect(result.latest).toEqual([{ text: '19', missed: 19 }])
  } finally {
    await native.stop()
  }
})

test('a validator in a tab refuses what it does not like, and a handler that throws is told to the page', async ({
  tab,
  relay,
}) => {
  const messenger = await inTab(tab, relay)
  const native = await natively(relay)
  try {
    await messenger.call('validate', 'chat', 'spam')
    await messenger.call('subscribe', 'chat')
    await native.call('subscribe', 'chat')
    await native.call('broadcast', 'chat', 'spam', { wait: true })
    await native.call('broadcast', 'chat', 'ham', { wait: true })
    expect((await messenger.call<Heard[]>('received', 'chat', 1)).map(({ text }) => text)).toEqual(['ham'])
    await expect(messenger.call('broadcast', 'chat', 'spam')).rejects.toThrow('refused')

    const said = tab.evaluate(async () => {
      const node = window.tombolo!
      const heard = new Promise<string>((resolve) =>
        node.addEventListener('error', ({ detail }) => resolve(detail.message), { once: true }),
      )
      await node.respond('broken', () => 'text' as unknown as Uint8Array)
      return heard
    })
    await expect
      .poll(() => native.call('request', messenger.id, 'broken', '').catch((error: Error) => error.message))
      .toContain('the reply must be a Uint8Array')
    expect(await said).toContain('responder of "broken"')
  } finally {
    await native.stop()
  }
})

test('what is registered at the same time is closed one by one', SMOKE, async ({ tab, relay }) => {
  await join(tab, relay.url)
  const left = await tab.evaluate(async () => {
    const node = window.tombolo!
    const [subscription, listener, , responder] = await Promise.all([
      node.subscribe('together'),
      node.listen('/x/together', () => {}),
      node.listen('/x/stays', () => {}),
      node.respond('together', ({ data }) => data),
    ])
    await listener.close()
    const next = subscription.next()
    await node.send(node.id, 'together', new Uint8Array(1)).catch(() => {})
    await responder.close()
    await node.respond('together', ({ data }) => data)
    await subscription.close()
    return [(await node.listeners()).map(({ protocol }) => protocol), (await next).done]
  })
  expect(left).toEqual([expect.arrayContaining(['/x/stays']), true])
  expect(left[0]).not.toContain('/x/together')
})

test('every call on a node that is closed says so', SMOKE, async ({ tab, relay }) => {
  await join(tab, relay.url)
  const codes = await tab.evaluate(async () => {
    // eslint-disable-next-line @typescript-eslint/no-explicit-any
    const node = window.tombolo as any
    const bytes = new Uint8Array(1)
    const peer = '12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA'
    const f = () => {}
    const calls: Record<string, unknown[]> = {
      addrs: [],
      peers: [],
      relays: [],
      connect: [peer],
      disconnect: [peer],
      ping: [peer],
      echo: [peer, bytes],
      open: [peer, '/x/a'],
      listen: ['/x/a', f],
      listeners: [],
      services: [peer],
      streams: [],
      closeStream: [1],
      subscribe: ['a'],
      broadcast: ['a', bytes],
      validate: ['a', f],
      presence: ['a'],
      keepHistory: ['a'],
      recover: ['a'],
      send: [peer, 'a', bytes],
      sendAll: [[peer], 'a', bytes],
      sendTo: ['every', 'a', bytes],
      request: [peer, 'a', bytes],
      respond: ['a', f],
      stats: [],
      fetch: [peer, '/x/a', '/'],
      serve: ['/x/a', f],
    }
    await node.close()
    await node.close()
    const codes: Record<string, string> = {}
    for (const [name, args] of Object.entries(calls)) {
      codes[name] = await node[name](...args).then(
        () => 'it did not reject',
        (error: Error & { code?: string }) => `${error.name} ${error.code}`,
      )
    }
    return codes
  })
  for (const [name, code] of Object.entries(codes)) expect.soft(code, name).toBe('TomboloError closed')
})
