import { generateKeyPairSync } from 'node:crypto'
import type { Page } from '@playwright/test'
import type { CreateNodeOptions, TomboloNode } from '@tombolo/node'
import { test as base, expect } from './fixtures.js'
import { BareBrowser, type BarePage } from './bare-browser.js'
import { Relay } from './peers.js'

export interface Lab extends Window {
  node: TomboloNode
  /** What the node has reported about its relay and about restarts. */
  heard: string[]
}

/** Both transports to a relay, which have different keep-alives. */
export const TRANSPORTS = ['/webtransport/', '/ws/'] as const

interface Own {
  /** The test's own relay, with metrics. */
  counting: Relay
  own: BareBrowser
  /** Flags that are removed from the browser's defaults, and flags that are added. */
  flags: { without?: string[]; args?: string[] }
}

export const test = base.extend<Own>({
  flags: [{}, { option: true }],
  counting: async ({}, use) => {
    const relay = await Relay.counting()
    await use(relay)
    relay.freeze(false)
    await relay.stop()
  },
  own: async ({ flags }, use) => {
    const own = await BareBrowser.start(flags)
    await use(own)
    await own.close()
  },
})

/** Creates a node in the page, in a worker if the project says so, and waits for its reservation. Returns its ID. */
export async function create(page: Page | BarePage, url: string, options: CreateNodeOptions): Promise<string> {
  const { worker } = test.info().project.metadata
  const { identity } = options
  await page.goto(url)
  return (page as BarePage).evaluate(
    async ({ key, ...options }) => {
      const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
      const node = await createNode({ ...options, ...(key && { identity: Uint8Array.from(key) }) })
      const heard: string[] = []
      for (const type of ['relay:reserved', 'relay:lost', 'restart'] as const) {
        node.addEventListener(type, () => heard.push(type))
      }
      await node.listen('/x/echo', async ({ readable, writable }) => readable.pipeTo(writable))
      Object.assign(window, { node, heard })
      if ((await node.relays()).length === 0) {
        await new Promise((resolve) => node.addEventListener('relay:reserved', resolve, { once: true }))
      }
      heard.length = 0
      return node.id
    },
    {
      ...options,
      ...(worker !== undefined && { worker: worker as 'dedicated' }),
      ...(identity instanceof Uint8Array && { identity: undefined, key: [...identity] }),
    } as CreateNodeOptions & { key?: number[] },
  )
}

/** Waits until the relay has `n` connections. */
export async function connections(relay: Relay, n: number, timeout: number): Promise<void> {
  await expect.poll(() => relay.counted('tombolo_connections'), { timeout, intervals: [100] }).toBe(n)
}

/** Returns the address of a node through the relay. */
export function through(relay: Relay, id: string): string {
  return `${relay.addr('/ws/')}/p2p-circuit/p2p/${id}`
}

/** Returns a new identity in libp2p's protobuf encoding: an Ed25519 key consists of its seed and its public half. */
export function newIdentity(): Uint8Array {
  const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  return Buffer.concat([Buffer.of(8, 1, 18, 64), Buffer.from(d!, 'base64url'), Buffer.from(x!, 'base64url')])
}
