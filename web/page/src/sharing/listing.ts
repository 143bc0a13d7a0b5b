import { MAX_FILES, MAX_PATH } from './items.js'
import type { Listed } from './shelf.js'
import { plain } from '../ui/format.js'

/** The longest listing of a peer, in characters. */
const MAX_LISTING = 4 << 20
const MAX_NAME = MAX_PATH

/** The files that a peer says it has. */
export interface Listing {
  files: Listed[]
  /** How many entries are left out, because there are too many or they are invalid. */
  left: number
}

/** Reads a listing. A peer may send anything: resolves to undefined if it is not a listing. */
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

/** Returns a name that is safe to show: without characters that are invisible or reverse the text after them. */
export function shownName({ name }: Listed): string {
  return plain(name, MAX_NAME)
}

function isFile(entry: unknown): entry is Listed {
  const { name, size } = (entry ?? {}) as Partial<Listed>
  if (typeof name !== 'string' || name.length > MAX_NAME || plain(name, MAX_NAME).trim() === '') return false
  return Number.isSafeInteger(size) && size! >= 0
}

/** Reads a body that should be small, since its length is up to the peer. Resolves to undefined if it is too long. */
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
