import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { request, type IncomingHttpHeaders } from 'node:http'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import { promisify } from 'node:util'
import type { Page } from '@playwright/test'
import jsQR from 'jsqr'
import { binaries } from './support/binaries.js'
import { expect, goTo, join, tabTo } from './support/fixtures.js'
import { Program } from './support/process.js'
import { holdAfter, openMore, serve, sha256, share } from './support/sharing.js'

// Files and pages that a person shares from one tab, and that others fetch: in a tab, by a link, and from a shell.

const MIB = 1 << 20
/** A ristretto255 element: a share in a key exchange, from somebody without the code. */
const generator = Buffer.from('e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76', 'hex')

share('8 MiB of one tab are fetched by another through the link, byte for byte', async ({ ann, annId, follow }) => {
  const bytes = randomBytes(8 * MIB)
  const link = await serve(ann, [{ name: 'Seekarte Ärmelkanal.bin', bytes }])
  expect(link).toContain(`#get=${annId}/seekarte-rmelkanal`)
  await expect(ann.locator('.offer-count')).toHaveText('Nobody has downloaded it yet.')
  const bob = await follow(link)
  const file = bob.locator('.shared')
  await expect(file).toContainText('Seekarte Ärmelkanal.bin')
  await expect(file).toContainText('8.4 MB')
  const coming = bob.waitForEvent('download')
  await file.getByRole('button', { name: 'Download' }).click()
  await expect(file.locator('progress')).toBeVisible()
  const download = await coming
  expect(download.suggestedFilename()).toBe('Seekarte Ärmelkanal.bin')
  expect(sha256(await readFile(await download.path()))).toBe(sha256(bytes))
  await expect(file).toContainText('8.4 MB, all here')
  const fetched = ann.locator('.fetched li')
  await expect(fetched).toContainText('8.4 MB handed out')
  await expect(fetched).toHaveAttribute('data-peer', (await bob.locator('#own-id').textContent())!)
  await expect(ann.locator('.offer-count')).toHaveText('Handed out 1 time.')
})

share('a code that one tab shows leads another to what it shares, once', async ({ ann, annId, relay, follow }) => {
  await serve(ann, [{ name: 'lot.txt', bytes: Buffer.from('zehn Faden') }])
  await ann.getByRole('button', { name: 'Show a code' }).click()
  const shown = ann.locator('.pairing-code output')
  await expect(shown).toHaveText(/^[0-9A-HJKMNP-TV-Z]{3}(-[0-9A-HJKMNP-TV-Z]{3}){2}$/)
  const code = (await shown.textContent())!
  const type = `pair/${code.slice(0, 3)}`

  const bob = await follow(relay.url)
  const find = bob.getByRole('button', { name: 'Find them' })
  await expect(find).toBeEnabled()
  const send = (data: Buffer) =>
    bob.evaluate(
      ([peer, type, data]) =>
        window.tombolo!.request(peer, type, new Uint8Array(data)).then(
          () => 'answered',
          (error: unknown) => String(error),
        ),
      [annId, type, [...data]] as const,
    )
  // A peer that sees where they meet but does not know the code learns nothing, and does not use up the code.
  expect(await send(randomBytes(64))).toContain('a proof comes after a share')
  expect(await send(generator)).toBe('answered')
  expect(await send(randomBytes(64))).toContain('the code is another one')

  const typed = code.toLowerCase().replaceAll('-', ' ').replaceAll('0', 'o').replaceAll('1', 'l')
  await bob.locator('#pair-code').fill(typed)
  await find.click()
  await expect(bob.locator('.shared')).toContainText('lot.txt')
  await expect(bob.locator('.pairing-met')).toContainText('You have met')
  await expect(ann.locator('.pairing-met')).toContainText('You have met')
  await expect(shown).toHaveCount(0)
  expect(await send(generator)).not.toBe('answered')
})

