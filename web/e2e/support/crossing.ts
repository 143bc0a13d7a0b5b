import { test as base } from './fixtures.js'
import type { Tab } from './node-tab.js'

export { expect, join } from './fixtures.js'

/** Tests of what is the same wherever the node runs. Their tab is a page, except in the project `node`. */
export const test = base.extend<{ tab: Tab }>({
  tab: [async ({ page }, use) => use(page), { option: true }],
})

/** Marks the tests that run in every place; `make test-long` runs them all there. */
export const SMOKE = { tag: '@smoke' }

/** Whether this is `make test-long`. */
export const LONG = process.env['LONG'] !== undefined

export function inNode(): boolean {
  return test.info().project.name === 'node'
}

/** Why a test is skipped there. */
export const NO_WEBTRANSPORT = 'Node.js has no WebTransport'
