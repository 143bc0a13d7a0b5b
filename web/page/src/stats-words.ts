import type { HandlerStats, NodeStats } from '@tombolo/node'

/** A sentence for each counter; a counter that has none is an error of types. */
type Words<T> = { [K in keyof T]: Meaning<T[K]> }
type Meaning<V> = V extends readonly unknown[]
  ? string
  : V extends object
    ? string extends keyof V
      ? string
      : Words<V>
    : string

const HANDLERS: Words<HandlerStats> = {
  runs: 'calls of handlers that have ended',
  panics: 'of those, the ones that threw or panicked',
  late: 'calls that took longer than the limit',
  running: 'calls under way',
  overdue: 'calls under way beyond the limit',
  time: 'milliseconds that handlers took, all together',
  maxTime: 'milliseconds that the slowest call took',
}

export const STATS_WORDS: Words<NodeStats> = {
  peers: 'peers connected',
  connections: 'connections to them',
  reservations: 'relays through which this node can be dialled',
  dispatch: {
    subscriptions: 'subscriptions',
    types: 'types of message that they name',
    published: 'messages that came for subscriptions',
    unclaimed: 'of those, the ones nobody had subscribed to',
    refused: 'messages that are no events of applications',
    delivered: 'messages put into a subscription',
    duplicates: 'messages that had come already',
    dropped: {
      full: 'lost because a subscription was full',
      superseded: 'replaced by a newer one of the same sender',
      timeout: 'lost because they waited too long',
      closed: 'lost because the subscription was closed',
    },
    depth: 'messages waiting to be read',
    deepest: 'of those, in the fullest subscription',
    handlers: HANDLERS,
  },
  links: {
    links: 'peers that messages pass to or from',
    streams: 'streams that carry them',
    queued: 'waiting to be sent, by priority',
    sent: 'messages sent',
    sentBytes: 'bytes of them',
    batches: 'writes they took; fewer than messages is good',
    received: 'messages received',
    receivedBytes: 'bytes of them',
    unsent: {
      queueFull: 'not sent: the queue to the peer was full',
      lost: 'not sent: the connection ended first',
      expired: 'not sent: the sender gave up waiting',
      tooLarge: 'not sent: larger than a message may be',
    },
    requests: {
      sent: 'requests to peers',
      answered: 'of those, answered',
      errors: 'answered with an error',
      failed: 'without an answer',
      pending: 'waiting for one',
      strays: 'answers that nobody waited for any more',
    },
    serving: {
      served: 'requests of peers that were answered',
      busy: 'refused because too many were under way',
      unanswered: 'of a type that nothing here answers',
      unreplied: 'answers that could not be sent',
      handlers: HANDLERS,
    },
    malformed: 'what peers sent that is no message',
    refused: 'messages that a peer was not let send',
    stalled: 'streams that were given up because nothing moved',
  },
  mesh: {
    topics: 'types that this node broadcasts or hears',
    carried: 'types that it passes on for others',
    published: 'broadcasts made here',
    unheard: 'of those, made when no peer was there',
    received: 'broadcasts received',
    replayed: 'received out of the histories of peers',
    missing: 'known to have been made, and not here',
    duplicates: 'broadcasts that had come already',
    refused: 'broadcasts that a validator refused',
    malformed: 'broadcasts that could not be read',
    ignored: 'broadcasts that a validator ignored',
    panics: 'validators that threw or panicked',
    graylisted: 'peers that are not heard because of what they sent',
    droppedOutbound: 'lost because a peer did not take them fast enough',
    droppedControl: 'words of GossipSub that were lost in the same way',
    droppedInbound: 'lost because this node did not check them fast enough',
    notCarried: 'types not passed on because there are too many',
    tooManyTopics: 'subscriptions of peers to more types than are let',
    uncounted: 'publishers of whom no count is kept, because there are too many',
    history: {
      asked: 'questions to peers for what was missed',
      answered: 'of those, answered',
      busy: 'put off by a peer that had too many',
      badAsks: 'questions of peers that could not be read',
      failed: 'questions that came to nothing',
      sent: 'messages sent in answer to peers',
      sentBytes: 'bytes of them',
      synced: 'answers after which nothing was missing',
      badAnswers: 'answers that could not be read',
      broken: 'answers that broke off',
      received: 'messages received in answers',
      repeated: 'of those, here already',
      refused: 'of those, refused',
    },
    histories: {
      entries: 'broadcasts remembered',
      bytes: 'bytes of them',
      publishers: 'peers that made them',
      added: 'remembered since the start',
      repeated: 'remembered already',
      refused: 'not remembered: against the rules of the history',
      aged: 'forgotten because of their age',
      evicted: 'forgotten because there was no more room',
      givenUp: 'gaps that nobody could fill',
      forgot: 'publishers forgotten',
      loaded: 'read from the store at the start',
      damaged: 'records of the store that could not be read',
      written: 'written to the store',
      writeFailures: 'writes that failed',
      unwritten: 'waiting to be written',
    },
  },
  discovery: {
    server: 'whether this node answers searches of others',
    table: 'peers it would ask in a search',
    lookups: 'searches for a peer by its id',
    found: 'of those, with success',
    answers: 'answers in searches',
    unanswered: 'questions in searches that were not answered',
    announcements: 'times that it made itself known',
  },
  bridge: {
    listeners: 'protocols that this node answers',
    forwards: 'local listeners that lead to peers',
    streams: 'streams that live',
    opened: 'streams so far, both ways',
    ended: 'streams that have ended, by reason',
    sent: 'bytes sent on streams that have ended, but for those the browser carried itself',
    received: 'bytes received, in the same way',
  },
}

