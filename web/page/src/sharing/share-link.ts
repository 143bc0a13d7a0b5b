/** What a link to this page leads to: what a tab serves. */
export interface Target {
  peer: string
  name: string
}

/** What a name may be: a link has to carry it, and a shell. */
export const NAME = '[a-z0-9][a-z0-9._\\-]{0,47}'

export function protocolOf(name: string): string {
  return `/x/${name}/http`
}

export function isName(name: string): boolean {
  return new RegExp(`^${NAME}$`).test(name)
}

/** The fragment of the address of this page that leads to what a tab serves. */
export function hashOf({ peer, name }: Target): string {
  return `get=${peer}/${name}`
}

/** The address of this page for another tab, or another person, that fetches what this one serves. */
export function linkTo(target: Target): string {
  const link = pageLink()
  link.hash = hashOf(target)
  return link.href
}

/** The address of this page for another tab that calls this one. */
export function callLink(peer: string): string {
  const link = pageLink()
  link.searchParams.set('peer', peer)
  return link.href
}

/** The address of this page for somebody who is to come into a room of messages. */
export function roomLink(type: string): string {
  const link = pageLink()
  link.hash = `talk=${encodeURIComponent(type)}`
  return link.href
}

/** It says where the relay is, if that is not who serves the page. */
export function pageLink(): URL {
  const link = new URL(location.pathname, location.href)
  const relay = new URLSearchParams(location.search).get('relay')
  if (relay !== null) link.searchParams.set('relay', relay)
  return link
}

/** What the page's address leads to; undefined where it leads to nothing, and an error where it is broken. */
export function targetOf(hash: string): Target | undefined {
  if (!hash.startsWith('#get=')) return undefined
  const [, peer = '', name = ''] = /^#get=([A-Za-z0-9]{32,128})\/([^/]+)$/.exec(hash) ?? []
  if (!isName(name)) {
    throw new Error(`${hash} is not of the form #get=<peer>/<name>`)
  }
  return { peer, name }
}

/** Whether the page was opened by a name that means this machine and no other. */
export function onlyHere(): boolean {
  return /^(localhost|.*\.localhost|127\..*|\[::1\])$/.test(location.hostname)
}

/** A name for what is served, from that of a file. */
export function nameFrom(file: string): string {
  const stem = file.replace(/(.)\.[^.]*$/, '$1').toLowerCase()
  const name = stem.replace(/[^a-z0-9._-]+/g, '-').replace(/^[^a-z0-9]+|-+$/g, '')
  return name.slice(0, 48) || 'file'
}
