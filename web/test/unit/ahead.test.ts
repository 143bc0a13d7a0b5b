import assert from 'node:assert/strict'
import { beforeEach, mock, test } from 'node:test'
import { dialAhead, webTransport } from '../../src/ahead.js'

/** Stands in for the platform's WebTransport, which Node.js lacks. Records its arguments. */
class Platform {
  static readonly made: Platform[] = []
  readonly ready = Promise.resolve()
  end!: () => void
  readonly closed = new Promise<void>((resolve) => (this.end = resolve))
  shut = false
  constructor(
    readonly url: string,
    readonly options: WebTransportOptions,
  ) {
    Platform.made.push(this)
  }
  close() {
    this.shut = true
    this.end()
  }
}
Object.assign(globalThis, { WebTransport: Platform })
beforeEach(() => {
  Platform.made.length = 0
})

// SHA-256, as go-libp2p encodes it.
const digest = Uint8Array.from({ length: 32 }, (_, i) => 255 - i)
const certhash = `u${Buffer.from([0x12, 32, ...digest]).toString('base64url')}`
const address = (at: string, id = '12D3KooWA') => `/${at}/quic-v1/webtransport/certhash/${certhash}/p2p/${id}`

/** Creates a session the way the program does. */
function program(url: string, ...hashes: Uint8Array[]): Platform {
  const { WebTransport } = webTransport() as { WebTransport: typeof Platform }
  const serverCertificateHashes = hashes.map((value) => ({ algorithm: 'sha-256', value: value.slice() }))
  return new WebTransport(url, { serverCertificateHashes })
}
const url = (authority: string) => `https://${authority}/.well-known/libp2p-webtransport?type=noise`

test('the program finds the session that is on its way, once', () => {
  dialAhead({ relays: [address('ip4/192.0.2.1/udp/4001')] })
  const [session] = Platform.made
  assert.deepEqual(session!.options.serverCertificateHashes, [{ algorithm: 'sha-256', value: digest }])
  assert.notEqual(
    program(
      url('192.0.2.1:4001'),
      digest.map((x) => x ^ 1),
    ),
    session,
    'of another certificate',
  )
  assert.notEqual(program(url('192.0.2.1:4002'), digest), session)
  assert.equal(program(url('192.0.2.1:4001'), digest), session)
  assert.notEqual(program(url('192.0.2.1:4001'), digest), session)
})

test('addresses are read as the program reads them, and what is none of WebTransport is left to it', () => {
  const others = ['/ip4/192.0.2.1/tcp/1/ws/p2p/A', 'http://x', '/dns4/a/udp/1/quic-v1/sni/b/webtransport/certhash/uEiA']
  dialAhead({ relays: [...others, address('ip6/2001:db8::1/udp/1', 'A'), address('dns4/relay.example/udp/2', 'B')] })
  assert.deepEqual(
    Platform.made.map(({ url }) => url),
    [url('[2001:db8::1]:1'), url('relay.example:2')],
  )
})

test('two relays are dialled, at two addresses each, and none where WebTransport is not wanted', () => {
  const relays = ['A', 'B', 'C'].flatMap((id) =>
    [1, 2, 3].map((n) => address(`ip4/198.51.100.${n}/udp/${id.charCodeAt(0)}`, id)),
  )
  dialAhead({ relays, transports: ['websocket'] })
  assert.equal(Platform.made.length, 0)
  dialAhead({ relays })
  assert.equal(Platform.made.length, 4)
})

test('a session that has ended, or that the program has not taken for eight seconds, is not handed out', async () => {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    dialAhead({ relays: [address('ip4/192.0.2.2/udp/1'), address('ip4/192.0.2.2/udp/2')] })
    const [ended, late] = Platform.made
    ended!.end()
    await ended!.closed
    assert.notEqual(program(url('192.0.2.2:1'), digest), ended)
    mock.timers.tick(8000)
    assert.ok(late!.shut)
    assert.notEqual(program(url('192.0.2.2:2'), digest), late)
  } finally {
    mock.timers.reset()
  }
})

test('the relay of a page is dialled when the page has answered, and the answer handed on once', async () => {
  const bytes = new TextEncoder().encode(JSON.stringify({ addrs: [1, address('ip4/192.0.2.3/udp/1')] }))
  const page = 'https://relay.example/.well-known/tombolo'
  const asked = dialAhead({ relays: ['https://relay.example'] }, async (url) => (url === page ? bytes : undefined))!
  assert.equal(await asked(page), bytes)
  assert.equal(await asked(page), undefined)
  assert.deepEqual(
    Platform.made.map(({ url }) => url),
    [url('192.0.2.3:1')],
  )
  for (const answer of [new Uint8Array([1]), new TextEncoder().encode('{"addrs":1}')])
    await dialAhead({ relays: ['https://relay.example'] }, async () => answer)!(page)
  assert.equal(Platform.made.length, 1)
})
