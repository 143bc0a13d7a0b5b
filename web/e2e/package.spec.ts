import type { Page } from '@playwright/test'
import { expect, test } from './support/fixtures.js'

test.beforeEach(async ({ page, server }) => {
  await page.goto(server.url)
})

/** Runs createNode in the page. The options are JavaScript source, because not all of them are JSON. */
function create(page: Page, options: string): Promise<{ id?: string; name?: string; code?: string; message?: string }> {
  return page.evaluate(async (source) => {
    const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
    try {
      const options = new Function(`return ${source}`)() as Parameters<typeof createNode>[0]
      const node = await createNode(options)
      const { id } = node
      await node.close()
      return { id }
    } catch (error) {
      const { name, code, message } = error as Error & { code?: string }
      return { name, message, ...(code !== undefined && { code }) }
    }
  }, options)
}

test('a node needs no options', async ({ page }) => {
  expect(await create(page, 'undefined')).toMatchObject({ id: expect.stringMatching(/^12D3KooW/) as unknown })
})

test('loading the package and making a node leaves no global behind', async ({ page }) => {
  const globals = () => page.evaluate(() => Object.getOwnPropertyNames(window).sort())
  const before = await globals()
  for (const worker of ['none', 'dedicated', 'shared']) await create(page, `{ worker: '${worker}' }`)
  expect(await globals()).toEqual(before)
})

// What a page may have under names that Go looks for; `names` is bound to these. A classic script defines each.
const occupied: Record<string, string> = {
  'values of its own': `for (const name of names) window[name] = { env: {} }`,
  'values that cannot be changed': `for (const name of names) Object.defineProperty(window, name, { value: { env: {} } })`,
  'getters that throw': `for (const name of names) Object.defineProperty(window, name, { get() { throw new Error(name) } })`,
  'variables and functions': `var fs = 0, process = { env: {} }, tombolo = 'mine'; function path() {} const Go = 1`,
  'no clock': `var performance = {}`,
}
for (const [what, script] of Object.entries(occupied)) {
  test(`a program starts in a page that has ${what} under the names of Go's globals, and leaves them there`, async ({
    page,
  }) => {
    await page.addScriptTag({ content: script.replace('names', `['fs', 'process', 'path', 'Go', 'tombolo']`) })
    const globals = () =>
      page.evaluate(() =>
        Object.entries(Object.getOwnPropertyDescriptors(window)).map(([name, { value, writable, configurable }]) =>
          JSON.stringify([name, typeof value === 'object' ? '' : String(value), writable, configurable]),
        ),
      )
    const before = await globals()
    expect(await create(page, `{ worker: 'none' }`)).toHaveProperty('id')
    expect(await globals()).toEqual(before)
  })
}

test('a bad option rejects, naming the option', async ({ page }) => {
  const bad: [option: string, options: string][] = [
    ['relays', `{ relays: ['/ip4/127.0.0.1/tcp/1/ws'] }`],
    ['relays', `{ relays: 'nowhere' }`],
    ['identity', `{ identity: 'borrowed' }`],
    ['identity', `{ identity: new Uint8Array([1, 2, 3]) }`],
    ['network', `{ network: 7 }`],
    ['transports', `{ transports: ['pigeon'] }`],
    ['log', `{ log: 'loud' }`],
    ['worker', `{ worker: 'communal' }`],
    ['wasm', `{ wasm: 'http://' }`],
    ['relay', `{ relay: [] }`],
  ]
  for (const [option, options] of bad) {
    const { message } = await create(page, options)
    expect.soft(message, options).toMatch(new RegExp(`\\b${option}\\b`))
  }
})

test('a given identity is the peer id', async ({ page }) => {
  // The Ed25519 test vector of the libp2p specification of peer IDs.
  const key =
    '080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e'
  const bytes = `Uint8Array.from('${key}'.match(/../g), (hex) => parseInt(hex, 16))`
  const first = await create(page, `{ identity: ${bytes} }`)
  expect(first.id).toMatch(/^12D3KooW/)
  expect(await create(page, `{ identity: ${bytes} }`)).toEqual(first)
})

