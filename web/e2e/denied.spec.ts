import type { Frame, Page } from '@playwright/test'
import { expect, test } from './support/fixtures.js'

// What a node does if the platform denies it something: it is created as documented, or createNode rejects and says why. It never hangs.
// `null` stands for a node.
type Options = { worker?: 'none' | 'dedicated' | 'shared'; identity?: 'persistent'; histories?: 'persistent' }
const cases: {
  denied: string
  policy?: string
  sandbox?: boolean
  script?: string
  rows: [Options, RegExp | null][]
}[] = [
  {
    denied: 'WebAssembly, by the policy of the page',
    policy: "script-src 'self'",
    rows: [[{ worker: 'none' }, /^unsupported: .*wasm-unsafe-eval/]],
  },
  {
    denied: 'workers, by the policy of the page',
    policy: "worker-src 'none'",
    rows: [
      [{ worker: 'none' }, null],
      [{ worker: 'dedicated' }, /^worker-unreachable: /],
      [{ worker: 'shared' }, /^worker-unreachable: /],
    ],
  },
  {
    denied: 'an origin, by a sandbox',
    sandbox: true,
    rows: [
      [{ worker: 'none' }, null],
      [{ worker: 'none', identity: 'persistent' }, /identity/],
      [{ worker: 'dedicated' }, /^worker-unreachable: /],
      [{ worker: 'shared' }, /^worker-unreachable: /],
    ],
  },
  {
    denied: 'shared workers',
    script: 'delete window.SharedWorker',
    rows: [[{ worker: 'shared' }, null]],
  },
  {
    denied: 'Web Locks',
    script: "Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })",
    rows: [
      [{ worker: 'shared' }, null],
      [{ worker: 'none', identity: 'persistent' }, /identity: the platform cannot keep an identity/],
    ],
  },
  {
    denied: 'IndexedDB',
    script:
      "Object.defineProperty(window, 'indexedDB', { get() { throw new DOMException('denied', 'SecurityError') } })",
    rows: [
      [{ worker: 'none' }, null],
      [
        { worker: 'none', identity: 'persistent', histories: 'persistent' },
        /identity: the platform cannot keep an identity/,
      ],
    ],
  },
]

for (const { denied, policy, sandbox, script, rows } of cases) {
  test(`a page that is denied ${denied}`, async ({ page, server }) => {
    if (policy !== undefined) {
      const headers = { 'content-security-policy': policy }
      await page.route(server.url, (route) =>
        route.fulfill({ contentType: 'text/html', headers, body: '<!doctype html>' }),
      )
    }
    await page.route('**/*.{js,wasm}', async (route) => {
      const response = await route.fetch()
      await route.fulfill({ response, headers: { ...response.headers(), 'access-control-allow-origin': '*' } })
    })
    await page.goto(server.url)
    if (script !== undefined) await page.addScriptTag({ content: script })
    const where = sandbox ? await sandboxed(page) : page
    for (const [options, why] of rows) {
      const outcome = await where.evaluate(
        async ([url, options]) => {
          const { createNode } = (await import(`${url}index.js`)) as typeof import('@tombolo/node')
          try {
            await (await createNode(options)).close()
            return null
          } catch (error) {
            return `${(error as { code?: string }).code}: ${(error as Error).message}`
          }
        },
        [server.url, options] as const,
      )
      if (why === null) expect.soft(outcome, JSON.stringify(options)).toBe(null)
      else expect.soft(outcome, JSON.stringify(options)).toMatch(why)
    }
  })
}

/** Returns a frame without an origin. */
async function sandboxed(page: Page): Promise<Frame> {
  await page.evaluate(() => {
    const frame = document.createElement('iframe')
    frame.setAttribute('sandbox', 'allow-scripts')
    frame.srcdoc = '<!doctype html>'
    document.body.append(frame)
  })
  await expect.poll(() => page.frames().length).toBe(2)
  return page.frames()[1]!
}
