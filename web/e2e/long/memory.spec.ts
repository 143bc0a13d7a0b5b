import type { Page } from '@playwright/test'
import { expect, join, test } from '../support/fixtures.js'
import { natively } from '../support/messengers.js'

const ROUNDS = 6
/** Rounds to run first, until the reserves of the runtimes have settled. */
const WARM_UP = 2
const MESSAGES = 50_000
const STREAMS = 1000
const AT_ONCE = 50
const MiB = 1 << 20

declare global {
  interface Window {
    /** The program's memory. */
    linear: WebAssembly.Memory | undefined
    messages: number
  }
}

// In the page itself, where both memories are visible: the program's, which cannot shrink, and the page's own.
test('memory stays flat over many messages and thousands of streams', async ({ page, relay }) => {
  test.setTimeout(20 * 60_000)
  await page.addInitScript(() => {
    const { instantiate } = WebAssembly as unknown as { instantiate(...args: unknown[]): Promise<WebAssembly.Instance> }
    Object.assign(WebAssembly, {
      instantiate: async (...args: unknown[]) => {
        const made = await instantiate(...args)
        window.linear ??= Object.values(made.exports).find((it) => it instanceof WebAssembly.Memory)
        return made
      },
    })
  })
  const id = await join(page, `${relay.url}?worker=none`)
  const native = await natively(relay)
  await page.evaluate(async (peer) => {
    window.messages = 0
    await window.tombolo!.connect(peer)
    const flood = await window.tombolo!.subscribe('flood', { policy: 'block' })
    void (async () => {
      for await (const { missed } of flood) window.messages += 1 + missed
    })()
  }, native.id)

  const sizes: { linear: number; heap: number }[] = []
  for (let round = 1; round <= ROUNDS; round++) {
    await native.call('flood', id, 'flood', MESSAGES, 128)
    await expect.poll(() => page.evaluate(() => window.messages)).toBe(round * MESSAGES)
    await page.evaluate(visit, { peer: native.id, streams: STREAMS, atOnce: AT_ONCE })
    sizes.push(await memory(page))
  }
  console.log(sizes.map(({ linear, heap }) => `linear ${show(linear)}, heap ${show(heap)}`).join('\n'))
  const before = sizes[WARM_UP - 1]!
  const after = sizes.at(-1)!
  expect(after.linear - before.linear).toBeLessThan(4 * MiB)
  expect(after.heap - before.heap).toBeLessThan(4 * MiB)
  await native.stop()
})

async function memory(page: Page) {
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('HeapProfiler.collectGarbage')
  const { usedSize: heap } = await cdp.send('Runtime.getHeapUsage')
  await cdp.detach()
  return { linear: await page.evaluate(() => window.linear!.buffer.byteLength), heap }
}

const show = (bytes: number) => `${(bytes / MiB).toFixed(1)} MiB`

/** Runs in the page: opens streams, has some bytes echoed on each, and closes them. */
async function visit({ peer, streams, atOnce }: { peer: string; streams: number; atOnce: number }) {
  const one = async () => {
    const stream = await window.tombolo!.open(peer, '/tombolo/echo/1.0.0', { allowCustomProtocol: true })
    const [, back] = await Promise.all([
      new Blob(['round and round']).stream().pipeTo(stream.writable),
      new Response(stream.readable).text(),
    ])
    if (back !== 'round and round') throw new Error(`echoed: ${back}`)
  }
  for (let done = 0; done < streams; done += atOnce) await Promise.all(Array.from({ length: atOnce }, one))
}
