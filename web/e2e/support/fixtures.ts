import { test as base, expect, type Page } from '@playwright/test'
import type { Tab } from './node-tab.js'
import { NpmServer } from './npm-server.js'
import { PageTab } from './page-tab.js'
import { Daemon, Relay, TestPeer } from './peers.js'

interface Peers {
  relay: Relay
  daemon: Daemon
  testPeer: TestPeer
  /** Serves the package as published. */
  server: NpmServer
  /** The empty page that tests use as their tab, one after the other. */
  lab: PageTab
}

/**
 * Tests with a relay, a daemon, a stock peer, a server of the package and a tab. Each is started when a test first asks for it, and then
 * serves all tests of its worker. Each test has its own node in the tab.
 */
export const test = base.extend<{ tab: Tab }, Peers>({
  relay: [
    async ({}, use) => {
      const relay = await Relay.start()
      await use(relay)
      await relay.stop()
    },
    { scope: 'worker' },
  ],
  daemon: [
    async ({ relay }, use) => {
      const daemon = await Daemon.start(relay)
      await use(daemon)
      await daemon.stop()
    },
    { scope: 'worker' },
  ],
  testPeer: [
    async ({}, use) => {
      const peer = await TestPeer.start()
      await use(peer)
      await peer.stop()
    },
    { scope: 'worker' },
  ],
  server: [
    async ({}, use) => {
      const server = await NpmServer.start()
      await use(server)
      server.stop()
    },
    { scope: 'worker' },
  ],
  lab: [
    async ({ browser, server }, use, info) => {
      const context = await browser.newContext()
      await use(await PageTab.open(context, server.url, info.project.metadata['worker'] as 'none'))
      await context.close()
    },
    { scope: 'worker' },
  ],
  tab: [
    async ({ lab }, use) => {
      await use(lab)
      await lab.leave()
    },
    { option: true },
  ],
})

export { expect }

/** Whether this is `make test-long`. */
export const LONG = process.env['LONG'] !== undefined

/** Opens the page that a relay serves, and waits until its node has a reservation. Returns the node's ID. */
export async function join(page: Page, url: string): Promise<string> {
  await page.goto(url)
  await joined(page)
  return ownId(page)
}

/** Waits until the page's node has joined. If it fails, the error quotes the page. */
export async function joined(page: Page): Promise<void> {
  const phase = async () => {
    const phase = await page.locator('.status').getAttribute('data-phase')
    return phase === 'failed' ? await page.locator('.problem.grave').innerText() : phase
  }
  await expect.poll(phase).toBe('joined')
}

/** Goes to a view of the page through its link. */
export async function goTo(page: Page, view: 'Share' | 'Talk' | 'Play' | 'Mesh' | 'Console'): Promise<void> {
  await page.getByRole('navigation', { name: 'Views' }).getByRole('link', { name: view }).click()
  await expect(page.locator(`.view[data-view=${view.toLowerCase()}] .sheets`)).toBeVisible()
}

export async function ownId(page: Page): Promise<string> {
  return (await page.locator('#own-id').textContent())!
}

/** Returns the tab's address through its relay that contains `transport`. */
export async function circuitAddr(page: Page, transport: string): Promise<string> {
  const addrs = await page.evaluate(() => window.tombolo!.addrs())
  const found = addrs.find((addr) => addr.startsWith('/ip4/127.0.0.1/') && addr.includes(`${transport}p2p/`))
  if (found === undefined) throw new Error(`no ${transport} circuit address among ${addrs.join(' ')}`)
  return found
}

/** Returns the page's list entry of a peer. */
export function peerRow(page: Page, id: string) {
  return page.locator(`.peer[data-peer="${id}"]`)
}

/** Presses Tab until the first element that matches the selector has the focus. */
export async function tabTo(page: Page, selector: string): Promise<void> {
  const focused = () => page.evaluate((to) => document.querySelector(to) === document.activeElement, selector)
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press('Tab')
    if (await focused()) return
  }
  throw new Error(`the Tab key does not get to ${selector}`)
}