share('a code ends when others have tried it a hundred times', async ({ ann, annId, relay, follow }) => {
  await ann.getByRole('button', { name: 'Show a code' }).click()
  const code = (await ann.locator('.pairing-code output').textContent())!
  const bob = await follow(relay.url)
  await expect(bob.getByRole('button', { name: 'Find them' })).toBeEnabled()
  const refused = bob.evaluate(
    async ([peer, type, share]) => {
      for (let tries = 0; ; tries++) {
        try {
          await window.tombolo!.request(peer, type, new Uint8Array(share))
        } catch (error) {
          return `${tries}: ${String(error)}`
        }
      }
    },
    [annId, `pair/${code.slice(0, 3)}`, [...generator]] as const,
  )
  expect(await refused).toMatch(/^100: .*the code is no longer valid/)
  await expect(ann.getByText('The code was tried too often')).toBeVisible()
  await expect(ann.locator('.pairing-code')).toHaveCount(0)
})

share('a tab and a shell meet by a code, whoever shows it', async ({ ann, annId, daemon }) => {
  await serve(ann, [{ name: 'lot.txt', bytes: Buffer.from('zehn Faden') }], 'lot')
  await ann.getByRole('button', { name: 'Show a code' }).click()
  const code = (await ann.locator('.pairing-code output').textContent())!
  const args = ['pair', '--json', '--data-dir', daemon.dir]
  const { stdout } = await promisify(execFile)(binaries.native, [...args, code])
  expect(JSON.parse(stdout)).toEqual({ peer: annId, protocol: '/x/lot/http' })
  const met = ann.locator('.pairing-met')
  await expect(met).toContainText('You have met')
  await expect(met.locator('code')).toHaveAttribute('title', daemon.id)

  const dir = await mkdtemp(joinPath(tmpdir(), 'tombolo-share-'))
  await writeFile(joinPath(dir, 'index.html'), 'elf Faden')
  await daemon.run('listen', '/x/log/http', `file:${dir}`, '--announce', 'a log')
  const shell = new Program(binaries.native, args)
  const [shown] = await shell.lines(/"code"/)
  await ann.locator('#pair-code').fill((JSON.parse(shown!) as { code: string }).code)
  await ann.getByRole('button', { name: 'Find them' }).click()
  await expect(ann.locator('.getting')).toContainText('shares log')
  await expect(ann.locator('.getting')).toHaveAttribute('data-phase', 'there')
  const [paired] = await shell.lines(/"peer"/)
  expect(JSON.parse(paired!)).toEqual({ peer: annId })
  await daemon.run('close', '-p', '/x/log/http')
  await rm(dir, { recursive: true })
})

