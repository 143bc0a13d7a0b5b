import { decodeSaid, type Said } from './said.js'
import type { Line, Room } from './talk.js'

/** How much of a message is shown, in characters of text or bytes of others. */
const MAX_TEXT = 4_000
const MAX_HEX = 256
/** With the version of what is kept. */
const KEY = 'tombolo.talk.2'
const MAX_KEPT = 100

/** The data of a message as it can be shown. */
export interface Content {
  /** Of a message of a page, what was said. */
  text: string
  said: Pick<Said, 'name' | 'at' | 'file'> | undefined
  /** Whether the text is the bytes in hexadecimal, since they are no text. */
  hex: boolean
  /** Of all of it; the text may be less. */
  bytes: number
  cut: boolean
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** What a page sent, or text as it is; anything else as bytes. */
export function readable(data: Uint8Array): Content {
  const bytes = data.length
  let text: string
  try {
    text = decoder.decode(data)
  } catch {
    return hex(data)
  }
  const said = decodeSaid(text)
  if (said !== undefined) text = said.text
  // Control characters other than those of lines and columns.
  if (/[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(text)) return hex(data)
  return { text: text.slice(0, MAX_TEXT), said, hex: false, bytes, cut: text.length > MAX_TEXT }
}

function hex(data: Uint8Array): Content {
  const text = Array.from(data.subarray(0, MAX_HEX), (byte) => byte.toString(16).padStart(2, '0')).join(' ')
  return { text, said: undefined, hex: true, bytes: data.length, cut: data.length > MAX_HEX }
}

interface Kept {
  id: string
  rooms: { type: string; lines: Line[]; draft: string }[]
}

/** Keeps what is shown for this tab's next load: the history that the node keeps tells only what it has not told before. */
export function keepLines(id: string, rooms: Room[], drafts: ReadonlyMap<string, string>): void {
  const kept: Kept = {
    id,
    rooms: rooms.map(({ type, lines }) => ({
      type,
      lines: lines.filter(lasting).slice(-MAX_KEPT).map(withoutThumb),
      draft: drafts.get(type) ?? '',
    })),
  }
  try {
    sessionStorage.setItem(KEY, JSON.stringify(kept))
  } catch {
    forget() // the browser gives no such room; what was shown before would mislead
  }
}

/** There is room for little: what is shared can be had again, its small picture is not needed. */
function withoutThumb(line: Line): Line {
  const file = line.content.said?.file
  if (file?.thumb === undefined) return line
  return {
    ...line,
    content: { ...line.content, said: { ...line.content.said!, file: { ...file, thumb: undefined } } },
  }
}

/** Who comes and goes is anew after a reload, and so is what was caught up with. */
function lasting({ kind }: Line): boolean {
  return kind === 'message' || kind === 'gap'
}

/** What this tab had before a reload: its types, and as the same peer also what it had heard. */
export function keptLines(id: string): Kept['rooms'] {
  try {
    const stored = sessionStorage.getItem(KEY)
    if (stored === null) return []
    const kept = JSON.parse(stored) as Kept
    return kept.id === id ? kept.rooms : kept.rooms.map(({ type, draft }) => ({ type, lines: [], draft }))
  } catch {
    return [] // this page may keep nothing, or what is there is not its own
  }
}

function forget(): void {
  try {
    sessionStorage.removeItem(KEY)
  } catch {
    // Where sites may keep nothing, even that is refused.
  }
}
