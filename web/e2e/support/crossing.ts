import { browsers, type Browser } from './browser-tab.js'
import { test as base } from './fixtures.js'
import type { Tab } from './node-tab.js'
import type { Driven } from './webdriver.mjs'

export { expect, LONG } from './fixtures.js'

interface Driving {
  /** The browser of the projects that Playwright does not drive. */
  driven: Driven
}

/**
 * Tests that pass wherever the node runs. The projects `node`, `firefox` and `webkit` bring their own tab; in the others it is an empty
 * page of Chromium.
 */
export const test = base.extend<object, Driving>({
  driven: [
    async ({}, use, info) => {
      const driven = await browsers[info.project.metadata['browser'] as Browser]()
      await use(driven)
      await driven.close()
    },
    { scope: 'worker', timeout: 180_000 },
  ],
})

/** Creates a node in the tab that uses the relay at a URL, and waits until it has a reservation. Returns the node's ID. */
export function join(tab: Tab, url: string): Promise<string> {
  return tab.join(new URL(url))
}

/** Marks the tests that run in every place; `make test-long` runs all tests in every place. */
export const SMOKE = { tag: '@smoke' }

/** Marks the smoke tests that run in other browsers, too. */
export const CORE = { tag: ['@smoke', '@core'] }

/** Whether the project's platform has WebTransport. */
export function hasWebTransport(): boolean {
  return !['node', 'node24', 'webkit'].includes(test.info().project.name)
}

/** Reports whether the platform has a transport. Those without WebTransport have no WebRTC either. */
export function has(transport: 'webtransport' | 'websocket' | 'webrtc-direct'): boolean {
  return transport === 'websocket' || hasWebTransport()
}

/** Why a test is skipped. */
export const NO_WEBTRANSPORT = 'the platform has no WebTransport'