share('a shell fetches it through a forward: ranges, HEAD, what is not there', async ({ ann, annId, daemon }) => {
  const bytes = randomBytes(4 * MIB)
  const text = Buffer.from('Grüße aus dem Tab\n')
  await serve(
    ann,
    [
      { name: 'Karte "ü".bin', bytes },
      { name: 'log.txt', bytes: text, type: 'text/plain' },
    ],
    'charts',
  )
  const run = promisify(execFile)
  const args = ['forward', '--data-dir', daemon.dir, '--json', '/x/charts/http', '127.0.0.1:0', annId]
  const { stdout } = await run(binaries.native, args)
  const port = Number(/127\.0\.0\.1[:/](?:tcp\/)?([1-9]\d*)/.exec(stdout)?.[1])
  const get = (path: string, headers = {}, method = 'GET') => ask(port, path, headers, method)
  const path = `/${encodeURIComponent('Karte "ü".bin')}`

  const whole = await get(path)
  expect(whole.status).toBe(200)
  expect(sha256(whole.body)).toBe(sha256(bytes))
  expect(whole.headers).toMatchObject({
    'content-type': 'application/octet-stream',
    'content-length': String(bytes.length),
    'accept-ranges': 'bytes',
    'content-disposition': `attachment; filename="Karte ___.bin"; filename*=UTF-8''Karte%20%22%C3%BC%22.bin`,
  })
  const { etag } = whole.headers
  const head = await get(path, {}, 'HEAD')
  expect([head.status, head.headers['content-length'], head.body.length]).toEqual([200, String(bytes.length), 0])
  expect((await get(path, { 'if-none-match': etag })).status).toBe(304)

  for (const [range, from, to] of [
    ['bytes=1000000-1000099', 1_000_000, 1_000_100],
    [`bytes=${bytes.length - 5}-`, bytes.length - 5, bytes.length],
    ['bytes=-7', bytes.length - 7, bytes.length],
    [`bytes=10-${2 * bytes.length}`, 10, bytes.length],
  ] as const) {
    const part = await get(path, { range, 'if-range': etag })
    expect(part.status).toBe(206)
    expect(part.headers['content-range']).toBe(`bytes ${from}-${to - 1}/${bytes.length}`)
    expect(part.body.equals(bytes.subarray(from, to))).toBe(true)
  }
  const beyond = await get(path, { range: `bytes=${bytes.length}-` })
  expect([beyond.status, beyond.headers['content-range']]).toEqual([416, `bytes */${bytes.length}`])
  const changed = await get('/log.txt', { range: 'bytes=0-3', 'if-range': '"of another file"' })
  expect([changed.status, changed.body.equals(text)]).toEqual([200, true])
  expect(changed.headers['content-type']).toBe('text/plain; charset=utf-8')
  expect(changed.headers['content-disposition']).toMatch(/^inline; /)

  expect((await get('/nothing')).status).toBe(404)
  expect((await get('/%zz')).status).toBe(400)
  expect((await get('/log.txt', {}, 'POST')).status).toBe(405)
  expect((await get('/')).body.toString()).toContain('Karte &#34;ü&#34;.bin</a> 4,194,304 bytes')
  const listed = await get('/', { accept: 'application/json' })
  expect(JSON.parse(listed.body.toString())).toEqual([
    { name: 'Karte "ü".bin', size: bytes.length, type: 'application/octet-stream' },
    { name: 'log.txt', size: text.length, type: 'text/plain' },
  ])
  await expect(ann.locator('.fetched li')).toHaveCount(2)
  await expect(ann.locator('.fetched li').first()).toHaveAttribute('data-peer', daemon.id)
})

share('a transfer that was cut off goes on where it ended', async ({ ann, follow }) => {
  const bytes = randomBytes(24 * MIB)
  const link = await serve(ann, [{ name: 'big.bin', bytes }], 'big')
  const bob = await follow(link)
  const file = bob.locator('.shared')
  const release = await holdAfter(ann, 14 * MIB)
  await file.getByRole('button', { name: 'Download' }).click()
  await expect(file).toContainText(/[1-9]\d\.\d MB of 25\.2 MB/) // more than can be in flight
  await ann.evaluate(async () => {
    for (const { id, protocol } of await window.tombolo!.streams()) {
      if (protocol === '/x/big/http') await window.tombolo!.closeStream(id)
    }
  })
  await expect(file.locator('.trouble')).toContainText('Cut off midway')
  await expect(file.locator('.trouble')).toContainText('go on from there')
  const received = Number(await file.locator('progress').getAttribute('value'))
  expect(received).toBeGreaterThan(0)
  await expect(ann.locator('.fetched li')).toContainText('cut off')
  await release()
  const coming = bob.waitForEvent('download')
  await file.getByRole('button', { name: 'Go on' }).click()
  expect(sha256(await readFile(await (await coming).path()))).toBe(sha256(bytes))
  await expect(ann.locator('.fetched li')).toContainText(/MB handed out.*2 times/)
  const second = await ann.locator('.fetched li').textContent()
  // Bytes that had arrived were not sent again, except those in flight.
  const sent = Number(/([\d.]+) MB handed out/.exec(second!)?.[1]) * 1e6
  expect(sent).toBeLessThan(bytes.length + received)
})

