import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import type { Page } from '@playwright/test'
import { expect, goTo, join, joined } from './support/fixtures.js'
import { holdAfter, openMore, serve, sha256, share } from './support/sharing.js'

// What survives a reload of either tab, folders and many files, and the list of what others share.

const MIB = 1 << 20

share('a tab that is loaded again shares what it shared, under the same link', async ({ ann, follow }) => {
  const bytes = randomBytes(4 * MIB)
  const link = await serve(ann, [{ name: 'map.bin', bytes }], 'kept')
  await expect.poll(() => kept(ann)).toEqual(['kept'])
  await ann.reload()
  await joined(ann)
  await expect(ann.locator('.offer-url')).toHaveAttribute('href', link)
  const bob = await follow(link)
  const coming = bob.waitForEvent('download')
  await bob.locator('.shared').getByRole('button', { name: 'Download' }).click()
  expect(sha256(await readFile(await (await coming).path()))).toBe(sha256(bytes))
  await ann.locator('.offer').getByRole('button', { name: 'Stop' }).click()
  await expect(ann.locator('.offer')).toHaveCount(0)
  await expect.poll(() => kept(ann), 'what is not shared any more is not kept').toEqual([])
})

share(
  'what is too large to be kept is asked for once more after a reload, for the same link',
  async ({ ann, follow }) => {
    const dir = await mkdtemp(joinPath(tmpdir(), 'tombolo-share-'))
    try {
      const path = joinPath(dir, 'film.mkv')
      await writeFile(path, '')
      await truncate(path, 65 * MIB)
      await ann.locator('#serve-files').setInputFiles(path)
      await expect(ann.locator('.offer')).toContainText('It ends when this page is loaded again')
      const link = (await ann.locator('.offer-url').getAttribute('href'))!
      const asked = ann.waitForEvent('dialog')
      const reloaded = ann.reload()
      const dialog = await asked
      expect(dialog.type()).toBe('beforeunload')
      await dialog.accept()
      await reloaded
      await joined(ann)
      await expect(ann.locator('.lost')).toContainText('film.mkv was shared from here')
      await ann.locator('.lost input[type=file]').setInputFiles(path)
      await expect(ann.locator('.offer-url')).toHaveAttribute('href', link)
      await expect(ann.locator('.lost')).toHaveCount(0)
      await expect((await follow(link)).locator('.shared')).toContainText('film.mkv')
    } finally {
      await rm(dir, { recursive: true })
    }
  },
)

share(
  'a tab that is loaded again amid a download asks first, and goes on where it was @long',
  async ({ ann, follow }) => {
    const bytes = randomBytes(24 * MIB)
    const bob = await follow(await serve(ann, [{ name: 'big.bin', bytes }], 'reloaded'))
    const file = bob.locator('.shared')
    const release = await holdAfter(ann, 14 * MIB)
    await file.getByRole('button', { name: 'Download' }).click()
    await expect(file).toContainText(/[1-9]\d\.\d MB of 25\.2 MB/)
    const asked = bob.waitForEvent('dialog')
    const reloaded = bob.reload()
    await (await asked).accept()
    await reloaded
    await expect(file).toHaveAttribute('data-how', 'cut off')
    expect(Number(await file.locator('progress').getAttribute('value'))).toBeGreaterThanOrEqual(8 * MIB)
    await release()
    const coming = bob.waitForEvent('download')
    await file.getByRole('button', { name: 'Go on' }).click()
    expect(sha256(await readFile(await (await coming).path()))).toBe(sha256(bytes))
  },
)

share('a folder is shared whole, and all of it is got by one click', async ({ ann, annId, follow }) => {
  const dir = await mkdtemp(joinPath(tmpdir(), 'tombolo-share-'))
  try {
    await mkdir(joinPath(dir, 'atlas', 'north'), { recursive: true })
    await writeFile(joinPath(dir, 'atlas', 'index.html'), '<a href="north/sea.html">north</a>')
    await writeFile(joinPath(dir, 'atlas', 'north', 'sea.html'), '<h1>The North Sea</h1>')
    for (let n = 0; n < 150; n++) await writeFile(joinPath(dir, 'atlas', 'north', `${n}.txt`), `sheet ${n}`)
    await openMore(ann)
    await ann.locator('#serve-folder').setInputFiles(joinPath(dir, 'atlas'))
    await expect(ann.locator('.offer')).toContainText('152 files as “atlas”')
    const link = (await ann.locator('.offer-url').getAttribute('href'))!
    expect(link).toContain(`${annId}/atlas`)
    const bob = await follow(link)
    await expect(bob.locator('.getting-all')).toContainText('152 files')
    const coming = bob.waitForEvent('download')
    await bob.getByRole('button', { name: 'Download all' }).click()
    const download = await coming
    expect(download.suggestedFilename()).toBe('atlas.zip')
    const zip = await readFile(await download.path())
    expect(zip.readUInt16LE(zip.length - 12), 'entries of the archive').toBe(152)
    for (const text of ['north/149.txt', 'sheet 149', 'north/sea.html']) expect(zip.includes(text)).toBe(true)
    await expect(bob.locator('.getting-all')).toContainText('all here')
    await bob.getByRole('button', { name: 'Show here' }).click()
    const inside = bob.frameLocator('.site iframe')
    await inside.getByRole('link', { name: 'north' }).click()
    await expect(inside.locator('h1')).toHaveText('The North Sea')
  } finally {
    await rm(dir, { recursive: true })
  }
})

