import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Page } from '@playwright/test'
import { build } from 'vite'
import { blocks } from '../scripts/blocks.mjs'
import { expect, test } from './support/fixtures.js'
import { StaticServer } from './support/static-server.js'

// What the documents have a newcomer write, as it stands there.

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const written = blocks(readFileSync(at('../../docs/rooms.md'), 'utf8')) as { language: string; code: string }[]

/** The only block of a language that has these words. */
function block(language: string, words: string): string {
  const found = written.filter((block) => block.language === language && block.code.includes(words))
  expect(found, `${language} with ${words}`).toHaveLength(1)
  return found[0]!.code
}

/** Whether something is drawn at a place of the page's canvas. */
const isDrawn = (page: Page, x: number, y: number) =>
  page.evaluate(
    ([x, y]) => document.querySelector('canvas')!.getContext('2d')!.getImageData(x, y, 1, 1).data[3] !== 0,
    [x, y] as const,
  )

test('the game of docs/rooms.md is played by two tabs, and goes on without the one that held it', async ({
  context,
  relay,
}) => {
  const code = block('ts', 'class Dots')
  expect(code.split('\n').filter((line) => line !== '').length, 'lines of the game').toBeLessThanOrEqual(45)
  const root = at('../build/documents/')
  rmSync(root, { recursive: true, force: true })
  mkdirSync(root, { recursive: true })
  writeFileSync(`${root}index.html`, block('html', '<canvas'))
  writeFileSync(`${root}main.ts`, code)
  const alias = { '@tombolo/node': at('../dist/npm/index.js') } // which a program of one's own has installed
  await build({
    root,
    base: './',
    resolve: { alias },
    logLevel: 'warn',
    build: { assetsInlineLimit: 0, target: 'es2022' },
  })
  const site = await StaticServer.start(`${root}dist/`)
  try {
    const open = async () => {
      const page = await context.newPage()
      await page.goto(`${site.url}?relay=${encodeURIComponent(relay.url)}`)
      await expect.poll(() => isDrawn(page, 200, 200), { timeout: 60_000 }).toBe(true)
      return page
    }
    const one = await open()
    const two = await open()
    const move = async (page: Page, x: number, y: number) => {
      const box = (await page.locator('canvas').boundingBox())!
      await page.mouse.move(box.x + x, box.y + y)
    }
    await move(two, 50, 60)
    await expect.poll(() => isDrawn(one, 50, 60)).toBe(true)
    await one.close()
    const goesOn = async () => {
      await move(two, 301, 100)
      await move(two, 300, 100)
      return isDrawn(two, 300, 100)
    }
    await expect.poll(goesOn, { timeout: 90_000 }).toBe(true)
  } finally {
    site.stop()
  }
})