test.describe('a program that cannot be loaded', () => {
  const wasm = `{ wasm: location.origin + '/tombolo.wasm' }`

  test('is missing', async ({ page }) => {
    const result = await create(page, `{ wasm: location.origin + '/elsewhere.wasm' }`)
    expect(result).toMatchObject({ name: 'TomboloError', code: 'wasm-not-found' })
  })

  test('is refused', async ({ page }) => {
    await page.route('**/*.wasm', (route) => route.fulfill({ status: 503 }))
    expect(await create(page, wasm)).toMatchObject({
      code: 'wasm-refused',
      message: expect.stringMatching(/503/) as unknown,
    })
  })

  test('has the wrong content type', async ({ page }) => {
    await page.route('**/*.wasm', (route) => route.fulfill({ contentType: 'text/html', body: '<p>hello' }))
    expect(await create(page, wasm)).toMatchObject({ code: 'wasm-type' })
  })

  test('is no program', async ({ page }) => {
    await page.route('**/*.wasm', (route) => route.fulfill({ contentType: 'application/wasm', body: 'hello' }))
    expect(await create(page, wasm)).toMatchObject({ code: 'wasm-invalid' })
  })

  test('is a program of something else', async ({ page }) => {
    const empty = Buffer.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])
    await page.route('**/*.wasm', (route) => route.fulfill({ contentType: 'application/wasm', body: empty }))
    expect(await create(page, wasm)).toMatchObject({ code: 'wasm-invalid' })
  })

  test('does not answer', async ({ page }) => {
    await page.route('**/*.wasm', (route) => route.abort('connectionrefused'))
    expect(await create(page, wasm)).toMatchObject({ code: 'wasm-unreachable' })
  })

  test('is fetched once more if the network fails', async ({ page }) => {
    await page.route('**/tombolo.wasm', (route) => route.abort('failed'), { times: 1 })
    expect(await create(page, wasm)).toHaveProperty('id')
  })

  test('can be loaded the next time', async ({ page }) => {
    await page.route('**/*.wasm', (route) => route.fulfill({ status: 404 }), { times: 1 })
    expect(await create(page, wasm)).toMatchObject({ code: 'wasm-not-found' })
    expect(await create(page, wasm)).toHaveProperty('id')
  })
})

for (const how of ['panic', 'panic later', 'memory']) {
  test(`a program in the page that ends (${how}) ends its nodes, and the next node gets a fresh one`, async ({
    page,
  }) => {
    const result = await page.evaluate(async (how) => {
      const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
      const options = { wasm: '/crash.wasm', worker: 'none' } as const
      const told = (promise: Promise<unknown>) =>
        promise.then(
          () => 'nothing',
          (error: Error & { code?: string }) => `${error.code}: ${error.message}`,
        )
      const node = await createNode(options)
      let event: unknown
      node.addEventListener('error', ({ detail }) => (event = detail))
      const waiting = told(node.peers())
      const crashing = await told(node.ping(how))
      const next = await createNode(options)
      return { crashing, waiting: await waiting, later: await told(node.peers()), event, next: next.version }
    }, how)
    const output = how === 'memory' ? /^crashed: .*out of memory/ : /^crashed: .*panic: out of sand/
    const why = expect.stringMatching(output) as unknown
    expect(result).toMatchObject({ crashing: why, waiting: why, later: why, event: { fatal: true }, next: 'crash' })
  })
}

for (const worker of ['none', 'dedicated'] as const) {
  test(`a node that is made, undone and made again at once is the same peer (${worker})`, async ({ page }) => {
    const ids = await page.evaluate(async (worker) => {
      const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
      const options = { worker, identity: 'persistent' } as const
      const first = createNode(options)
      const undone = first.then((node) => node.close()) // as a React component does in StrictMode
      const second = await createNode(options)
      await undone
      return [(await first).id, second.id]
    }, worker)
    expect(ids[1]).toBe(ids[0])
  })
}

test('a signal ends the wait for a node', async ({ page }) => {
  expect(await create(page, '{ signal: AbortSignal.abort() }')).toMatchObject({ name: 'AbortError' })
  expect(await create(page, '{ signal: AbortSignal.timeout(1) }')).toMatchObject({ name: 'TimeoutError' })
})
