import type { BrowserContext, Page } from '@playwright/test'
import type { CreateNodeOptions } from '@tombolo/node'
import { nodeOptions } from './node-tab.js'

/**
 * An empty page of Chromium with nothing but the package. One serves many tests, each with its own node: a page that loads the program
 * again costs ten times as much as another node does.
 */
export class PageTab {
  private constructor(
    readonly page: Page,
    readonly worker: CreateNodeOptions['worker'],
  ) {}

  /** Opens the page at the server of the package. */
  static async open(context: BrowserContext, server: string, worker: CreateNodeOptions['worker']): Promise<PageTab> {
    const page = await context.newPage()
    await page.goto(server)
    await page.evaluate(() => {
      const empty = new Set(Reflect.ownKeys(window))
      Object.defineProperty(window, 'emptied', {
        value: () => {
          for (const key of Reflect.ownKeys(window)) if (!empty.has(key)) Reflect.deleteProperty(window, key)
        },
      })
    })
    return new PageTab(page, worker)
  }

  /** Creates the node as a page served by a relay does, and waits for its reservation. Returns its ID. */
  async join(url: URL): Promise<string> {
    const options = await nodeOptions(url)
    return this.evaluate(
      async (options) => {
        const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
        const node = await createNode(options)
        window.tombolo = node
        if ((await node.relays()).length === 0) {
          await new Promise((resolve) => node.addEventListener('relay:reserved', resolve, { once: true }))
        }
        return node.id
      },
      { ...options, ...(this.worker !== undefined && { worker: this.worker }) } as CreateNodeOptions,
    )
  }

  readonly evaluate: Page['evaluate'] = (f: never, arg?: never) => this.page.evaluate(f, arg)

  async waitForFunction(f: () => unknown): Promise<void> {
    await this.page.waitForFunction(f)
  }

  /** Closes the node of a test, and removes what the test has left in `window`. */
  async leave(): Promise<void> {
    await this.evaluate(async () => {
      await window.tombolo?.close()
      ;(window as unknown as { emptied(): void }).emptied()
    })
  }
}
