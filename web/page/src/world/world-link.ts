import { pageLink } from '../sharing/share-link.js'

/** A world that a link points to, and the peer that hosted it when the link was made. */
export interface WorldTarget {
  name: string
  host: string | undefined
  /** The link itself, if it is an invitation to a world that requires one. */
  invitation?: string | undefined
}

/** Returns the address of this page for somebody to join a world. */
export function worldLink({ name, host, invitation }: WorldTarget): string {
  const link = pageLink()
  if (invitation !== undefined) link.hash = new URL(invitation).hash
  else link.hash = 'world=' + (host === undefined ? '' : `${host}/`) + encodeURIComponent(name)
  return link.href
}

/** Returns the world in a page's address; undefined if there is none, or the link is broken. */
export function worldOf({ hash, href }: { hash: string; href: string }): WorldTarget | undefined {
  if (hash.startsWith('#room=')) {
    const fields = new URLSearchParams(hash.slice(1))
    return { name: fields.get('room')!, host: fields.get('host') ?? undefined, invitation: href }
  }
  const [, host, name = ''] = /^#world=(?:([A-Za-z0-9]{32,128})\/)?([^/]+)$/.exec(hash) ?? []
  try {
    return name === '' ? undefined : { name: decodeURIComponent(name), host }
  } catch {
    return undefined
  }
}
