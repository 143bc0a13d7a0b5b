import { TomboloError } from '@tombolo/node'

/** Why something that a person asked for failed, and what to do. */
export interface Failure {
  title: string
  advice: string
  /** The technical error text. */
  detail: string
}

/** Returns the text of an error. */
export function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

export type Words = Pick<Failure, 'title' | 'advice'>

const AGAIN: Words = { title: 'The node was started again meanwhile', advice: 'Do it once more.' }

/** Returns the words for an error, or for a restart of the node if that was the cause. */
export function failure(error: unknown, words: Words): Failure {
  return { detail: message(error), ...(error instanceof TomboloError && error.code === 'restart' ? AGAIN : words) }
}

/** Returns the words for an error of a broadcast that has a meaning of its own for the sender. */
function broadcastWords(error: unknown): Words | undefined {
  const said = String(error)
  // A broadcast that waits for a subscriber fails when its time is up, or at once if the mesh knows of none.
  if (/no peer is on the topic|^TimeoutError/.test(said)) {
    return {
      title: 'Nobody was there to hear it',
      advice:
        'No one else is known to be in this room, and no relay keeps it: it stands in this tab only. Ask somebody to join the same room, then say it again.',
    }
  }
  return tooLarge(error)
}

function tooLarge(error: unknown): Words | undefined {
  if (!/too large/.test(String(error))) return undefined
  return { title: 'That is too much for one message', advice: 'A message has at most 1 MiB. Add it as a file.' }
}

export function connectFailure(error: unknown): Failure {
  return failure(error, {
    title: 'The peer could not be connected to',
    advice: 'Check that it is a multiaddr, or the id of a peer behind this tab’s relay, and that the peer is online.',
  })
}

export function disconnectFailure(error: unknown): Failure {
  return failure(error, { title: 'The peer could not be disconnected', advice: 'Try again, or reload the page.' })
}

export function closeFailure(error: unknown): Failure {
  return failure(error, {
    title: 'The stream could not be closed',
    advice: 'If it is still in the list, close it once more, or reload the page, which closes all.',
  })
}

/** The node's state could not be read. */
export function lookFailure(error: unknown): Failure {
  return failure(error, {
    title: 'The node could not be read',
    advice: 'It is tried again; if it goes on, reload the page.',
  })
}

export function meshUnheard(error: unknown): Failure {
  return failure(error, {
    title: 'Other pages cannot be asked what they are connected to',
    advice: 'The picture has this tab’s own connections only. Reload the page to ask again.',
  })
}

export function siteFailure(error: unknown): Failure {
  return failure(error, {
    title: 'The site cannot be shown',
    advice: 'Reload it here. If that does not help, its peer may be gone, or this browser allows no service worker.',
  })
}

export function broadcastFailure(error: unknown): Failure {
  return failure(
    error,
    broadcastWords(error) ?? {
      title: 'It was not said',
      advice: 'Wait until this tab is connected, then try again.',
    },
  )
}

export function sendFailure(error: unknown): Failure {
  return failure(
    error,
    tooLarge(error) ?? {
      title: 'The peer did not get it',
      advice:
        'It may be offline, or behind a relay that this tab does not reach. Say it to everybody, or try again later.',
    },
  )
}

export function joinFailure(error: unknown): Failure {
  return failure(error, {
    title: 'The room could not be joined',
    advice: 'Its name has 1 to 128 bytes, and does not begin with tombolo/.',
  })
}

export function heardNoMore(error: unknown): Failure {
  return failure(error, { title: 'Nothing more is heard here', advice: 'Leave the room, and join it again.' })
}

export function recoverFailure(error: unknown): Failure {
  if (broadcastWords(error) === undefined) {
    return failure(error, { title: 'What was said before is not known', advice: 'Catch up once more in a moment.' })
  }
  return failure(error, {
    title: 'Nobody could be asked what was said before',
    advice: 'It is asked for again once this tab is connected.',
  })
}

export function serveFailure(error: unknown): Failure {
  return failure(error, {
    title: 'It could not be shared',
    advice: /listener already registered/.test(String(error))
      ? 'This tab shares something under that name already: choose another.'
      : 'Try again; if that does not help, reload the page.',
  })
}

