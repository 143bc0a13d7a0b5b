import type { Target } from './path.js'

/** The reason why no peer answered a request, for a person to read. */
export interface Problem {
  status: 400 | 403 | 502 | 503
  /** The reason that the peer gave. */
  reason?: string
  text: string
  /** The underlying error. */
  detail?: string
  target?: Target
}

const TITLES = { 400: 'Bad Request', 403: 'Forbidden', 502: 'Bad Gateway', 503: 'Service Unavailable' }

/** The content security policy of the gateway's own pages: nothing can be injected into them. */
const POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; sandbox allow-same-origin"

const STYLE = `:root{color-scheme:light dark}
body{max-width:40rem;margin:0 auto;padding:1.5rem 1rem;font:1rem/1.5 system-ui,sans-serif}
h1{font:600 1.5rem/1.25 Georgia,serif}dt{opacity:.7}dd{margin:0 0 .5rem}code,pre{font-size:.875rem;overflow-wrap:anywhere;white-space:pre-wrap}`

/** Makes the response for a problem: an HTML page if the client accepts one, else plain text. */
export function problemResponse(problem: Problem, accept: string | null): Response {
  const { status, reason, text, detail, target } = problem
  const title = `${status} ${reason ?? TITLES[status]}`
  const html = /\btext\/html\b/.test(accept ?? '')
  const facts: [string, string][] = target
    ? [
        ['Peer', target.peer],
        ['Protocol', target.protocol],
      ]
    : []
  const body = html
    ? `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escape(title)}</title><style>${STYLE}</style><h1>${escape(title)}</h1><p>${escape(text)}</p>
<dl>${facts.map(([name, value]) => `<dt>${name}</dt><dd><code>${escape(value)}</code></dd>`).join('')}</dl>
${detail ? `<pre>${escape(detail)}</pre>` : ''}`
    : [title, '', text, ...facts.map(([name, value]) => `${name}: ${value}`), detail ?? ''].join('\n').trim() + '\n'
  return new Response(body, {
    status,
    statusText: TITLES[status],
    headers: {
      'content-type': html ? 'text/html; charset=utf-8' : 'text/plain; charset=utf-8',
      'content-security-policy': POLICY,
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store',
      'origin-agent-cluster': '?1',
    },
  })
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
}
