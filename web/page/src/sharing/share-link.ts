/** What a link to this page points to: something that a tab shares. */
export interface Target {
  peer: string
  name: string
}

/** The names that are allowed: they must fit into links and shell commands. */
export const NAME = '[a-z0-9][a-z0-9._\\-]{0,47}'

export function protocolOf(name: string): string {
  return `/x/${name}/http`
}

export function isName(name: string): boolean {
  return new RegExp(`^${NAME}$`).test(name)
}

/** Returns the fragment of this page's address that points to what a tab shares. */
export function hashOf({ peer, name }: Target): string {
  return `get=${peer}/${name}`
}

/** Returns the address of this page for another tab, or another person, to fetch what a tab shares. */
export function linkTo(target: Target): string {
  const link = pageLink()
  link.hash = hashOf(target)
  return link.href
}

/** Returns the address of this page for another tab to connect to this one. */
export function callLink(peer: string): string {
  const link = pageLink()
  link.searchParams.set('peer', peer)
  return link.href
}

/** Returns the address of this page for somebody to join a room of messages. */
export function roomLink(type: string): string {
  const link = pageLink()
  link.hash = `talk=${encodeURIComponent(type)}`
  return link.href
}

/** Returns the page's address. It names the relay, unless that is the server of the page. */
export function pageLink(): URL {
  const link = new URL(location.pathname, location.href)
  const relay = new URLSearchParams(location.search).get('relay')
  if (relay !== null) link.searchParams.set('relay', relay)
  return link
}

/** Returns what the page's address points to: undefined if it points to nothing. Throws if the link is broken. */
export function targetOf(hash: string): Target | undefined {
  if (!hash.startsWith('#get=')) return undefined
  const [, peer = '', name = ''] = /^#get=([A-Za-z0-9]{32,128})\/([^/]+)$/.exec(hash) ?? []
  if (!isName(name)) {
    throw new Error(`${hash} is not of the form #get=<peer>/<name>`)
  }
  return { peer, name }
}

/** Whether the page was opened under a name that refers to this machine alone. */
export function onlyHere(): boolean {
  return /^(localhost|.*\.localhost|127\..*|\[::1\])$/.test(location.hostname)
}

/** Makes a name for an offer from a file name. */
export function nameFrom(file: string): string {
  const stem = file.replace(/(.)\.[^.]*$/, '$1').toLowerCase()
  const name = stem.replace(/[^a-z0-9._-]+/g, '-').replace(/^[^a-z0-9]+|-+$/g, '')
  return name.slice(0, 48) || 'file'
}