/** The text that was typed is not a code. */
export function codeFailure(typed: string): Failure {
  return {
    title: 'That is not a code',
    advice: 'A code has nine letters and digits, for example 7K3-MPX-2Q9.',
    detail: typed,
  }
}

/** Pairing by a code found nobody. */
export function pairFailure(error: unknown): Failure {
  if (!isSecureContext) {
    const advice = 'A browser can do that on a page from https:// or localhost only. Use the link instead.'
    return { title: 'Codes do not work here', advice, detail: message(error) }
  }
  return failure(error, {
    title: 'Nobody shows this code',
    advice:
      'Check it, and that the other tab is open and connected. A code works once, for ten minutes; if in doubt, ask for a new one.',
  })
}

/** Peers that do not have the code have tried it too often. */
export function triedFailure(times: number): Failure {
  return {
    title: 'The code was tried too often',
    advice: 'Somebody may watch where you meet, and guess. Show a new code.',
    detail: `peers without the code have tried it ${times} times`,
  }
}

/** The file that a person chose has changed, or is missing. */
export function fileFailure(name: string, error: unknown): Failure {
  return failure(error, {
    title: `${name} cannot be read any more`,
    advice: 'It was changed, moved or removed since it was chosen. Stop sharing it, and choose it again.',
  })
}

/** A part of the page could not be loaded. */
export function loadFailure(error: unknown): Failure {
  return failure(error, {
    title: 'It could not be loaded',
    advice: 'Check that the relay is running and that you are online, then try again.',
  })
}

const AWAY: Words = {
  title: 'The peer is away',
  advice:
    'The tab that shares it may be closed, asleep or offline. It is looked for again by itself; ask whoever sent the link to open that tab.',
}
const NOT_SERVED: Words = {
  title: 'It is not shared any more',
  advice:
    'The peer is there, but has nothing under this name. It is asked again by itself; if nothing comes of it, ask for a new link.',
}
const SILENT: Words = {
  title: 'The peer does not answer',
  advice: 'It is there, but busy, or its machine is asleep. Try again in a moment.',
}
const CUT: Words = {
  title: 'Cut off midway',
  advice: 'The peer, or a relay on the way, went away or ended it. What has come is kept: go on from there.',
}

/** By the `reason` of a stream's error. */
const FETCHING = new Map<string, Words>(
  Object.entries({
    'peer away': AWAY,
    'no such protocol': NOT_SERVED,
    'not allowed': { title: 'The peer does not let this tab in', advice: 'Ask whoever sent the link to allow it.' },
    'too many streams': { title: 'Too many are fetching from the peer', advice: 'Try again when others are done.' },
  }),
)

function reasonedWords(error: unknown): Words | undefined {
  return error instanceof TomboloError && error.reason !== undefined ? FETCHING.get(error.reason) : undefined
}

/** Somebody followed a link in the tab that the link leads to. */
export function ownLink(): Failure {
  const advice = 'Open the link in another tab, or on another machine.'
  return { title: 'It is this very tab that shares it', advice, detail: location.href }
}

/** No peer with this ID could be reached. */
export function awayFailure(error: unknown): Failure {
  return failure(error, reasonedWords(error) ?? AWAY)
}

/** Why a fetch from a peer failed or was cut off; `received` is the number of bytes that arrived. */
export function fetchFailure(error: unknown, received: number): Failure {
  const said = reasonedWords(error) ?? (/^TimeoutError/.test(String(error)) ? SILENT : undefined)
  if (received > 0 && said === undefined) return failure(error, CUT)
  return failure(
    error,
    said ?? {
      title: 'Nothing came of it',
      advice:
        'The peer broke off before it began. Try again; if that stays so, what it shares may have changed there: ask for a new link.',
    },
  )
}

/** The peer sent more bytes than it had announced. */
export function tooMuch(bytes: number): Failure {
  return {
    title: 'The peer sends more than there should be',
    advice: 'What it shares may have changed there: reload this page, and download it again.',
    detail: `more than the ${bytes} bytes that it said`,
  }
}

export function statusFailure(path: string, status: number): Failure {
  const detail = `the answer for ${path} is HTTP ${status}`
  if (status === 404) return { detail, title: 'It is not there any more', advice: 'Ask for a new link.' }
  return { detail, title: 'The peer would not hand it out', advice: 'Try again in a moment, or ask for a new link.' }
}
