/** Returns the end of a peer ID; most IDs begin alike. */
export function shortId(id: string): string {
  return id.length > 12 ? `…${id.slice(-8)}` : id
}

export function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1)
}

/** Formats a number of bytes: `3 bytes`, `12.3 kB`, `20.0 MB`. */
export function size(bytes: number): string {
  if (bytes < 1_000) return count(bytes, 'byte')
  return bytes < 1e6
    ? `${(bytes / 1e3).toFixed(1)} kB`
    : bytes < 1e9
      ? `${megabytes(bytes)} MB`
      : `${(bytes / 1e9).toFixed(2)} GB`
}

export function milliseconds(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
}

export function perSecond(bytes: number): string {
  if (bytes < 1e3) return `${Math.round(bytes)} B/s`
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB/s` : `${megabytes(bytes)} MB/s`
}

export function clock(at: number): string {
  return new Date(at).toLocaleTimeString([], {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  })
}

/** Formats a time of day, with the date if it is not today. */
export function when(at: number): string {
  const day = new Date(at)
  if (day.toDateString() === new Date().toDateString()) return clock(at)
  return `${day.toLocaleDateString([], { day: 'numeric', month: 'short', year: 'numeric' })}, ${clock(at)}`
}

const TRANSPORTS: Record<string, string> = {
  webtransport: 'WebTransport',
  websocket: 'WebSocket',
  webrtc: 'WebRTC',
  'webrtc-direct': 'WebRTC direct',
  circuit: 'circuit',
  quic: 'QUIC',
  tcp: 'TCP',
  other: 'other transport',
}

/** Returns the name of a transport, if it is a known one. The text is a peer's. */
export function knownTransport(transport: string): string {
  return Object.hasOwn(TRANSPORTS, transport) ? transport : 'other'
}

export function transportName(transport: string): string {
  return TRANSPORTS[transport] ?? transport
}

/** Describes the path of a relayed connection; `own` is this tab's relay. */
export function throughRelay(relay: string | undefined, own: string | undefined): string {
  if (relay === undefined) return 'through a relay'
  return relay === own ? 'through this tab’s relay' : `through relay ${shortId(relay)}`
}

const BRIEF: Record<string, string> = {
  webtransport: 'WT',
  websocket: 'WS',
  webrtc: 'RTC',
  'webrtc-direct': 'RTCd',
  quic: 'QUIC',
  tcp: 'TCP',
}

/** A short form, for narrow places. */
export function transportBrief(transport: string): string {
  return BRIEF[transport] ?? transport.slice(0, 5)
}

/** Makes a peer's text safe to show: without characters that are invisible or change the direction of text, and cut to `most`. */
export function plain(text: string, most: number): string {
  return text
    .slice(0, 2 * most)
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '')
    .slice(0, most)
}

export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString()} ${n === 1 ? one : many}`
}