share('a download that is stopped goes on when it is wanted again', async ({ ann, follow }) => {
  const bytes = randomBytes(8 * MIB)
  const bob = await follow(await serve(ann, [{ name: 'big.bin', bytes }], 'big'))
  const file = bob.locator('.shared')
  const release = await holdAfter(ann, 4 * MIB)
  await file.getByRole('button', { name: 'Download' }).click()
  await expect(file).toContainText(/[1-9]\d*\.\d MB of 8\.4 MB/)
  await file.getByRole('button', { name: 'Stop' }).click()
  await expect(file).toHaveAttribute('data-how', 'cut off')
  await expect(file.locator('.trouble')).toHaveCount(0)
  await release()
  const coming = bob.waitForEvent('download')
  await file.getByRole('button', { name: 'Go on' }).click()
  expect(sha256(await readFile(await (await coming).path()))).toBe(sha256(bytes))
})

share('who closes a tab that somebody fetches from is asked first', async ({ ann, follow }) => {
  const bytes = randomBytes(8 * MIB)
  const bob = await follow(await serve(ann, [{ name: 'big.bin', bytes }], 'big'))
  const file = bob.locator('.shared')
  const release = await holdAfter(ann, 4 * MIB)
  const coming = bob.waitForEvent('download')
  await file.getByRole('button', { name: 'Download' }).click()
  await expect(ann.locator('.fetched')).toContainText('under way')
  const asked = ann.waitForEvent('dialog')
  await ann.close({ runBeforeUnload: true })
  const dialog = await asked
  expect(dialog.type()).toBe('beforeunload')
  await dialog.dismiss()
  await release()
  expect(sha256(await readFile(await (await coming).path()))).toBe(sha256(bytes))
})

share('a tab that is closed midway is away, and what came of it is kept @long', async ({ ann, follow }) => {
  const link = await serve(ann, [{ name: 'big.bin', bytes: randomBytes(16 * MIB) }], 'big')
  const bob = await follow(link)
  const file = bob.locator('.shared')
  await holdAfter(ann, 8 * MIB)
  await file.getByRole('button', { name: 'Download' }).click()
  await expect(file).toContainText(/[1-9]\d*\.\d MB of 16\.8 MB/)
  await ann.close()
  await expect(file.locator('.trouble')).toContainText('Cut off midway')
  const received = await file.locator('progress').getAttribute('value')
  await file.getByRole('button', { name: 'Go on' }).click()
  await expect(file.locator('.trouble')).toContainText('The peer is away')
  expect(await file.locator('progress').getAttribute('value')).toBe(received)
})

share('a link that leads nowhere says why, and what to do @long', async ({ ann, annId, follow, context, relay }) => {
  const link = await serve(ann, [{ name: 'a.txt', bytes: Buffer.from('a') }], 'gone')
  await ann.locator('.offer').getByRole('button', { name: 'Stop' }).click()
  await expect(ann.locator('.offer')).toHaveCount(0)
  const bob = await follow(link)
  const said = bob.locator('.getting .trouble')
  await expect(said).toContainText('It is not shared any more')
  await serve(ann, [{ name: 'b.txt', bytes: Buffer.from('b') }], 'gone')
  await expect(bob.locator('.shared'), 'it is tried again by itself').toContainText('b.txt')
  await expect(said).toHaveCount(0)

  await ann.evaluate((hash) => (location.hash = hash), new URL(link).hash)
  await expect(ann.locator('.getting .trouble')).toContainText('It is this very tab that shares it')
  await ann.locator('.getting').getByRole('button', { name: 'Close' }).click()
  await expect(ann.locator('.getting')).toHaveCount(0)

  await bob.evaluate((hash) => (location.hash = hash), `#get=${annId}`)
  await expect(said).toContainText('The link is broken')

  const eve = await context.newPage()
  await join(eve, relay.url)
  const away = await serve(eve, [{ name: 'c.txt', bytes: Buffer.from('c') }], 'away')
  await eve.close()
  await bob.evaluate((hash) => (location.hash = hash), new URL(away).hash)
  await expect(said).toContainText('The peer is away')
  await expect(said).toContainText('ask whoever sent the link')
})

