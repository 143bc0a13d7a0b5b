import { cleanName } from '../people/people.js'
import { plain } from '../ui/format.js'

/** A file shared in a message. The sender's tab serves it. */
export interface Attached {
  name: string
  size: number
  /** The name under which it is shared: see `linkTo`. */
  share: string
  /** A small preview of a picture, as a data URL. */
  thumb: string | undefined
}

/** The JSON that a page sends to a room. `text` is always set, so that other programs have something to show. */
export interface Said {
  text: string
  /** The sender's name, as they chose it. */
  name: string
  /** When it was sent, by the sender's clock, in ms since 1970. */
  at: number | undefined
  file: Attached | undefined
}

const MAX_THUMB = 16 << 10
const MAX_FILE_NAME = 255

export function encodeSaid({ text, name, at, file }: Said): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ text, ...(name !== '' && { name }), at, file }))
}

/** Decodes a message. Another page may send anything: returns undefined if it is not such a message. */
export function decodeSaid(text: string): Said | undefined {
  if (!text.startsWith('{')) return undefined
  let raw: unknown
  try {
    raw = JSON.parse(text)
  } catch {
    return undefined
  }
  const { text: said, name, at, file } = raw as Record<string, unknown>
  if (typeof said !== 'string') return undefined
  return {
    text: said,
    name: typeof name === 'string' ? cleanName(name) : '',
    // A time in the future is replaced by the present.
    at: Number.isSafeInteger(at) && (at as number) > 0 ? Math.min(at as number, Date.now()) : undefined,
    file: attached(file),
  }
}

function attached(raw: unknown): Attached | undefined {
  const { name, size, share, thumb } = (raw ?? {}) as Record<string, unknown>
  if (typeof name !== 'string' || typeof share !== 'string' || !/^[a-z0-9][a-z0-9._-]{0,47}$/.test(share))
    return undefined
  const shown = plain(name, MAX_FILE_NAME).trim()
  if (shown === '' || !Number.isSafeInteger(size) || (size as number) < 0) return undefined
  const isPicture =
    typeof thumb === 'string' &&
    thumb.length <= MAX_THUMB &&
    /^data:image\/(jpeg|webp|png);base64,[\w+/=]+$/.test(thumb)
  return { name: shown, size: size as number, share, thumb: isPicture ? (thumb as string) : undefined }
}

/** Makes a preview that is small enough for a message. Resolves to undefined if this browser cannot draw the file. */
export async function thumbOf(file: File): Promise<string | undefined> {
  if (!file.type.startsWith('image/') || file.size > 50e6) return undefined
  try {
    const picture = await createImageBitmap(file)
    const scale = Math.min(1, 160 / Math.max(picture.width, picture.height))
    const canvas = document.createElement('canvas')
    canvas.width = Math.max(1, Math.round(picture.width * scale))
    canvas.height = Math.max(1, Math.round(picture.height * scale))
    canvas.getContext('2d')!.drawImage(picture, 0, 0, canvas.width, canvas.height)
    picture.close()
    const url = canvas.toDataURL('image/jpeg', 0.7)
    return url.length <= MAX_THUMB ? url : undefined
  } catch {
    return undefined
  }
}