share('a path that leads out of the folder is packed within it', async ({ ann, annId, follow, relay }) => {
  await ann.evaluate(async () => {
    const listed = ['../../evil.sh', '/root.txt', 'C:\\win.ini'].map((name) => ({ name, size: 4, type: '' }))
    await window.tombolo!.serve('/x/out/http', (request) =>
      new URL(request.url).pathname === '/' ? Response.json(listed) : new Response('text'),
    )
  })
  const bob = await follow(`${relay.url}#get=${annId}/out`)
  const coming = bob.waitForEvent('download')
  await bob.getByRole('button', { name: 'Download all' }).click()
  const zip = (await readFile(await (await coming).path())).toString('latin1')
  expect(zip).toContain('evil.sh')
  expect(zip).not.toMatch(/\.\.\/|\/root|:\\|:\//)
  await ann.close()
})

share('files that are dropped on the page are shared, whatever view is shown', async ({ ann }) => {
  await goTo(ann, 'Mesh')
  await ann.evaluate(() => {
    const data = new DataTransfer()
    data.items.add(new File(['dropped'], 'dropped.txt', { type: 'text/plain' }))
    document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }))
  })
  await expect(ann.locator('.offer[data-name=dropped]')).toBeVisible()
})

share('nobody who shares much hides what others share', async ({ ann, annId, context, relay, daemon, follow }) => {
  const link = await serve(ann, [{ name: 'mine.txt', bytes: Buffer.from('a') }], 'mine')
  const eve = await context.newPage()
  const eveId = await join(eve, `${relay.url}?peer=${daemon.id}`)
  await eve.evaluate(async () => {
    for (let n = 0; n < 30; n++) {
      await window.tombolo!.listen(`/x/noise-${n}`, () => Promise.resolve(), { announce: `noise ${n}` })
    }
  })
  const bob = await follow(link)
  await bob.evaluate((peer) => window.tombolo!.connect(peer), eveId)
  const of = (peer: string) => bob.locator(`.services-of[data-peer="${peer}"]`)
  await expect(of(eveId).locator('.service')).toHaveCount(4)
  await expect(of(annId).locator('.service')).toContainText('mine.txt')
  // By keyboard, because new entries may move the list under a pointer.
  await of(eveId).getByRole('button', { name: 'Show 26 more of theirs' }).press('Enter')
  await expect(of(eveId).locator('.service')).toHaveCount(30)
  await eve.close()
})

share('the focus stays by what is left when a row goes', async ({ ann }) => {
  for (const name of ['one', 'two']) await serve(ann, [{ name: `${name}.txt`, bytes: Buffer.from(name) }], name)
  const stop = (name: string) => ann.locator(`.offer[data-name=${name}]`).getByRole('button', { name: 'Stop' })
  await stop('one').press('Enter')
  await expect(ann.locator('.offer')).toHaveCount(1)
  await expect(stop('two')).toBeFocused()
  await stop('two').press('Enter')
  await expect(ann.locator('.offer')).toHaveCount(0)
  await expect(ann.locator('.offers :focus')).toHaveCount(1)
})

/** Returns the names of the tab's offers that the browser has stored. */
function kept(page: Page): Promise<string[]> {
  return page.evaluate(
    () =>
      new Promise<string[]>((resolve, reject) => {
        const opening = indexedDB.open('tombolo-page', 1)
        opening.onerror = () => reject(opening.error!)
        opening.onsuccess = () => {
          const all = opening.result.transaction('offers').objectStore('offers').getAllKeys()
          all.onsuccess = () => {
            opening.result.close()
            resolve((all.result as [string, string][]).filter(([id]) => id === window.tombolo!.id).map(([, n]) => n))
          }
        }
      }),
  )
}
