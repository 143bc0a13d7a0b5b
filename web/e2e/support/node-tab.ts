import type { Page, PlaywrightTestArgs, TestFixture } from '@playwright/test'
import { expect } from '@playwright/test'
import type { CreateNodeOptions } from '@tombolo/node'
import type { BrowserTab } from './browser-tab.js'
import type { PageTab } from './page-tab.js'
import { NodeProcess } from './peers.js'
import { decode, encode } from './structured.mjs'

/** An evaluation may take as long as a test. */
const TEST_MS = 90_000

/** Where a test has a node and runs functions beside it as `window.tombolo`: a page of a browser, or a Node.js process. */
export type Tab = PageTab | NodeTab | BrowserTab

/** A Node.js process that tests use like a page. */
export class NodeTab {
  readonly #process: NodeProcess

  /** `node` is the Node.js to run it, if not the one that runs the tests. */
  constructor(node?: string) {
    this.#process = new NodeProcess('node-tab.mjs', TEST_MS, node)
  }

  /** Creates the node, and waits for its reservation. Returns its ID. */
  create(options: CreateNodeOptions): Promise<string> {
    return this.#process.call('create', encode(options))
  }

  /** Creates the node as a page served by a relay does. */
  async join(url: URL): Promise<string> {
    return this.create(await nodeOptions(url))
  }

  readonly evaluate: Page['evaluate'] = async (f: unknown, arg?: unknown) => {
    return decode(await this.#process.call('evaluate', String(f), encode(arg))) as never
  }

  async waitForFunction(f: () => unknown): Promise<void> {
    await expect.poll(() => this.evaluate(f)).toBeTruthy()
  }

  close(): Promise<void> {
    return this.#process.stop()
  }
}

/** Returns the options with which a page that a relay serves at a URL creates its node. */
export async function nodeOptions(url: URL): Promise<CreateNodeOptions> {
  const response = await fetch(new URL('/.well-known/tombolo', url))
  const { network, addrs } = (await response.json()) as { network: string; addrs: string[] }
  const transport = url.searchParams.get('transport') as 'webtransport' | 'websocket' | 'webrtc-direct' | null
  return { relays: addrs, network, ...(transport !== null && { transports: [transport] }) }
}

/** The tab for tests in the project `node`. */
export const nodeTab: TestFixture<Tab, PlaywrightTestArgs> = async ({}, use, info) => {
  const tab = new NodeTab(info.project.metadata['node'] as string | undefined)
  const place = await tab.evaluate(() => [globalThis.process?.release.name, 'document' in globalThis])
  expect(place, 'the project runs its tests in Node.js').toEqual(['node', false])
  await use(tab)
  // An unhandled rejection ends a Node.js process, but not a page.
  if (info.status === info.expectedStatus) await tab.evaluate(() => 'it lives')
  await tab.close()
}
