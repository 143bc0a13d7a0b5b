import type { Item } from './items.js'

/** The handler for `node.serve` that serves files over HTTP. */

/** In bytes; a browser reads up to 2 MiB of a file at once. */
const MAX_PIECE = 256 << 10

export interface Shelved {
  /** The path without its leading slash. */
  name: string
  file: File
  etag: string
}

/** A file as it appears in the JSON listing. */
export interface Listed {
  name: string
  size: number
  type: string
}

/** Watches a file being sent: the bytes of each step, then how it ended. */
export interface Watch {
  more(bytes: number): void
  end(how: 'whole' | 'cut off', error?: unknown): void
}

/** Makes the names of files unique, so that each has a path. The salt belongs to this offer alone, and goes into entity tags. */
export function shelve(items: Item[], salt: string): Shelved[] {
  const taken = new Set<string>()
  return items.map(({ path, file }, i) => {
    let name = path
    for (let n = 2; taken.has(name); n++) name = path.replace(/(\.[^./]*)?$/, ` (${n})$1`)
    taken.add(name)
    return { name, file, etag: `"${salt}-${i}"` }
  })
}

/** Answers a request. `/` is the index.html among the files, or else a listing; a client that prefers JSON always gets the listing. */
export function answer(
  request: Request,
  shelf: ReadonlyMap<string, Shelved>,
  watch: (shelved: Shelved) => Watch,
): Response {
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return new Response('only GET and HEAD\n', { status: 405, headers: { allow: 'GET, HEAD' } })
  }
  let path: string
  try {
    path = decodeURIComponent(new URL(request.url).pathname).slice(1)
  } catch {
    return new Response('the path is badly escaped\n', { status: 400 })
  }
  if (path === '') {
    if (request.headers.get('accept')?.startsWith('application/json')) return list([...shelf.values()])
    path = 'index.html'
    if (!shelf.has(path)) return page([...shelf.values()])
  }
  const shelved = shelf.get(path)
  if (shelved === undefined) return new Response(`there is no ${path} here: see /\n`, { status: 404 })
  return hand(request, shelved, watch)
}

function list(shelf: Shelved[]): Response {
  const listed: Listed[] = shelf.map(({ name, file }) => ({ name, size: file.size, type: file.type }))
  return Response.json(listed, { headers: { vary: 'accept', 'cache-control': 'no-cache' } })
}

function page(shelf: Shelved[]): Response {
  const items = shelf.map(
    ({ name, file }) =>
      `<li><a href="./${name.split('/').map(encodeURIComponent).join('/')}">${escape(name)}</a> ${file.size.toLocaleString('en')} bytes</li>`,
  )
  return new Response(htmlOf('Files from a tab', `<h1>Files from a tab</h1><ul>${items.join('')}</ul>`), {
    headers: { 'content-type': 'text/html; charset=utf-8', vary: 'accept', 'cache-control': 'no-cache' },
  })
}

/** Makes a page from what somebody wrote: HTML stays as it is, anything else is text. */
export function written(title: string, text: string): File {
  const html = /^\s*</.test(text) ? text : htmlOf(title, `<h1>${escape(title)}</h1><pre>${escape(text)}</pre>`)
  return new File([html], 'index.html', { type: 'text/html' })
}

function htmlOf(title: string, body: string): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escape(title)}</title>
<style>:root{color-scheme:light dark}body{max-width:40rem;margin:0 auto;padding:1.5rem 1rem;font:1rem/1.5 system-ui,sans-serif}pre{font:inherit;white-space:pre-wrap;overflow-wrap:anywhere}</style>
${body}</html>`
}

function hand(request: Request, { name, file, etag }: Shelved, watch: (shelved: Shelved) => Watch): Response {
  const headers = new Headers({
    'content-type': contentType(file),
    'content-disposition': disposition(name, file),
    'accept-ranges': 'bytes',
    etag,
    'last-modified': new Date(file.lastModified).toUTCString(),
    'cache-control': 'no-cache',
  })
  if (request.headers.get('if-none-match')?.includes(etag)) return new Response(null, { status: 304, headers })
  const range = rangeOf(request.headers, etag, file.size)
  if (range === 'none') {
    headers.set('content-range', `bytes */${file.size}`)
    return new Response(null, { status: 416, headers })
  }
  const [from, to] = range ?? [0, file.size]
  headers.set('content-length', String(to - from))
  if (range !== undefined) headers.set('content-range', `bytes ${from}-${to - 1}/${file.size}`)
  const status = range === undefined ? 200 : 206
  if (request.method === 'HEAD') return new Response(null, { status, headers })
  const body = watched(file.slice(from, to), watch({ name, file, etag }), request.signal)
  return new Response(body, { status, headers })
}

function contentType({ type }: File): string {
  if (type === '') return 'application/octet-stream'
  return type.startsWith('text/') && !type.includes('charset') ? `${type}; charset=utf-8` : type
}

/** Browsers show the types that they can; other files are saved under their names (RFC 6266). */
function disposition(name: string, { type }: File): string {
  const how = /^(text|image|audio|video)\/|^application\/(pdf|json)$/.test(type) ? 'inline' : 'attachment'
  const last = name.slice(name.lastIndexOf('/') + 1)
  const ascii = last.replace(/[^ !#-[\]-~]/g, '_')
  const escaped = encodeURIComponent(last).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16)}`)
  return `${how}; filename="${ascii}"; filename*=UTF-8''${escaped}`
}

/** Returns the requested range, with its end excluded: undefined for the whole file, `none` if the range is outside it. */
function rangeOf(headers: Headers, etag: string, size: number): [from: number, to: number] | 'none' | undefined {
  const asked = /^bytes=(\d*)-(\d*)$/.exec(headers.get('range') ?? '')
  const condition = headers.get('if-range')
  if (asked === null || (condition !== null && condition !== etag)) return undefined
  const [, first = '', last = ''] = asked
  if (first === '') {
    if (last === '') return undefined
    const length = Math.min(Number(last), size)
    return length === 0 ? 'none' : [size - length, size]
  }
  const from = Number(first)
  const to = last === '' ? size : Math.min(Number(last) + 1, size)
  if (last !== '' && Number(last) < from) return undefined
  return from >= size ? 'none' : [from, to]
}

/** Streams the bytes as fast as the peer reads them. The pieces are small, because a stream queues several of them. */
function watched(part: Blob, watch: Watch, signal: AbortSignal): ReadableStream<Uint8Array> {
  const reader = (part.stream() as ReadableStream<Uint8Array>).getReader()
  let rest: Uint8Array = new Uint8Array()
  let left = part.size
  let over = false
  // A peer that has all bytes may close the stream at once, which is not a failure.
  const end = (error?: unknown) => {
    if (over) return
    over = true
    watch.end(left === 0 ? 'whole' : 'cut off', error)
  }
  signal.addEventListener('abort', () => end()) // also if nobody began to read the body
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (left === 0) {
          end()
          return controller.close()
        }
        try {
          if (rest.length === 0) {
            const { value } = await reader.read()
            if (value === undefined) throw new Error('the file is shorter than it was')
            rest = value
          }
          const piece = rest.subarray(0, MAX_PIECE)
          rest = rest.subarray(piece.length)
          controller.enqueue(piece)
          left -= piece.length
          watch.more(piece.length)
        } catch (error) {
          end(error)
          controller.error(error)
        }
      },
      async cancel(reason) {
        end()
        await reader.cancel(reason)
      },
    },
    { highWaterMark: 0 },
  )
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
}
