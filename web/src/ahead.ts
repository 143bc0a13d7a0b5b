/**
 * Begins the WebTransport sessions to relays while the program starts: QUIC and HTTP/3 take three round trips, for which no identity is
 * needed. The program finds such a session when it dials the same address, and proves the identities over it as over any other.
 */
import { type Asked, handOut, pagesOf } from './ask.js'
import type { NodeConfig } from './types.js'

/** Of each relay. The program tries all of its addresses. */
const MAX_SESSIONS = 2
/** As many as a node holds reservations on at once. */
const MAX_RELAYS = 2
/** A peer ends a session in which nothing is proved within 10 s. */
const LASTS_MS = 8_000
const PATH = '/.well-known/libp2p-webtransport?type=noise'
const ADDRESS =
  /^\/(ip4|ip6|dns|dns4|dns6)\/([^/]+)\/udp\/(\d+)\/quic-v1(?:\/sni\/([^/]+))?\/webtransport((?:\/certhash\/u[\w-]+)+)(?:\/p2p\/\w+)?$/

/** Those that the program has not taken, by what they are made from. */
const sessions = new Map<string, WebTransport>()

/** Begins the sessions to the relays of a node's options, and those whose answers come. Hands the answers on. */
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

/** What the program is given as the platform's `WebTransport`. */
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
      // the program will tell why
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

/** What the program makes of a multiaddr: see wasm/webtransport. Undefined if it is none of WebTransport. */
function parse(address: string): { url: string; options: WebTransportOptions } | undefined {
  const [, kind, host, port, name, hashes] = ADDRESS.exec(address) ?? []
  if (hashes === undefined || (name !== undefined && name !== host)) return undefined
  const serverCertificateHashes = []
  for (const hash of hashes.split('/certhash/u').slice(1)) {
    const bytes = Uint8Array.from(atob(hash.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0))
    if (bytes.length !== 34 || bytes[0] !== 0x12 || bytes[1] !== 32) return undefined // another than SHA-256
    serverCertificateHashes.push({ algorithm: 'sha-256', value: bytes.subarray(2) })
  }
  return { url: `https://${kind === 'ip6' ? `[${host}]` : host}:${port}${PATH}`, options: { serverCertificateHashes } }
}

function keyOf(url: string, { serverCertificateHashes = [] }: WebTransportOptions): string {
  return [url, ...serverCertificateHashes.map(({ value }) => String(value))].join(' ')
}

/** The addresses that a relay says it has; none if it says something else. */
function addressesIn(answer: Uint8Array): string[] {
  try {
    const { addrs } = JSON.parse(new TextDecoder().decode(answer)) as { addrs?: unknown }
    return Array.isArray(addrs) ? addrs.filter((addr) => typeof addr === 'string') : []
  } catch {
    return []
  }
}
