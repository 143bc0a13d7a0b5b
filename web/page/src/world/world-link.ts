import { pageLink } from '../sharing/share-link.js'

/** A world that a link names, and the peer that held it when the link was made. */
export interface WorldTarget {
  name: string
  host: string | undefined
}

const PREFIX = '#world='

/** The address of this page for somebody who is to come into a world. */
export function worldLink({ name, host }: WorldTarget): string {
  const link = pageLink()
  link.hash = PREFIX.slice(1) + (host === undefined ? '' : `${host}/`) + encodeURIComponent(name)
  return link.href
}

export function isWorldLink(hash: string): boolean {
  return hash.startsWith(PREFIX)
}

/** What a page's address leads to; undefined where it is no world, or broken. */
export function worldOf(hash: string): WorldTarget | undefined {
  const [, host, name = ''] = /^#world=(?:([A-Za-z0-9]{32,128})\/)?([^/]+)$/.exec(hash) ?? []
  try {
    return name === '' ? undefined : { name: decodeURIComponent(name), host }
  } catch {
    return undefined
  }
}