share(
  'a listing is not believed, and a peer that is there is not called away',
  async ({ ann, annId, follow, relay }) => {
    await ann.evaluate(async () => {
      const entry = (name: unknown, size: unknown) => ({ name, size, type: '' })
      const listings: Record<string, unknown> = {
        odd: [
          entry('bill\u202efdp.exe', 3),
          entry('twice', 1),
          entry('twice', 2),
          entry('less', -1),
          entry('endless', 1e400),
          entry('', 1),
          entry('\u200b', 1),
          entry('n'.repeat(250_000), 1),
          null,
          7,
        ],
        many: Array.from({ length: 10_200 }, (_, n) => entry(`${n}`, n)),
        large: [entry('x'.repeat(5_000_000), 1)],
        broken: 'no listing',
      }
      const json = { headers: { 'content-type': 'application/json' } }
      for (const [name, listing] of Object.entries(listings)) {
        await window.tombolo!.serve(`/x/${name}/http`, () => new Response(JSON.stringify(listing), json))
      }
      await window.tombolo!.serve('/x/ill/http', () => new Response('', { status: 500 }))
      await window.tombolo!.serve('/x/half/http', () => new Response('[{"name":', json))
    })
    const at = (name: string) => `${relay.url}#get=${annId}/${name}`
    const bob = await follow(at('odd'))
    const go = (name: string) => bob.evaluate((hash) => (location.hash = hash), new URL(at(name)).hash)
    await expect(bob.locator('.shared-name')).toHaveText(['billfdp.exe', 'twice'])
    await expect(bob.locator('.getting .form-note')).toContainText('8 more entries are listed, and not shown')
    await go('many')
    await expect(bob.locator('.getting-all')).toContainText('10,000 files')
    await expect(bob.locator('.shared')).toHaveCount(100)
    await bob.getByRole('button', { name: 'Show more of the 9,900 others' }).click()
    await expect(bob.locator('.shared')).toHaveCount(600)
    await expect(bob.locator('.getting .form-note')).toContainText('200 more entries')
    for (const name of ['large', 'broken', 'half']) {
      await go(name)
      await expect(bob.locator('.getting')).toContainText(`shares ${name}`)
      await expect(bob.locator('.getting')).toContainText('it can be shown')
      await expect(bob.locator('.getting .trouble')).toHaveCount(0)
    }
    await go('ill')
    await expect(bob.locator('.getting .trouble')).toContainText('The peer would not hand it out')
    await expect(bob.locator('.getting')).not.toContainText('it can be shown')
    await ann.close()
  },
)

share('what has no end is not taken, and what ends early is begun anew', async ({ ann, annId, follow, relay }) => {
  await ann.evaluate(async () => {
    const list = () => Response.json([{ name: 'a', size: 4, type: '' }])
    await window.tombolo!.serve('/x/endless/http', (request) => {
      if (new URL(request.url).pathname === '/') return list()
      return new Response(
        new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array([1, 2, 3])) }), // of unknown length
      )
    })
    let asked = 0
    await window.tombolo!.serve('/x/shrunk/http', (request) => {
      if (new URL(request.url).pathname === '/') return list()
      if (request.headers.has('range')) return new Response('', { status: 416 })
      if (++asked > 1) return new Response('new')
      const body = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode('old')) })
      return new Response(body, { headers: { etag: '"1"' } })
    })
  })
  const bob = await follow(`${relay.url}#get=${annId}/endless`)
  await bob.getByRole('button', { name: 'Download' }).click()
  await expect(bob.locator('.shared .trouble')).toContainText('sends more than there should be')
  await bob.evaluate((hash) => (location.hash = hash), `#get=${annId}/shrunk`)
  await bob.getByRole('button', { name: 'Download' }).click()
  await expect(bob.locator('.shared')).toContainText('3 bytes of 4 bytes')
  await bob.locator('.shared').getByRole('button', { name: 'Stop' }).click()
  await expect(bob.locator('.shared')).toHaveAttribute('data-how', 'cut off')
  const coming = bob.waitForEvent('download')
  await bob.getByRole('button', { name: 'Go on' }).click()
  expect(await readFile(await (await coming).path(), 'utf8')).toBe('new')
  await expect(bob.locator('.shared')).toContainText('3 bytes, all here')
  await ann.close()
})

