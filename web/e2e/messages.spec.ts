import { readFile } from 'node:fs/promises'
import { expect, test } from './support/fixtures.js'
import {
  type Heard,
  inPage,
  inTab,
  type Messenger,
  type NativeMessenger,
  natively,
  type Report,
  underNode,
} from './support/messengers.js'
import { NodeProcess, Relay } from './support/peers.js'

/** Runs with Ann in a tab, a peer under Node.js and a native peer that have nothing in common but a relay. */
const meet = test.extend<{ ann: Messenger; node: Messenger; native: NativeMessenger }>({
  ann: async ({ tab, relay }, use) => use(await inTab(tab, relay)),
  node: async ({ relay }, use) => {
    const node = await underNode(relay)
    await use(node)
    await node.stop()
  },
  native: async ({ relay }, use) => {
    const native = await natively(relay)
    await use(native)
    await native.stop()
  },
})

meet('what one broadcasts, all subscribers hear, whoever they are', async ({ ann, node, native }) => {
  const all = [ann, node, native]
  await Promise.all(all.map((one) => one.call('subscribe', 'chat')))
  // Wait for a peer only: a message sent right after a subscription is not lost.
  await Promise.all(all.map((one) => one.call('broadcast', 'chat', `hello from ${one.id}`, { wait: true })))
  for (const one of all) {
    const heard = await one.call<Heard[]>('received', 'chat', 3)
    expect(heard.map(({ from, text }) => [from, text]).sort()).toEqual(
      all.map(({ id }) => [id, `hello from ${id}`]).sort(),
    )
    expect(heard.every((message) => message.broadcast && message.type === 'chat')).toBe(true)
  }
})

meet('what one sends, one peer gets, in order, in both directions', async ({ ann, node, native }) => {
  const pairs = [
    [ann, node],
    [ann, native],
    [node, native],
  ].flatMap(([a, b]) => [[a!, b!] as const, [b!, a!] as const])
  await Promise.all([ann, node, native].map((one) => one.call('subscribe', 'note')))
  for (const [from, to] of pairs) {
    for (let i = 0; i < 10; i++) await from.call('send', to.id, 'note', `${i}`)
  }
  for (const one of [ann, node, native]) {
    const heard = await one.call<Heard[]>('received', 'note', 20)
    expect(heard).toHaveLength(20)
    for (const other of [ann, node, native].filter((other) => other !== one)) {
      const theirs = heard.filter((message) => message.from === other.id)
      expect(theirs.map((message) => message.text)).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
      expect(theirs.every((message) => !message.broadcast && message.missed === 0)).toBe(true)
    }
  }
})

meet(
  'requests are answered, fail with the text of the answerer, and their end reaches it',
  async ({ ann, node, native }) => {
    const all = [ann, node, native]
    for (const one of all) {
      await one.call('respond', 'shout', 'shout')
      await one.call('respond', 'fail', 'fail')
      await one.call('respond', 'hang', 'hang')
    }
    for (const asking of all) {
      for (const asked of all.filter((one) => one !== asking)) {
        expect(await asking.call('request', asked.id, 'shout', 'ahoy')).toBe('AHOY')
        await expect(asking.call('request', asked.id, 'fail', 'fish')).rejects.toThrow('no fish today')
        await expect(asking.call('request', asked.id, 'nobody', '')).rejects.toThrow('nobody answers "nobody"')
        await expect(asking.call('request', asked.id, 'hang', asking.id, 500)).rejects.toThrow()
        await asked.call('aborted', asking.id)
      }
    }
  },
)

meet('a message to all connected peers says who was reached', async ({ tab }) => {
  const relay = await Relay.start() // without peers of other tests
  try {
    const native = await natively(relay)
    const ann = await inTab(tab, relay)
    await native.call('subscribe', 'note')
    await ann.call('connect', native.id)
    const report = await ann.call<Report>('sendTo', 'every', 'note', 'to all')
    expect(report.reached.sort()).toEqual([native.id, relay.id].sort())
    expect(report.failed).toEqual([])
    expect(await native.call<Heard[]>('received', 'note', 1)).toMatchObject([{ text: 'to all', from: ann.id }])
    await native.stop()
  } finally {
    await relay.stop()
  }
})