export interface Counter {
  name: string
  value: string
  meaning: string
}

export interface Group {
  title: string
  counters: Counter[]
}

const TITLES: Record<keyof Omit<NodeStats, 'peers' | 'connections' | 'reservations'>, string> = {
  links: 'Messages to and from single peers',
  mesh: 'Broadcasts',
  dispatch: 'On the way to subscriptions',
  bridge: 'Streams',
  discovery: 'Searches for peers',
}

/** The counters in groups, the ones that are most looked at first. */
export function groupsOf({ peers, connections, reservations, ...parts }: NodeStats): Group[] {
  const own = { peers, connections, reservations }
  const titled = Object.entries(TITLES) as [keyof typeof TITLES, string][]
  return [
    { title: 'Connections', counters: flat(own, STATS_WORDS as unknown as Tree, '') },
    ...titled.map(([part, title]) => ({
      title,
      counters: flat(parts[part], STATS_WORDS[part] as unknown as Tree, ''),
    })),
  ]
}

interface Tree {
  [name: string]: string | Tree
}

/** In the order of the words: that of the values is any. A counter of a later version than this page comes last, without words. */
function flat(values: object, words: Tree, prefix: string): Counter[] {
  const named = values as Record<string, unknown>
  return [...new Set([...Object.keys(words), ...Object.keys(named).sort()])].flatMap((key) => {
    const [meaning, value, name] = [words[key], named[key], prefix + key]
    if (value === undefined) return []
    if (typeof meaning === 'object') return flat(value as object, meaning, `${name}.`)
    return [{ name, value: text(value), meaning: meaning ?? '' }]
  })
}

const PRIORITIES = ['high', 'normal', 'low']

function text(value: unknown): string {
  if (typeof value === 'number') return Number(value.toFixed(1)).toLocaleString()
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (Array.isArray(value)) return value.map(itemText).join(', ') || 'none'
  const counts = Object.entries(value as Record<string, number>)
  return counts.map(([name, n]) => `${name === '' ? 'well' : name} ${n.toLocaleString()}`).join(', ') || 'none'
}

function itemText(item: Record<string, unknown>, i: number): string {
  if ('messages' in item) return `${PRIORITIES[i]} ${String(item['messages'])}`
  return `${String(item['handler'])} (${String(item['type'])}, ${text(item['for'])} ms)`
}
