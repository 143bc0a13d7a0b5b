/** Rewrites addresses in headers for the other end, as the native gateway does. */
import { targetOf } from '../http/wire.js'
import { locate, type Target } from './path.js'

/** Headers of a response whose value is a single reference. */
const REFERENCES = ['location', 'content-location', 'sourcemap', 'x-sourcemap']

/** Rewrites references in a response so that paths of the service work in the browser. */
export function leadOut(headers: Headers, target: Target, here: URL): void {
  const change = (name: string, f: (value: string) => string) => {
    const value = headers.get(name)
    if (value) headers.set(name, f(value))
  }
  const to = (ref: string) => locate(ref, target, here)
  for (const name of REFERENCES) change(name, to)
  // RFC 8288: references are in angle brackets, unless those are in a string. What does not end is taken as a whole, for the sake of time.
  change('link', (link) =>
    link.replace(/"(?:[^"\\]|\\.)*"?|<([^>]*)>|<.*/g, (all, ref?: string) =>
      ref === undefined ? all : `<${to(ref.trim())}>`,
    ),
  )
  // As in HTML: seconds, and a reference that may be in quotes.
  change('refresh', (value) =>
    value.replace(
      /^(\s*[\d.]*[\s;,]+(?:url\s*=\s*)?)(?:(["'])(.*?)(\2.*|$)|(.+)$)/i,
      (_, before: string, quote = '', quoted?: string, after = '', bare = '') =>
        before + quote + to(quoted ?? bare) + after,
    ),
  )
}

/** Rewrites addresses in a request to those of the service, which may compare them with its host. */
export function leadIn(headers: Headers, { peer, prefix }: Target, here: URL): void {
  const own = `${here.protocol}//${peer}`
  if (headers.has('origin')) headers.set('origin', own)
  for (const name of ['referer', 'destination']) {
    const value = headers.get(name)
    if (value === null || !URL.canParse(value)) continue
    const url = new URL(value)
    const { origin, pathname } = url
    if (origin !== here.origin) continue
    if (pathname === prefix || pathname.startsWith(prefix + '/')) {
      headers.set(name, own + (pathname === prefix ? '/' : '') + targetOf(url).slice(prefix.length))
    } else if (name === 'referer') headers.set(name, own + '/') // does not reveal the path of another service
  }
}
