import type { Page, PlaywrightTestArgs, TestFixture } from '@playwright/test'
import { expect } from '@playwright/test'
import type { Tab } from './node-tab.js'
import { pack, unpack } from './packing.mjs'
import { type Driven, type DrivenTab, startFirefox, startWebKit } from './webdriver.mjs'

/** The browsers that Playwright cannot drive in the version that is installed. */
export const browsers = { firefox: startFirefox, webkit: startWebKit }
export type Browser = keyof typeof browsers

/** A tab of such a browser, which tests use like a page of Chromium. */
export class BrowserTab {
  constructor(readonly tab: DrivenTab) {}

  goto(url: string): Promise<void> {
    return this.tab.goto(url)
  }

  reload(): Promise<void> {
    return this.tab.reload()
  }

  readonly evaluate: Page['evaluate'] = async (f: unknown, arg?: unknown) => {
    const answer = await this.tab.run(`
      const pack = ${pack}, unpack = ${unpack}
      try {
        const value = (${String(f)})
        return pack({ value: await (typeof value === 'function' ? value(unpack(${JSON.stringify(pack(arg))})) : value) })
      } catch (error) {
        return pack({ failed: String(error?.stack ? error + '\\n' + error.stack : error) })
      }`)
    const { value, failed } = unpack(answer) as { value: unknown; failed?: string }
    if (failed !== undefined) throw new Error(failed)
    return value as never
  }

  async waitForFunction(f: () => unknown): Promise<void> {
    await expect.poll(() => this.evaluate(f)).toBeTruthy()
  }

  /** Returns the text of the first element that matches a selector. */
  text(selector: string): Promise<string | undefined> {
    return this.evaluate((selector) => document.querySelector(selector)?.textContent ?? undefined, selector)
  }

  /** Opens the page that a relay serves, and waits until its node has a reservation. Returns the node's ID. */
  async join(url: URL): Promise<string> {
    await this.goto(url.href)
    return this.joined()
  }

  async joined(): Promise<string> {
    const phase = () => this.evaluate(() => document.querySelector<HTMLElement>('.status')?.dataset['phase'])
    await expect.poll(phase).toBe('joined')
    return (await this.text('#own-id'))!
  }

  close(): Promise<void> {
    return this.tab.close()
  }
}

/** The tab for tests in the projects `firefox` and `webkit`. */
export const browserTab: TestFixture<Tab, PlaywrightTestArgs & { driven: Driven }> = async ({ driven }, use) => {
  const tab = new BrowserTab(await driven.newTab())
  await use(tab)
  await tab.close()
}
