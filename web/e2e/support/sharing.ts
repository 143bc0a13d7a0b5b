import { createHash } from 'node:crypto'
import type { BrowserContext, Page } from '@playwright/test'
import { expect, goTo, join, ownId, test } from './fixtures.js'
import type { Relay } from './peers.js'

declare global {
  interface Window {
    /** See `holdAfter`. */
    release(): void
  }
}

/** Ann shares, and Bob follows her links, each in one tab for many tests. If a test ends one of the tabs, the next test opens a new one. */
class Pair {
  #ann: Page | undefined
  #bob: Page | undefined
  constructor(
    readonly context: BrowserContext,
    readonly relay: Relay,
  ) {}

  async ann(): Promise<Page> {
    if (this.#ann === undefined || this.#ann.isClosed()) {
      this.#ann = await this.context.newPage()
      await join(this.#ann, this.relay.url)
    }
    return this.#ann
  }

  async follow(link: string): Promise<Page> {
    if (this.#bob === undefined || this.#bob.isClosed()) {
      this.#bob = await this.context.newPage()
      await this.#bob.goto(link)
    } else {
      await this.#bob.evaluate((hash) => (location.hash = hash), new URL(link).hash)
    }
    return this.#bob
  }

  /** Ends what a person has begun in a test. What was begun in the console ends with its tab. */
  async end(): Promise<void> {
    for (const page of [this.#ann, this.#bob]) {
      if (page === undefined || page.isClosed()) continue
      if (!(await page.locator('.view[data-view=share]').isVisible())) await goTo(page, 'Share')
      const close = page.locator('.getting').getByRole('button', { name: 'Close' })
      if ((await close.count()) > 0) await close.click()
      const offers = page.locator('.offer')
      for (let left = await offers.count(); left > 0; left--) {
        await offers.first().getByRole('button', { name: 'Stop' }).click()
        await expect(offers).toHaveCount(left - 1)
      }
    }
  }
}

export const share = test.extend<{ ann: Page; annId: string; follow: (link: string) => Promise<Page> }, { pair: Pair }>(
  {
    pair: [
      async ({ browser, relay }, use) => {
        const context = await browser.newContext()
        await use(new Pair(context, relay))
        await context.close()
      },
      { scope: 'worker' },
    ],
    ann: async ({ pair }, use) => {
      await use(await pair.ann())
      await pair.end()
    },
    annId: async ({ ann }, use) => use(await ownId(ann)),
    follow: async ({ pair }, use) => use((link) => pair.follow(link)),
  },
)

export interface Chosen {
  name: string
  bytes: Buffer
  type?: string
}

/** Shares files as a person does. Returns the link. */
export async function serve(page: Page, files: Chosen[], name?: string): Promise<string> {
  const chosen = files.map(({ name, bytes, type }) => ({
    name,
    buffer: bytes,
    mimeType: type ?? 'application/octet-stream',
  }))
  await openMore(page)
  await page.locator('#serve-name').fill(name ?? '')
  const known = await page.locator('.offer').count()
  await page.locator('#serve-files').setInputFiles(chosen)
  await expect(page.locator('.offer')).toHaveCount(known + 1)
  return (await page.locator('.offer-url').first().getAttribute('href'))!
}

/**
 * Makes each read of a shared file stop after so many bytes, until the returned function is called. So a test can act during a transfer,
 * however fast that is.
 */
export async function holdAfter(page: Page, bytes: number): Promise<() => Promise<void>> {
  await page.evaluate((most) => {
    const { stream } = Blob.prototype
    let resolve!: () => void
    const promise = new Promise<void>((r) => (resolve = r))
    Blob.prototype.stream = function (this: Blob) {
      let left = most
      const held = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
        async transform(chunk, controller) {
          if ((left -= chunk.byteLength) < 0) await promise
          controller.enqueue(chunk)
        },
      })
      return stream.call(this).pipeThrough(held)
    }
    window.release = () => {
      Blob.prototype.stream = stream
      resolve()
    }
  }, bytes)
  return () => page.evaluate(() => window.release())
}

export async function openMore(page: Page): Promise<void> {
  if (!(await page.locator('#serve-name').isVisible())) await page.locator('.serve-more summary').click()
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