share('a double click downloads, and does not stop what it began', async ({ ann, follow }) => {
  const bytes = randomBytes(4 * MIB)
  const bob = await follow(await serve(ann, [{ name: 'big.bin', bytes }], 'big'))
  const coming = bob.waitForEvent('download')
  await bob.locator('.shared').getByRole('button', { name: 'Download' }).dblclick({ delay: 60 })
  expect(sha256(await readFile(await (await coming).path()))).toBe(sha256(bytes))
  await expect(ann.locator('.offer-count')).toHaveText('Handed out 1 time.')
})

share('a file that changed since it was chosen is a failure at both ends', async ({ ann, follow }) => {
  const dir = await mkdtemp(joinPath(tmpdir(), 'tombolo-share-'))
  try {
    const path = joinPath(dir, 'draft.txt')
    await writeFile(path, 'first')
    await ann.locator('#serve-files').setInputFiles(path)
    await expect(ann.locator('.offer')).toContainText('draft.txt')
    const link = (await ann.locator('.offer-url').getAttribute('href'))!
    await appendFile(path, ' and more')
    const bob = await follow(link)
    await bob.getByRole('button', { name: 'Download' }).click()
    await expect(bob.locator('.shared .trouble')).toContainText('what it shares may have changed there')
    await expect(ann.locator('.offer .trouble')).toContainText('draft.txt cannot be read any more')
    await expect(ann.locator('.offer .trouble')).toContainText('choose it again')
  } finally {
    await rm(dir, { recursive: true })
  }
})

share(
  'a page that was written in a tab is a site in another, among its services too',
  async ({ ann, annId, follow }) => {
    await openMore(ann)
    await ann.locator('#serve-page').fill('Low water at <noon>.\nMind the bar.')
    await ann.locator('#serve-name').fill('tides')
    await ann.locator('#serve-name').press('Enter')
    const link = (await ann.locator('.offer-url').getAttribute('href'))!
    const bob = await follow(link)
    await bob.getByRole('button', { name: 'Show here' }).click()
    await expect(bob.frameLocator('.site iframe').locator('pre')).toHaveText('Low water at <noon>.\nMind the bar.')
    const service = bob.locator('.service[data-protocol="/x/tides/http"]')
    await expect(service).toContainText('index.html, from a tab')
    await expect(service.locator('code')).toHaveAttribute('title', annId)
  },
)

for (const colorScheme of ['light', 'dark'] as const) {
  share(`the QR code is the link, in the ${colorScheme} scheme`, async ({ ann, context }) => {
    await ann.emulateMedia({ colorScheme })
    const link = await serve(ann, [{ name: 'a.txt', bytes: Buffer.from('a') }], 'qr')
    await expect(ann.locator('.qr')).toHaveAttribute('aria-label', /QR code of the link to qr/)
    const png = await ann.locator('.qr').screenshot()
    const { data, width, height } = await pixels(await context.newPage(), png)
    expect(jsQR(new Uint8ClampedArray(data), width, height, { inversionAttempts: 'dontInvert' })?.data).toBe(link)
    await ann.emulateMedia({ colorScheme: null })
  })
}

