import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { BrowserContext, Page } from '@playwright/test'
import { build } from 'vite'
import { blocks } from '../scripts/blocks.mjs'
import { expect, test as base } from './support/fixtures.js'
import type { Relay } from './support/peers.js'
import { Program } from './support/process.js'
import { StaticServer } from './support/static-server.js'

// Runs the code in the documents exactly as it stands there.

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const written = blocks(readFileSync(at('../../docs/rooms.md'), 'utf8')) as { language: string; code: string }[]

/** Returns the only block of a language that contains these words. */
function block(language: string, words: string): string {
  const found = written.filter((block) => block.language === language && block.code.includes(words))
  expect(found, `${language} with ${words}`).toHaveLength(1)
  return found[0]!.code
}

/** Returns whether something is drawn at a position on the page's canvas. */
const isDrawn = (page: Page, x: number, y: number) =>
  page.evaluate(
    ([x, y]) => document.querySelector('canvas')!.getContext('2d')!.getImageData(x, y, 1, 1).data[3] !== 0,
    [x, y] as const,
  )

const lines = (code: string) => code.split('\n').filter((line) => line !== '').length

/** The page of the document, built in an empty folder and served. */
const test = base.extend<{}, { site: StaticServer }>({
  site: [
    async ({}, use) => {
      const root = at('../build/documents/')
      rmSync(root, { recursive: true, force: true })
      mkdirSync(root, { recursive: true })
      writeFileSync(`${root}index.html`, block('html', '<canvas'))
      writeFileSync(`${root}main.ts`, block('ts', 'class Dots'))
      const alias = { '@tombolo/node': at('../dist/npm/index.js') } // a user's program has it installed
      const options = { assetsInlineLimit: 0, target: 'es2022' }
      await build({ root, base: './', resolve: { alias }, logLevel: 'warn', build: options })
      const site = await StaticServer.start(`${root}dist/`)
      await use(site)
      site.stop()
    },
    { scope: 'worker' },
  ],
})

/** Opens the game, and waits until a dot is drawn. */
async function open(context: BrowserContext, site: StaticServer, relay: Relay): Promise<Page> {
  const page = await context.newPage()
  await page.goto(`${site.url}?relay=${encodeURIComponent(relay.url)}`)
  await expect.poll(() => isDrawn(page, 200, 200), { timeout: 60_000 }).toBe(true)
  return page
}

/** Moves a page's dot, and returns whether it is drawn there. */
async function move(page: Page, x: number, y: number): Promise<boolean> {
  const box = (await page.locator('canvas').boundingBox())!
  await page.mouse.move(box.x + x + 1, box.y + y)
  await page.mouse.move(box.x + x, box.y + y)
  return isDrawn(page, x, y)
}

test('make demo prints the address of a page, which this machine alone can open', async () => {
  const demo = new Program(process.execPath, [at('../scripts/demo.mjs'), '--port', '0'])
  const [open] = await demo.lines(/^Open http:/)
  await demo.lines(/^Only this machine can open it/)
  const url = new URL(open!.replace('Open ', ''))
  expect((await fetch(new URL('/healthz', url))).status).toBe(200)
  const { addrs } = (await (await fetch(new URL('/.well-known/tombolo', url))).json()) as { addrs: string[] }
  expect(addrs.filter((addr) => !addr.startsWith('/ip4/127.0.0.1/'))).toEqual([])
  await demo.stop()
})

test('the game of docs/rooms.md is played by two tabs, and goes on without the one that held it', async ({
  context,
  site,
  relay,
}) => {
  expect(lines(block('ts', 'class Dots')), 'lines of the game').toBeLessThanOrEqual(40)
  const one = await open(context, site, relay)
  const two = await open(context, site, relay)
  await expect.poll(() => move(two, 50, 60)).toBe(true)
  await expect.poll(() => isDrawn(one, 50, 60)).toBe(true)
  await one.close()
  await expect.poll(() => move(two, 300, 100), { timeout: 90_000 }).toBe(true)
})

test('the game in Go of docs/rooms.md is played on the same page @long', async ({ context, site, relay }) => {
  const code = block('go', 'type game struct')
  expect(lines(code) - lines(code.slice(0, code.indexOf(')\n\n'))), 'lines but for the imports').toBeLessThanOrEqual(40)
  const program = at('../build/_dots/') // in the module, but not one of its packages
  rmSync(program, { recursive: true, force: true })
  mkdirSync(program, { recursive: true })
  writeFileSync(`${program}main.go`, code)
  execFileSync('go', ['build', '-trimpath', '-o', `${program}dots`, `${program}main.go`], {
    cwd: at('../../'),
    stdio: 'inherit',
  })
  const holder = spawn(`${program}dots`, [relay.url], { env: { ...process.env, TOMBOLO_NO_MDNS: 'true' } })
  try {
    const said = createInterface(holder.stderr)
    const id = await new Promise<string>((resolve) => {
      said.on('line', (line) => {
        const found = / (\S+) holds dots$/.exec(line)
        if (found) resolve(found[1]!)
      })
    })
    const page = await open(context, site, relay)
    await expect.poll(() => move(page, 300, 100)).toBe(true)
    expect(id).toMatch(/^12D3/)
    holder.kill('SIGKILL')
    await expect.poll(() => move(page, 100, 300), { timeout: 90_000 }).toBe(true) // now the tab hosts the room
  } finally {
    holder.kill('SIGKILL')
  }
})
