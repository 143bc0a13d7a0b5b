/**
 * Requests the addresses of relays from their pages while the node's program is on its way. If there is no answer here, for whatever
 * reason, the program asks again itself, and then also reports why it failed.
 */

/** Returns the answer of a page that was asked. Each answer is handed out once. */
export type Asked = (url: string) => Promise<Uint8Array | undefined>

/** The number of relays on which a node holds reservations: `DefaultMax` of core/reservation. The order is the same as there, too. */
const MAX_ASKED = 2
/** The limits are those of core/reservation. */
const ANSWER_MS = 10_000
const MAX_ANSWER = 64 << 10

/** Begins to ask the relays that a node's options give as URLs. Returns undefined if there are none. */
export function askAhead(relays: unknown): Asked | undefined {
  const pages = pagesOf(relays)
  return pages.length === 0 ? undefined : handOut(pages, answer)
}

/** Returns the addresses of the pages to ask for the relays of a node's options. */
export function pagesOf(relays: unknown): string[] {
  if (!Array.isArray(relays)) return []
  return [...new Set(relays.flatMap(pageOf))].sort().slice(0, MAX_ASKED)
}

/** Asks pages, and hands out the answer of each once. */
export function handOut(pages: string[], ask: Asked): Asked {
  const answers = new Map(pages.map((page) => [page, ask(page).catch(() => undefined)]))
  return async (url) => {
    const { href } = new URL(url)
    const asked = answers.get(href)
    answers.delete(href)
    return asked
  }
}

function pageOf(relay: unknown): string[] {
  if (typeof relay !== 'string' || !/^https?:\/\//i.test(relay)) return []
  try {
    return [new URL('/.well-known/tombolo', relay).href]
  } catch {
    return [] // the program refuses it
  }
}

/** Asks a page in the same way as jsio.Fetch of the program. */
async function answer(url: string): Promise<Uint8Array | undefined> {
  const signal = AbortSignal.timeout(ANSWER_MS)
  const response = await fetch(url, { cache: 'no-store', credentials: 'omit', signal })
  const reader = response.body!.getReader()
  const parts: Uint8Array[] = []
  let size = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    parts.push(value)
    size += value.byteLength
    if (size > MAX_ANSWER) return void reader.cancel()
  }
  if (response.status !== 200) return undefined
  const bytes = new Uint8Array(size)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.byteLength
  }
  return bytes
}
