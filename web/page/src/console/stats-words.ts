import type { HandlerStats, NodeStats } from '@tombolo/node'

/** A sentence for each counter; a counter without one is a type error. */
type Words<T> = { [K in keyof T]: Meaning<T[K]> }
type Meaning<V> = V extends readonly unknown[]
  ? string
  : V extends object
    ? string extends keyof V
      ? string
      : Words<V>
    : string

const HANDLERS: Words<HandlerStats> = {
  runs: 'calls of handlers (functions that get messages or answer requests) that have ended',
  panics: 'of those, the ones that threw or panicked',
  late: 'calls that exceeded the time limit, ended since or not',
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
    subscriptions: 'subscriptions now',
    types: 'types, and patterns of types, that they are for',
    published: 'messages on their way to subscriptions',
    unclaimed: 'of those, the ones nobody had subscribed to',
    refused: 'messages that are no events of applications',
    delivered: 'messages handed to who reads a subscription',
    duplicates: 'messages that had come already',
    dropped: {
      full: 'lost because a subscription was full',
      superseded: 'replaced by a newer one of the same sender and type',
      timeout: 'lost because there was no room for as long as they were let wait',
      closed: 'not read before the subscription was closed',
    },
    depth: 'messages waiting to be read',
    deepest: 'of those, in the fullest subscription',
    handlers: HANDLERS,
  },
  links: {
    links: 'peers that this node sends messages to',
    streams: 'streams on which peers send it messages',
    queued: 'messages waiting to be sent, by priority',
    sent: 'messages handed to the transport',
    sentBytes: 'bytes of them',
    batches: 'writes they took; fewer than messages is good',
    received: 'messages received',
    receivedBytes: 'bytes of them',
    unsent: {
      queueFull: 'not sent: the queue to the peer was full',
      lost: 'not sent: the connection ended, or could not be made',
      expired: 'not sent: the sender gave up waiting',
      tooLarge: 'not sent: larger than a message may be',
    },
    requests: {
      sent: 'requests to peers',
      answered: 'of those, answered',
      errors: 'answered with an error',
      failed: 'not answered: not sent, lost, or given up',
      pending: 'waiting for one',
      strays: 'answers to no request that waits for one',
    },
    serving: {
      served: 'requests of peers that were handed to a function',
      busy: 'requests refused because there were too many',
      unanswered: 'requests of a type that nothing here answers',
      unreplied: 'answers that could not be sent',
      queued: { messages: 'answers waiting to be written', bytes: 'bytes of them' },
      handlers: HANDLERS,
    },
    malformed: 'streams of peers that were reset for what came on them',
    refused: 'streams reset at once, because their peer had sent too much of that or had too many',
    stalled: 'streams reset because a message on them did not go on, or because answers were not read',
  },
  mesh: {
    topics: 'types that this node has a part in now',
    carried: 'of those, passed on for others',
    published: 'broadcasts made here',
    unheard: 'made when no peer was there to hear them',
    received: 'broadcasts received',
    replayed: 'received out of the histories of peers',
    missing: 'known to have been made, and not here',
    duplicates: 'broadcasts that had come already',
    refused: 'broadcasts that a validator refused',
    malformed: 'could not be read, not signed, or signed wrongly',
    ignored: 'ignored by a validator, of an unknown kind, or on a type that was left',
    withheld: 'words of presence not passed on, because nobody asks who is there or many are',
    panics: 'validators that threw or panicked',
    graylisted: 'not looked at, because of what else came from who handed them over',
    droppedOutbound: 'not sent on to a peer that did not take them fast enough',
    droppedControl: 'words of GossipSub without broadcasts in them, in the same way; it repeats what matters',
    droppedInbound: 'lost because this node did not check them fast enough',
    notCarried: 'types that peers came to and there was no room to pass on',
    tooManyTopics: 'subscriptions of peers beyond the number that one may have',
    uncounted: 'peers not counted as present because there were too many',
    history: {
      asked: 'times that a peer asked this node for what it had missed',
      answered: 'of those, answered to the end',
      busy: 'turned away: too many at once, or too often',
      badAsks: 'questions that could not be read',
      failed: 'answers that broke off because the peer was gone or stalled',
      sent: 'broadcasts sent in answers',
      sentBytes: 'bytes of them',
      synced: 'answers to this node that it took to the end',
      badAnswers: 'answers that it refused',
      broken: 'answers that broke off, also because the peer was busy',
      received: 'broadcasts in them that were new',
      repeated: 'broadcasts that had come another way meanwhile',
      refused: 'broadcasts in them that were refused',
    },
    histories: {
      entries: 'broadcasts remembered',
      bytes: 'bytes of them',
      publishers: 'peers that made them',
      added: 'were new',
      repeated: 'were not new, or given up before',
      refused: 'of a time that was let go, or of an impossible number or publisher',
      aged: 'forgotten because of their age',
      evicted: 'forgotten to keep the bounds of the history',
      givenUp: 'never had, and no longer asked for',
      forgot: 'publishers forgotten because there were too many',
      loaded: 'broadcasts found in the store',
      damaged: 'records in the store that could not be read, and were deleted',
      written: 'changes stored',
      writeFailures: 'writes that the store did not take; they are tried again',
      unwritten: 'changes given up because the store took none for too long',
    },
  },
  discovery: {
    server: 'whether this node answers the searches of others',
    table: 'peers that it knows of for searches; 0 for who does not answer them',
    lookups: 'searches for a peer, by its id alone',
    found: 'of those, with success',
    answers: 'questions that were answered, in searches and when it made itself known',
    unanswered: 'questions that were not answered',
    announcements: 'times that it made itself known to who answers searches',
  },
  bridge: {
    listeners: 'protocols that this node answers',
    forwards: 'local listeners that lead to peers; a tab has none',
    streams: 'streams that live',
    opened: 'streams so far, both ways',
    ended: 'streams that have ended, by reason',
    sent: 'bytes sent on streams that have ended, but for what the browser carried itself',
    received: 'bytes received, in the same way',
  },
  direct: {
    open: 'connections of WebRTC now',
    tried: 'attempts to reach a peer without a relay that began here',
    made: 'of those, the ones that succeeded',
    failed: {
      unanswered: 'failed: no address of the peer answered',
      refused: 'failed: the peer did not arrange a connection',
      noCircuit: 'failed: the connection through the relay ended before',
      platform: 'failed: the browser made no connection',
      other: 'failed for another reason',
    },
    lost: 'connections of WebRTC that ended because the peer did not answer any more',
    circuitsClosed: 'connections through a relay closed because a direct one carried everything',
    circuitsMade: 'connections through a relay made again because a direct one was lost',
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
  direct: 'Without a relay',
}

/** Returns the counters in groups, the most useful ones first. */
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

/**
 * Flattens counters in the order of their words, since the order of the values is arbitrary. A counter that is newer than this page comes
 * last, without words.
 */
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
