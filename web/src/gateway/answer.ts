/** Turns a request of the service worker into one to a peer, and the peer's response into one that is safe for a browser. */
import { TomboloError } from '../errors.js'
import { targetOf } from '../http/wire.js'
import type { StreamReason } from '../types.js'
import { textOf } from '../values.js'
import type { Ask } from './exchange.js'
import { parsePath, type Target } from './path.js'
import { problemResponse, type Problem } from './problem.js'
import { leadIn, leadOut } from './references.js'

export type Fetcher = (peer: string, protocol: string, path: string, init: RequestInit) => Promise<Response>

/** What a site of a peer may do: see `GatewayOptions`. */
export type Rights = 'no scripts' | 'own origin' | 'trusted'

const WITH_SCRIPTS =
  'allow-same-origin allow-scripts allow-forms allow-popups allow-popups-to-escape-sandbox allow-modals allow-downloads'

/** What frames and the pages in them may do. They may never navigate the page around them. */
export const SANDBOX: Record<Rights, string> = {
  'no scripts': 'allow-same-origin allow-forms allow-popups allow-popups-to-escape-sandbox allow-downloads',
  'own origin': WITH_SCRIPTS,
  trusted: WITH_SCRIPTS,
}

const VIA = '1.1 tombolo'

/** Response headers that would affect the whole origin, or the connection, which is not the browser's own. */
const WITHHELD = [
  'set-cookie',
  'service-worker-allowed',
  'clear-site-data',
  'strict-transport-security',
  'reporting-endpoints',
  'report-to',
  'nel',
  'alt-svc',
  'connection',
  'keep-alive',
  'transfer-encoding',
]

/** The context of a request: where the sites are, and what they may do. */
export interface Site {
  /** The folder of the sites, which ends in `/p2p/`. */
  folder: string
  rights: Rights
  /** The path, below the folder, of the only service that this origin may request. */
  only?: string | undefined
}

/** Answers a request. Rejects only if it was aborted or if the node has crashed. */
export async function answer(
  fetcher: Fetcher,
  ask: Ask,
  body: ReadableStream<Uint8Array> | null,
  { folder, rights, only }: Site,
  signal: AbortSignal,
): Promise<Response> {
  const here = new URL(ask.url)
  const query = targetOf(here).slice(here.pathname.length)
  const headers = new Headers(ask.headers)
  const accept = headers.get('accept')
  let target: Target
  try {
    target = parsePath(here.pathname, folder)
  } catch (error) {
    return problemResponse({ status: 400, text: `The address leads nowhere: ${words(error)}.` }, accept)
  }
  if (only !== undefined && target.prefix !== folder + only) {
    const text = 'This origin is for the site of one service. Others are under names of their own.'
    return problemResponse({ status: 403, text, target }, accept)
  }
  if (target.path === '') {
    return new Response(null, { status: 307, headers: { location: here.origin + target.prefix + '/' + query } })
  }
  headers.set('x-forwarded-host', here.host)
  headers.set('x-forwarded-proto', here.protocol.slice(0, -1))
  headers.set('x-forwarded-prefix', target.prefix)
  headers.append('via', VIA)
  leadIn(headers, target, here)
  try {
    const init = { method: ask.method, headers, body, redirect: 'manual', signal } as const
    const response = await fetcher(target.peer, target.protocol, target.path + query, init)
    return passedOn(response, target, here, rights)
  } catch (error) {
    if (signal.aborted || (error instanceof TomboloError && error.code === 'crashed')) throw error
    return problemResponse(explain(target, error), accept)
  }
}

/** Returns the response for the browser: references are rewritten to point to the service, and withheld headers are removed. */
function passedOn(response: Response, target: Target, here: URL, rights: Rights): Response {
  const headers = new Headers(response.headers)
  leadOut(headers, target, here)
  for (const name of WITHHELD) headers.delete(name)
  headers.append('via', VIA)
  headers.set('x-content-type-options', 'nosniff')
  // The service worker accepts forms only from pages whose referrer shows that they belong to the site.
  if (headers.get('referrer-policy') === 'no-referrer') headers.set('referrer-policy', 'same-origin')
  headers.set('origin-agent-cluster', '?1') // so that an endless loop in a site does not stop the page
  if (rights === 'own origin' && !headers.has('cross-origin-opener-policy')) {
    headers.set('cross-origin-opener-policy', 'same-origin-allow-popups') // so that logging in elsewhere works
  }
  const policy = policyOf(target, here, rights)
  if (policy !== undefined) headers.append('content-security-policy', policy)
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers })
}

function policyOf(target: Target, here: URL, rights: Rights): string | undefined {
  if (rights === 'trusted') return undefined
  const sandbox = `sandbox ${SANDBOX[rights]}`
  // A service that does not know about this frame may forbid all frames (X-Frame-Options); frame-ancestors overrides that.
  if (rights === 'own origin') return `${sandbox}; frame-ancestors 'self' ${location.origin}`
  // In the page's origin, forms must not send requests to the page's server on the user's behalf.
  return `${sandbox}; script-src 'none'; object-src 'none'; base-uri 'none'; form-action ${here.origin}${target.prefix}/; frame-ancestors 'self'`
}

/** Explains each reason to a person who requested a page, in the words of the native gateway. */
const SAID: Record<string, string> = {
  'not allowed': 'The peer does not let this node use the service. Its owner can allow it.',
  'no such protocol': 'The peer has no service of that name, or has closed it.',
  'target refused': 'The peer has the service, but what is behind it refused the connection: it may not be running.',
  'target timed out': 'The peer has the service, but what is behind it did not take the connection in time.',
  'too many streams': 'The service has as many streams as it takes. Try again when others have ended.',
  loop: 'What is behind the service leads back to the service itself. Its owner can mend that.',
  'target failed': 'What is behind the service broke off before it answered.',
  'peer away': 'The peer cannot be reached: it may be offline, or no relay between here and there is up.',
  'peer lost': 'The connection to the peer was lost before it answered.',
  'reset by the peer': 'The peer reset the stream before it answered, and did not say why.',
  'timed out': 'The service was silent for longer than it may be.',
  'closed by hand': 'The stream was closed by hand before the service answered.',
  shutdown: 'The peer is shutting down, or this node is.',
} satisfies Partial<Record<StreamReason, string>>

function explain(target: Target, error: unknown): Problem {
  const reason = error instanceof TomboloError ? error.reason : undefined
  const detail = words(error).slice(0, 2_000)
  if (error instanceof TomboloError && error.code === 'restart') {
    return { status: 503, text: 'The node is being started again. Try again in a moment.', detail, target }
  }
  if (reason === undefined) {
    return { status: 502, reason: 'no answer', text: 'The peer could not be asked.', detail, target }
  }
  const text = SAID[reason] ?? `The peer refused the stream and gave as its reason ${JSON.stringify(reason)}.`
  return { status: 502, reason, text, detail, target }
}

function words(error: unknown): string {
  return error instanceof Error ? error.message : textOf(error)
}
