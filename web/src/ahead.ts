/**
 * Opens the WebTransport sessions to relays while the program starts: QUIC and HTTP/3 take three round trips that need no identity. The
 * program gets such a session when it dials the same address, and authenticates over it as over any other.
 */
import { type Asked, handOut, pagesOf } from './ask.js'
import type { NodeConfig } from './types.js'

/** The maximum number of sessions to one relay. The program itself tries all addresses of the relay. */
const MAX_SESSIONS = 2
/** The number of relays on which a node holds reservations. */
const MAX_RELAYS = 2
/** How long a session is kept for the program. A peer ends a session that is not authenticated within 10 s. */
const LASTS_MS = 8_000
const PATH = '/.well-known/libp2p-webtransport?type=noise'
const ADDRESS =
  /^\/(ip4|ip6|dns|dns4|dns6)\/([^/]+)\/udp\/(\d+)\/quic-v1(?:\/sni\/([^/]+))?\/webtransport((?:\/certhash\/u[\w-]+)+)(?:\/p2p\/\w+)?$/

/** The sessions that the program has not taken yet, by address and options. */
const sessions = new Map<string, WebTransport>()

/** Opens the sessions to the relays of a node's options, and to relays whose answers come later. Hands on the answers. */
export function dialAhead(config: NodeConfig, asked?: Asked): Asked | undefined {
  const { relays, transports } = config as { relays?: unknown; transports?: unknown }
  if (globalThis.WebTransport === undefined || !Array.isArray(relays)) return asked
  if (Array.isArray(transports) && transports.length > 0 && !transports.includes('webtransport')) return asked
  begin(relays.filter((relay) => typeof relay === 'string'))
  if (asked === undefined) return undefined
  return handOut(pagesOf(relays), async (page) => {
    const answer = await asked(page)
    if (answer !== undefined) begin(addressesIn(answer))
    return answer
  })
}

/** Returns what the program gets as the platform's `WebTransport`. */
export function webTransport(): { WebTransport?: unknown } {
  return globalThis.WebTransport === undefined ? {} : { WebTransport: Session }
}

class Session {
  constructor(url: string, options: WebTransportOptions) {
    const key = keyOf(url, options)
    const session = sessions.get(key)
    sessions.delete(key)
    return session ?? new WebTransport(url, options)
  }
}

function begin(addresses: string[]): void {
  const perRelay = new Map<string | undefined, number>()
  for (const address of addresses) {
    const made = parse(address)
    const relay = address.split('/').at(-1)
    const count = perRelay.get(relay) ?? 0
    if (made === undefined || count === MAX_SESSIONS || (count === 0 && perRelay.size === MAX_RELAYS)) continue
    const key = keyOf(made.url, made.options)
    if (sessions.has(key)) continue
    perRelay.set(relay, count + 1)
    try {
      keep(key, new WebTransport(made.url, made.options))
    } catch {
      // the program will report why
    }
  }
}

function keep(key: string, session: WebTransport): void {
  sessions.set(key, session)
  const forget = () => sessions.get(key) === session && sessions.delete(key)
  session.ready.catch(forget)
  session.closed.then(forget, forget)
  setTimeout(() => forget() && session.close(), LASTS_MS)
}

/** Parses a multiaddr as the program does: see wasm/webtransport. Returns undefined if it is not a WebTransport address. */
function parse(address: string): { url: string; options: WebTransportOptions } | undefined {
  const [, kind, host, port, name, hashes] = ADDRESS.exec(address) ?? []
  if (hashes === undefined || (name !== undefined && name !== host)) return undefined
  const serverCertificateHashes = []
  for (const hash of hashes.split('/certhash/u').slice(1)) {
    const bytes = Uint8Array.from(atob(hash.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0))
    if (bytes.length !== 34 || bytes[0] !== 0x12 || bytes[1] !== 32) return undefined // not SHA-256
    serverCertificateHashes.push({ algorithm: 'sha-256', value: bytes.subarray(2) })
  }
  return { url: `https://${kind === 'ip6' ? `[${host}]` : host}:${port}${PATH}`, options: { serverCertificateHashes } }
}

function keyOf(url: string, { serverCertificateHashes = [] }: WebTransportOptions): string {
  return [url, ...serverCertificateHashes.map(({ value }) => String(value))].join(' ')
}

/** Returns the addresses in a relay's answer; none if it cannot be parsed. */
function addressesIn(answer: Uint8Array): string[] {
  try {
    const { addrs } = JSON.parse(new TextDecoder().decode(answer)) as { addrs?: unknown }
    return Array.isArray(addrs) ? addrs.filter((addr) => typeof addr === 'string') : []
  } catch {
    return []
  }
}