share('listeners and open streams are listed, and closed', async ({ ann, annId, context, relay }) => {
  await serve(ann, [{ name: 'a.txt', bytes: Buffer.from('a') }], 'listed')
  await ann.evaluate(() => void window.tombolo!.listen('/x/idle', () => new Promise(() => {})))
  await goTo(ann, 'Console')
  const rows = ann.locator('#listeners .wire')
  await expect(rows).toHaveCount(2)
  await expect(ann.locator('#listeners [data-protocol="/x/idle"]')).toContainText('made in the console')
  const bob = await context.newPage()
  await join(bob, relay.url)
  await bob.evaluate(async (id) => {
    const { readable } = await window.tombolo!.open(id, '/x/idle')
    const over = readable
      .getReader()
      .read()
      .then(
        () => 'ended',
        (error: Error & { reason?: string }) => error.reason,
      )
    Object.assign(window, { over })
  }, annId)
  const stream = ann.locator('#streams [data-protocol="/x/idle"]')
  await expect(stream).toContainText('from …')
  await stream.getByRole('button', { name: 'Close' }).click()
  await expect(stream).toHaveCount(0)
  expect(await bob.evaluate(() => (window as unknown as { over: Promise<string> }).over)).toBe('closed by hand')
  await ann.locator('#listeners [data-protocol="/x/listed/http"]').getByRole('button', { name: 'Close' }).click()
  await expect(rows).toHaveCount(1)
  await goTo(ann, 'Share')
  await expect(ann.locator('.offer')).toHaveCount(0)
  await ann.close()
})

share('at 360 px it fits, and the keyboard alone serves and fetches', async ({ ann, follow }) => {
  const size = ann.viewportSize()!
  const narrow = { width: 360, height: 740 }
  await ann.setViewportSize(narrow)
  await ann.locator('.serve-more').evaluate((more: HTMLDetailsElement) => (more.open = false))
  await tabTo(ann, '.serve-more summary')
  await ann.keyboard.press('Enter')
  await tabTo(ann, '#serve-name')
  await ann.keyboard.type('keys')
  await tabTo(ann, '#serve-page')
  await ann.keyboard.type('from the keyboard')
  await ann.keyboard.press('Tab')
  await ann.keyboard.press('Enter')
  await tabTo(ann, '.offer-url')
  const bob = await follow((await ann.locator('.offer-url').getAttribute('href'))!)
  await bob.setViewportSize(narrow)
  await expect(bob.locator('.shared')).toBeVisible()
  const coming = bob.waitForEvent('download')
  await tabTo(bob, '.shared button')
  await bob.keyboard.press('Enter')
  expect(await readFile(await (await coming).path(), 'utf8')).toContain('from the keyboard')
  for (const tab of [ann, bob]) {
    expect(await tab.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360)
    await tab.setViewportSize(size)
  }
})

share('a name that is taken is said so', async ({ ann }) => {
  await serve(ann, [{ name: 'a.txt', bytes: Buffer.from('a') }], 'twice')
  await ann.locator('#serve-name').fill('twice')
  await ann.locator('#serve-files').setInputFiles({ name: 'b.txt', mimeType: 'text/plain', buffer: Buffer.from('b') })
  await expect(ann.locator('.offers .trouble')).toContainText('It could not be shared')
  await expect(ann.locator('.offer')).toHaveCount(1)
  // Without a given name, the page makes one.
  await ann.locator('#serve-name').fill('')
  const chosen = { name: 'twice.txt', mimeType: 'text/plain', buffer: Buffer.from('c') }
  await ann.locator('#serve-files').setInputFiles(chosen)
  await expect(ann.locator('.offer[data-name=twice-2]')).toContainText('twice.txt')
})

async function ask(port: number, path: string, headers: IncomingHttpHeaders, method: string) {
  const asked = request({ port, host: '127.0.0.1', path, method, headers, agent: false })
  asked.end()
  const [response] = (await once(asked, 'response')) as [import('node:http').IncomingMessage]
  const parts: Buffer[] = []
  for await (const part of response) parts.push(part as Buffer)
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) }
}

/** Returns the pixels of a picture, as a page decodes it. */
function pixels(page: Page, png: Buffer) {
  return page.evaluate(async (base64) => {
    const image = new Image()
    image.src = `data:image/png;base64,${base64}`
    await image.decode()
    const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d')!
    canvas.drawImage(image, 0, 0)
    const { data, width, height } = canvas.getImageData(0, 0, image.width, image.height)
    return { data: [...data], width, height }
  }, png.toString('base64'))
}