meet('who is on a type is known everywhere, and who leaves it', async ({ ann, node, native }) => {
  for (const one of [node, native]) await one.call('watch', 'room/1')
  await ann.call('subscribe', 'room/1')
  for (const one of [node, native]) {
    expect(await one.call('seen', 'room/1', ann.id, true)).toContain(ann.id)
  }
  await node.call('subscribe', 'room/1')
  expect(await native.call('seen', 'room/1', node.id, true)).toEqual(expect.arrayContaining([node.id, ann.id]))
  await ann.call('unsubscribe', 'room/1')
  expect(await native.call('seen', 'room/1', ann.id, false)).toEqual([node.id])
})

meet('a tab that was away gets what it missed from the relay, in order', async ({ context, relay, native, node }) => {
  const page = await context.newPage()
  const before = await inPage(page, relay)
  await before.call('keepHistory', 'news')
  await before.call('subscribe', 'news')
  await native.call('subscribe', 'news')
  await node.call('subscribe', 'news')
  await native.call('broadcast', 'news', 'native 0', { wait: true })
  await before.call('received', 'news', 1)
  await before.call('close') // otherwise the last messages might not be stored yet, and would be replayed
  await page.close()

  for (let i = 1; i <= 20; i++) {
    await native.call('broadcast', 'news', `native ${i}`, { wait: true })
    await node.call('broadcast', 'news', `node ${i}`, { wait: true })
  }
  await node.call('received', 'news', 41)

  const back = await inPage(await context.newPage(), relay)
  expect(back.id).toBe(before.id)
  await back.call('keepHistory', 'news')
  await back.call('subscribe', 'news')
  await back.call('recover', 'news')
  const heard = await back.call<Heard[]>('received', 'news', 40)
  for (const one of [native, node]) {
    const theirs = heard.filter(({ from }) => from === one.id)
    const name = one === native ? 'native' : 'node'
    expect(theirs.map(({ text }) => text)).toEqual(Array.from({ length: 20 }, (_, i) => `${name} ${i + 1}`))
    expect(theirs.every(({ replayed }) => replayed)).toBe(true)
  }
})

meet('js-libp2p with gossipsub speaks on the same topic', async ({ ann, native, relay }) => {
  const js = new NodeProcess('js-libp2p-peer.mjs')
  try {
    const jsId = await js.call<string>('start')
    await js.call('dial', relay.addr('/ws/'))
    await ann.call('subscribe', 'chat')
    await native.call('subscribe', 'chat')
    await js.call('subscribe', 'tombolo/chat')
    await js.call('subscribers', 'tombolo/chat')

    // Nobody keeps a history for js-libp2p. While peers still exchange their subscriptions, a message may miss peers that are not known
    // yet.
    const received = Promise.all([ann, native].map((one) => one.call<Heard[]>('received', 'chat', 1)))
    for (const [first] of await again(() => js.call('publish', 'tombolo/chat', envelope('from js-libp2p')), received)) {
      expect(first).toMatchObject({ from: jsId, text: 'from js-libp2p' })
    }
    const hearing = js.call<{ topic: string; from: string; signed: boolean }>('heard', 'from a tab')
    const heard = await again(() => ann.call('broadcast', 'chat', 'from a tab', { wait: true }), hearing)
    expect(heard).toEqual({ topic: 'tombolo/chat', from: ann.id, signed: true })
  } finally {
    await js.stop()
  }
})

/** Repeats something once a second until it has had its effect. */
async function again<T>(f: () => Promise<void>, done: Promise<T>): Promise<T> {
  for (;;) {
    await f()
    const second = new Promise<undefined>((resolve) => setTimeout(resolve, 1_000))
    const result = await Promise.race([done, second])
    if (result !== undefined) return result
  }
}

/** Encodes an event of core/message/envelope.proto, as somebody would who has nothing but that file. */
function envelope(text: string): number[] {
  const data = Buffer.from(text)
  return [(4 << 3) | 2, data.length, ...data]
}

meet('stats are what their type says', async ({ ann }) => {
  const source = (await readFile(new URL('../src/stats.ts', import.meta.url), 'utf8')).replaceAll(/\/\*.*?\*\//gs, '')
  const names = new Set([...source.matchAll(/\b(\w+): [\w{]/g)].map(([, name]) => name!))
  for (const name of ['handler', 'type', 'id', 'for']) names.delete(name) // fields of slow handlers, of which there are none
  const shown = new Set<string>()
  const collect = (value: unknown) => {
    if (Array.isArray(value)) value.forEach(collect)
    else if (typeof value === 'object' && value !== null) {
      for (const [name, inner] of Object.entries(value)) {
        shown.add(name)
        collect(inner)
      }
    }
  }
  collect(await ann.call('stats'))
  expect([...shown].sort()).toEqual([...names].sort())
})
