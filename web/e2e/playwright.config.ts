import { fileURLToPath } from 'node:url'
import { defineConfig } from '@playwright/test'
import { findShell } from '../test/chromium.mjs'
import { type Browser, browserTab } from './support/browser-tab.js'
import { type Tab, nodeTab } from './support/node-tab.js'

// The page and the package in real browsers, with the real relay and the real daemon. Transfers of many megabytes are not timed here: a
// page that Playwright drives is several times slower than others.
const long = process.env['LONG'] !== undefined // make test-long

/**
 * These specs hold wherever the node runs. All of their tests run in a dedicated worker; elsewhere only the smoke tests do, or all tests
 * with LONG.
 */
const CROSSING = ['bridge', 'http', 'messages-api', 'stream-ends']
const elsewhere = long ? {} : { grep: /@smoke/ }
/** Marks tests of what users rarely do, and of a second way to do what another test covers. */
const SELDOM = '@long'
const NODE24 = fileURLToPath(new URL('../test/node24/node_modules/.bin/node', import.meta.url))
const engines: Browser[] = ['firefox', 'webkit']
const ENGINES = 'browsers.spec.ts'

export default defineConfig<{ tab: Tab }>({
  testDir: '.',
  testIgnore: long ? [] : 'long/**',
  outputDir: '../test-results',
  globalSetup: './support/binaries.ts',
  workers: 3, // a test spends a third of its time waiting
  timeout: 180_000, // allows for a busy machine
  expect: { timeout: 60_000 },
  ...(!long && { grepInvert: new RegExp(SELDOM) }),
  forbidOnly: process.env['CI'] !== undefined,
  reporter: 'list',
  projects: [
    // The core tests in the engines of other browsers. Each is the installed version, one at a time: first, so that others run beside them.
    ...engines.map((browser) => ({
      name: browser,
      metadata: { browser },
      grep: /@core/,
      ...(browser === 'firefox' && { grepInvert: new RegExp(`over websocket${long ? '' : `|${SELDOM}`}`) }), // it has WebTransport, and the page tests cover WebSocket
      workers: 1,
      testMatch: [...CROSSING.map((name) => `${name}.spec.ts`), ENGINES],
      use: { tab: browserTab as unknown as Tab },
    })),
    // The default place.
    { name: 'dedicated', metadata: { worker: 'dedicated' }, testIgnore: long ? ENGINES : [ENGINES, 'long/**'] },
    // The same with the node in other places.
    ...['none', 'shared'].map((worker) => ({
      name: worker,
      metadata: { worker },
      ...elsewhere,
      testMatch: [...CROSSING, ...(long ? ['lifecycle'] : [])].map((name) => `${name}.spec.ts`),
    })),
    // A Node.js process instead of a page: with the machine's Node.js, and with version 24.
    ...[undefined, ...(long ? [NODE24] : [])].map((node) => ({
      name: node === undefined ? 'node' : 'node24',
      metadata: { node },
      ...elsewhere,
      testMatch: CROSSING.map((name) => `${name}.spec.ts`),
      // Playwright accepts a fixture in place of an option, but its types only allow values.
      use: { tab: nodeTab as unknown as Tab },
    })),
  ],
  use: {
    trace: 'off',
    screenshot: 'only-on-failure',
    // Drawing animations takes a fifth of a page's processor time.
    contextOptions: { reducedMotion: 'reduce' },
    launchOptions: {
      executablePath: findShell(),
      args: [
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--disable-gpu',
        // Only the first of two compilers: most tests run too little of the program to justify the cost of the second.
        ...(long ? [] : ['--js-flags=--liftoff-only']),
        // A name other than localhost, so that plain HTTP on it is not a secure context.
        '--host-resolver-rules=MAP insecure.test 127.0.0.1',
        ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      ],
    },
  },
})
