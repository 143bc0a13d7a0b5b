import { escapeBytes } from '../http/wire.js'

/** The form of a service's path, below the folder of the service worker. The native gateway uses the same form. */
export const PATH_FORM = '/p2p/<peer>/x/<name>/http/<path>'

/** Stands for the host of a service. */
const NOWHERE = 'peer.invalid'

/** The service and the path that an address refers to. */
export interface Target {
  peer: string
  protocol: string
  /** The path up to and including `/http`, as the client wrote it. */
  prefix: string
  /** The rest of the path, escaped. Empty if the slash after `/http` is missing. */
  path: string
}

/** Reports whether a segment of a path can be a peer ID. */
export function isPeer(peer: unknown): boolean {
  return typeof peer === 'string' && /^[A-Za-z0-9]{32,128}$/.test(peer)
}

/** Reads a path below `folder`, which ends in `/p2p/`. Throws an `Error` that says what is wrong with it. */
export function parsePath(pathname: string, folder: string): Target {
  const [peer = '', kind, ...rest] = pathname.slice(folder.length).split('/')
  if (peer === '' || kind === undefined) throw new Error(`the path is not of the form ${PATH_FORM}`)
  if (!isPeer(peer)) throw new Error(`${JSON.stringify(peer.slice(0, 100))} is not a peer ID`)
  const after = (segments: string[]) => folder + [peer, kind, ...segments].join('/')
  if (kind === 'http') {
    const prefix = after([])
    return { peer, protocol: '/http', prefix, path: pathname.slice(prefix.length) }
  }
  if (kind !== 'x') {
    throw new Error(`after the peer comes /http/ or /x/<name>/http/, and not ${JSON.stringify(kind.slice(0, 100))}`)
  }
  const end = rest.indexOf('http', 1)
  if (end < 0) throw new Error(`after the service’s name the path has no /http/; it has the form ${PATH_FORM}`)
  const name = rest.slice(0, end).map((segment) => {
    if (segment === '') throw new Error('the name of the service has an empty segment')
    try {
      return decodeURIComponent(segment)
    } catch {
      throw new Error(`the name of the service is badly escaped at ${JSON.stringify(segment.slice(0, 100))}`)
    }
  })
  const prefix = after(rest.slice(0, end + 1))
  return { peer, protocol: `/x/${name.join('/')}/http`, prefix, path: pathname.slice(prefix.length) }
}

/** Returns the path of a service, up to and including `/http`; undefined if the protocol is not one for HTTP. */
export function servicePath(peer: string, protocol: string): string | undefined {
  if (protocol === '/http') return `${peer}/http`
  const name = /^\/x\/(.+)\/http$/.exec(protocol)?.[1]
  if (name === undefined || name === '.' || name === '..' || /\p{Cs}/u.test(name)) return undefined
  const segments = name.split('/')
  const plain = segments.every((segment) => !['', 'http', '.', '..'].includes(segment))
  return `${peer}/x/${plain ? segments.map(encodeURIComponent).join('/') : encodeURIComponent(name)}/http`
}

/** Returns a path of a service as a browser requests it, without segments that lead out of the service. */
export function pathWithin(path: string): string {
  const { pathname, search, hash } = new URL(`http://${NOWHERE}${path}`)
  return pathname + search + hash
}

/** Resolves a reference in a service's response for the browser: a path of the service gets the service's prefix. */
export function locate(ref: string, { peer, prefix, path }: Target, here: URL): string {
  const service = new URL(`${here.protocol}//${NOWHERE}`) // a reference may leave out the scheme
  let to: URL
  try {
    to = new URL(escapeBytes(ref), service.origin + path) // concatenated, because the path may begin with two slashes
  } catch {
    return ref
  }
  const ours = to.host === here.host || to.hostname === service.hostname || to.hostname === peer.toLowerCase()
  if (!ours || !/^https?:$/.test(to.protocol)) return to.href
  const within = to.pathname === prefix || to.pathname.startsWith(prefix + '/')
  return new URL((within ? '' : prefix) + to.pathname + to.search + to.hash, here.origin).href
}
