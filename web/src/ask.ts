/**
 * Asks the pages of relays where these can be dialled, while the program of the node is on its way. It asks again itself where this has no
 * answer, whatever the reason; then it also says why.
 */

/** Hands out the answer of a page that was asked, once. */
export type Asked = (url: string) => Promise<Uint8Array | undefined>

/** As many as a node holds reservations on at once: `DefaultMax` of core/reservation, whose order this is, too. */
const MAX_ASKED = 2
/** The bounds of core/reservation. */
const ANSWER_MS = 10_000
const MAX_ANSWER = 64 << 10

/** Begins to ask the relays of a node's options that are URLs. Undefined if there are none. */
export function askAhead(relays: unknown): Asked | undefined {
  const pages = pagesOf(relays)
  return pages.length === 0 ? undefined : handOut(pages, answer)
}

/** The addresses at which the relays of a node's options are asked, those that are. */
export function pagesOf(relays: unknown): string[] {
  if (!Array.isArray(relays)) return []
  return [...new Set(relays.flatMap(pageOf))].sort().slice(0, MAX_ASKED)
}

/** Asks for the answers of pages, and hands each out once. */
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

/** As jsio.Fetch of the program asks. */
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
