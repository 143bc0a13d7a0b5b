import { MAX_FILES, MAX_PATH } from './items.js'
import type { Listed } from './shelf.js'
import { plain } from '../ui/format.js'

/** Of what a peer says that it has, in characters. */
const MAX_LISTING = 4 << 20
const MAX_NAME = MAX_PATH

/** What a peer says that it has. */
export interface Listing {
  files: Listed[]
  /** How many entries are left out: more than there is room for, or of no use. */
  left: number
}

/** Reads a listing, which may be anything. Undefined: it is none. */
export async function readListing(response: Response): Promise<Listing | undefined> {
  const text = await readText(response)
  if (text === undefined) return undefined
  let raw: unknown
  try {
    raw = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!Array.isArray(raw)) return undefined
  const files = new Map<string, Listed>()
  for (const entry of raw as unknown[]) {
    if (files.size === MAX_FILES) break
    if (isFile(entry) && !files.has(entry.name)) files.set(entry.name, entry)
  }
  return { files: [...files.values()], left: raw.length - files.size }
}

/** The name for who reads it: no characters that show nothing, or turn round those that follow. */
export function shownName({ name }: Listed): string {
  return plain(name, MAX_NAME)
}

function isFile(entry: unknown): entry is Listed {
  const { name, size } = (entry ?? {}) as Partial<Listed>
  if (typeof name !== 'string' || name.length > MAX_NAME || plain(name, MAX_NAME).trim() === '') return false
  return Number.isSafeInteger(size) && size! >= 0
}

/** A body that should be small: it is the peer who says how long it is. Undefined: it is not. */
async function readText({ body }: Response): Promise<string | undefined> {
  const reader = body!.getReader()
  const decoder = new TextDecoder()
  for (let text = ''; ;) {
    const { done, value } = await reader.read()
    if (done) return text + decoder.decode()
    text += decoder.decode(value, { stream: true })
    if (text.length <= MAX_LISTING) continue
    await reader.cancel()
    return undefined
  }
}
