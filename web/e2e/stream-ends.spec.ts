import type { PeerStream } from '@tombolo/node'
import { expect, has, join, SMOKE, test } from './support/crossing.js'

const parts = { webtransport: '/webtransport/', websocket: '/ws/', 'webrtc-direct': '/webrtc-direct/' } as const

// Over WebTransport a stream is the browser's own, over WebRTC it is a data channel, and over WebSocket it passes through Go. To the page they
// look the same.
for (const transport of ['webtransport', 'websocket', 'webrtc-direct'] as const) {
  test.describe(`a stream straight to a native peer, over ${transport}`, () => {
    test.skip(() => !has(transport), `the platform has no ${transport}`)

    let id: string
    test.beforeEach(async ({ tab, relay, testPeer }) => {
      id = await join(tab, `${relay.url}?transport=${transport}`)
      await tab.evaluate((addr) => window.tombolo!.connect(addr), testPeer.addr(parts[transport]))
    })

    test('closing the writable leaves the answer to be read', async ({ tab, testPeer }) => {
      const answer = await tab.evaluate(async (peer) => {
        const stream = await window.tombolo!.open(peer, '/test/sink/1', { allowCustomProtocol: true })
        await new Blob([new Uint8Array(1 << 20)]).stream().pipeTo(stream.writable)
        const receipt = new DataView(await new Response(stream.readable).arrayBuffer())
        return { size: receipt.byteLength, count: Number(receipt.getBigUint64(0)) }
      }, testPeer.id)
      expect(answer).toEqual({ size: 40, count: 1 << 20 })
    })

    test('reset reaches the peer, and fails a read that waits', SMOKE, async ({ tab, testPeer }) => {
      const failed = await tab.evaluate(async (peer) => {
        const stream = await window.tombolo!.open(peer, '/test/observe/1', { allowCustomProtocol: true })
        await stream.writable.getWriter().write(new Uint8Array(10))
        const read = stream.readable.getReader().read()
        stream.reset()
        stream.reset()
        return read.then(
          () => 'it was read',
          () => 'it failed',
        )
      }, testPeer.id)
      expect(failed).toBe('it failed')
      expect(await testPeer.observed()).toMatchObject({ how: 'reset' })
    })

    test('abort ends a stream that the peer does not read', async ({ tab, testPeer }) => {
      const result = await tab.evaluate(async (peer) => {
        const node = window.tombolo!
        const stream = await node.open(peer, '/test/stall/1', { allowCustomProtocol: true })
        const writer = stream.writable.getWriter()
        const failed: Promise<string>[] = []
        // Until nothing has been sent for a while: then it waits for the peer, and not for this thread.
        for (let waits = 0; waits < 5;) {
          const full = await Promise.race([
            writer.ready.then(() => false),
            new Promise((r) => setTimeout(r, 100, true)),
          ])
          waits = full ? waits + 1 : 0
          if (!full) failed.push(writer.write(new Uint8Array(1 << 20)).then(() => 'written', String))
        }
        const before = (await node.streams()).length
        await writer.abort(new Error('enough'))
        return { before, last: await failed.at(-1) }
      }, testPeer.id)
      expect(result).toEqual({ before: 1, last: expect.stringContaining('enough') as unknown })
      await expect.poll(() => tab.evaluate(() => window.tombolo!.streams())).toEqual([])
    })

    test('a reset by the peer fails the readable', async ({ tab, testPeer }) => {
      const failed = await tab.evaluate(async (peer) => {
        const stream = await window.tombolo!.open(peer, '/test/reset/1', { allowCustomProtocol: true })
        await stream.writable.getWriter().write(new Uint8Array(1))
        return new Response(stream.readable).text().then(
          () => 'it ended',
          () => 'it failed',
        )
      }, testPeer.id)
      expect(failed).toBe('it failed')
    })

    test('cancelling the readable leaves the writable', async ({ tab, testPeer }) => {
      await tab.evaluate(async (peer) => {
        const stream = await window.tombolo!.open(peer, '/test/observe/1', { allowCustomProtocol: true })
        await stream.readable.cancel()
        const writer = stream.writable.getWriter()
        await writer.write(new Uint8Array(13))
        await writer.close()
      }, testPeer.id)
      expect(await testPeer.observed()).toMatchObject({ how: 'eof', bytes: 13 })
    })

    test('closing after the peer has ended is no error', async ({ tab, testPeer }) => {
      const read = await tab.evaluate(async (peer) => {
        const stream = await window.tombolo!.open(peer, '/test/source/1', { allowCustomProtocol: true })
        const writer = stream.writable.getWriter()
        await writer.write(new Uint8Array([0, 0, 0, 0, 0, 1, 0, 0])) // 64 KiB
        const { byteLength } = await new Response(stream.readable).arrayBuffer()
        await writer.close()
        return byteLength
      }, testPeer.id)
      expect(read).toBe(65536)
    })

    test('the tab answers a stream that the peer opens', SMOKE, async ({ tab, testPeer }) => {
      await tab.evaluate(() => window.tombolo!.listen('/x/back', (s: PeerStream) => s.readable.pipeTo(s.writable)))
      const answer = await testPeer.echo(`/p2p/${id}`, 4 << 20, { protocol: '/x/back' })
      expect(answer).toMatchObject({ ok: true, relayed: false, bytes: 4 << 20 })
    })

    test('a protocol that the peer does not speak is an error of open', async ({ tab, testPeer }) => {
      const error = await tab.evaluate(
        (peer) => window.tombolo!.open(peer, '/x/nobody').then(String, String),
        testPeer.id,
      )
      expect(error).toContain('/x/nobody')
    })

    test('the end of the connection fails the stream', async ({ tab, testPeer }) => {
      const waiting = tab.evaluate(async (peer) => {
        const stream = await window.tombolo!.open(peer, '/test/wait/1', { allowCustomProtocol: true })
        await stream.writable.getWriter().write(new Uint8Array(1))
        Object.assign(window, { waiting: true })
        return new Response(stream.readable).text().then(
          () => 'it ended',
          () => 'it failed',
        )
      }, testPeer.id)
      await tab.waitForFunction(() => 'waiting' in window)
      await testPeer.disconnect(`/p2p/${id}`)
      expect(await waiting).toBe('it failed')
    })

    test('a node that is closed right behind a reset leaves the page alive', async ({ tab, server, testPeer }) => {
      const closed = await tab.evaluate(
        async ([peer, empty]) => {
          for (const end of ['reset', 'abort'] as const) {
            const stream = await window.tombolo!.open(peer, '/test/wait/1', { allowCustomProtocol: true })
            const writer = stream.writable.getWriter()
            writer.write(new Uint8Array(1)).catch(() => {})
            if (end === 'reset') stream.reset()
            else writer.abort().catch(() => {})
          }
          await window.tombolo!.close()
          return fetch(empty).then((response) => response.text())
        },
        [testPeer.id, server.url] as const,
      )
      expect(closed).toContain('empty')
    })
  })
}
