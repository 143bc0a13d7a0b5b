import { decodeSaid, type Said } from './said.js'
import type { Line, Room } from './talk.js'

/** How much of a message is shown, in characters of text or in bytes of anything else. */
const MAX_TEXT = 4_000
const MAX_HEX = 256
/** Ends in the version of the stored format. */
const KEY = 'tombolo.talk.2'
const MAX_KEPT = 100

/** The data of a message, in a form that can be shown. */
export interface Content {
  /** The text, if a page sent the message. */
  text: string
  said: Pick<Said, 'name' | 'at' | 'file'> | undefined
  /** Whether `text` is a hexadecimal dump, because the bytes are not text. */
  hex: boolean
  /** The size of the whole message; `text` may be cut. */
  bytes: number
  cut: boolean
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Decodes what a page sent, or plain text; shows anything else as bytes. */
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
  // Control characters other than line breaks and tabs.
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

/** Stores the lines for this tab's next load, because the node's history does not replay what it has already delivered. */
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
    forget() // the browser has no room for it, and the older lines would mislead
  }
}

/** Storage is small: a shared file can be fetched again, and so its preview is left out. */
function withoutThumb(line: Line): Line {
  const file = line.content.said?.file
  if (file?.thumb === undefined) return line
  return {
    ...line,
    content: { ...line.content, said: { ...line.content.said!, file: { ...file, thumb: undefined } } },
  }
}

/** Whether a line is stored. After a reload, presence and catching up start afresh. */
function lasting({ kind }: Line): boolean {
  return kind === 'message' || kind === 'gap'
}

/** Returns this tab's rooms and drafts from before a reload, and the lines if the tab is still the same peer. */
export function keptLines(id: string): Kept['rooms'] {
  try {
    const stored = sessionStorage.getItem(KEY)
    if (stored === null) return []
    const kept = JSON.parse(stored) as Kept
    return kept.id === id ? kept.rooms : kept.rooms.map(({ type, draft }) => ({ type, lines: [], draft }))
  } catch {
    return [] // storage is not allowed, or its contents are not this page's
  }
}

function forget(): void {
  try {
    sessionStorage.removeItem(KEY)
  } catch {
    // If storage is not allowed, even removing is refused.
  }
}
