import type { Page, PlaywrightTestArgs, TestFixture } from '@playwright/test'
import { expect } from '@playwright/test'
import type { CreateNodeOptions } from '@tombolo/node'
import type { BrowserTab } from './browser-tab.js'
import type { PageTab } from './page-tab.js'
import { NodeProcess } from './peers.js'
import { decode, encode } from './structured.mjs'

/** What is evaluated may take as long as a test. */
const TEST_MS = 90_000

/** Where a test has a node, and runs functions beside it as `window.tombolo`: a page of a browser, or a process of Node.js. */
export type Tab = PageTab | NodeTab | BrowserTab

/** A process of Node.js of which a test makes the same use as of a page. */
export class NodeTab {
  readonly #process: NodeProcess

  /** `node` is the Node.js that runs it, if not the one that runs the tests. */
  constructor(node?: string) {
    this.#process = new NodeProcess('node-tab.mjs', TEST_MS, node)
  }

  /** Makes the node, and waits for its reservation. Returns its id. */
  create(options: CreateNodeOptions): Promise<string> {
    return this.#process.call('create', encode(options))
  }

  /** Makes the node as the page does that a relay serves. */
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

/** The options with which the page makes its node that a relay serves at a URL. */
export async function nodeOptions(url: URL): Promise<CreateNodeOptions> {
  const response = await fetch(new URL('/.well-known/tombolo', url))
  const { network, addrs } = (await response.json()) as { network: string; addrs: string[] }
  const transport = url.searchParams.get('transport') as 'webtransport' | 'websocket' | 'webrtc-direct' | null
  return { relays: addrs, network, ...(transport !== null && { transports: [transport] }) }
}

/** The tab of a test in the project `node`. */
export const nodeTab: TestFixture<Tab, PlaywrightTestArgs> = async ({}, use, info) => {
  const tab = new NodeTab(info.project.metadata['node'] as string | undefined)
  const place = await tab.evaluate(() => [globalThis.process?.release.name, 'document' in globalThis])
  expect(place, 'the project runs its tests in Node.js').toEqual(['node', false])
  await use(tab)
  // What nobody handles ends a process of Node.js, where a page would go on.
  if (info.status === info.expectedStatus) await tab.evaluate(() => 'it lives')
  await tab.close()
}
