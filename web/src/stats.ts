/** Statistics of handlers: functions that get messages, or answer requests. Times are in milliseconds. */
export interface HandlerStats {
  /** Calls that have ended. */
  runs: number
  panics: number
  /** Calls that exceeded the time limit. */
  late: number
  running: number
  /** Calls under way that have exceeded the time limit. */
  overdue: { handler: string; type: string; id: string; for: number }[]
  time: number
  maxTime: number
}

/** Messages on their way to the subscriptions of this node. */
export interface DispatchStats {
  subscriptions: number
  types: number
  published: number
  /** Of the published messages, those of types that nobody had subscribed to. */
  unclaimed: number
  /** Messages that are not events of applications. */
  refused: number
  delivered: number
  duplicates: number
  dropped: { full: number; superseded: number; timeout: number; closed: number }
  /** Messages that wait to be read: in all subscriptions, and in the fullest one. */
  depth: number
  deepest: number
  handlers: HandlerStats
}

/** Messages to and from single peers. */
export interface LinkStats {
  links: number
  streams: number
  /** Messages that wait to be sent, by priority: high, normal, low. */
  queued: { messages: number; bytes: number }[]
  sent: number
  sentBytes: number
  batches: number
  received: number
  receivedBytes: number
  unsent: { queueFull: number; lost: number; expired: number; tooLarge: number }
  requests: { sent: number; answered: number; errors: number; failed: number; pending: number; strays: number }
  serving: {
    served: number
    busy: number
    unanswered: number
    unreplied: number
    /** Answers that wait to be written. */
    queued: { messages: number; bytes: number }
    handlers: HandlerStats
  }
  malformed: number
  refused: number
  stalled: number
}

/** Broadcasts. */
export interface MeshStats {
  topics: number
  carried: number
  published: number
  /** Broadcasts that only this node's own subscriptions got, because there were no peers. */
  unheard: number
  received: number
  /** Broadcasts received from the histories of peers. */
  replayed: number
  /** Broadcasts that are known to exist, but that this node does not have. */
  missing: number
  duplicates: number
  refused: number
  malformed: number
  ignored: number
  /** Presence announcements that were not passed on, because nobody watches presence or because more than 128 peers are present. */
  withheld: number
  panics: number
  graylisted: number
  droppedOutbound: number
  droppedControl: number
  droppedInbound: number
  notCarried: number
  tooManyTopics: number
  uncounted: number
  history: CatchUpStats
  histories: HistoryStats
}

/** Requests for missed broadcasts, sent and answered. */
export interface CatchUpStats {
  asked: number
  answered: number
  busy: number
  badAsks: number
  failed: number
  sent: number
  sentBytes: number
  synced: number
  badAnswers: number
  broken: number
  received: number
  repeated: number
  refused: number
}

/** The broadcasts that this node keeps, and what became of the others. */
export interface HistoryStats {
  /** Broadcasts that are kept now. */
  entries: number
  bytes: number
  publishers: number
  added: number
  repeated: number
  refused: number
  aged: number
  evicted: number
  givenUp: number
  forgot: number
  loaded: number
  damaged: number
  written: number
  writeFailures: number
  unwritten: number
}

/** Searches for peers by ID. */
export interface DiscoveryStats {
  server: boolean
  table: number
  lookups: number
  found: number
  answers: number
  unanswered: number
  announcements: number
}

/** Streams of `open` and `listen`. */
export interface BridgeStats {
  listeners: number
  forwards: number
  /** Streams that are open now. */
  streams: number
  /** Streams opened so far, in either direction. */
  opened: number
  /** Streams that have ended, by reason (see `StreamReason`). Those under the empty reason ended well. */
  ended: Record<string, number>
  /** Bytes of the streams that have ended, except those that the browser carried itself. */
  sent: number
  received: number
}

/** Attempts to reach peers without a relay. All are 0 with `direct: 'never'`. */
export interface DirectStats {
  /** Direct WebRTC connections that are open now. */
  open: number
  /** Attempts that this node began. `made` counts those that succeeded. */
  tried: number
  made: number
  /** Attempts that failed, by reason. */
  failed: { unanswered: number; refused: number; noCircuit: number; platform: number; other: number }
  /** WebRTC connections that ended because the peer stopped answering. */
  lost: number
  /** Circuits that were closed because a direct connection had left them idle, and circuits that were made when one was lost. */
  circuitsClosed: number
  circuitsMade: number
}

/** What a node holds now, and what it has counted since it was made. Fields without a description count messages. */
export interface NodeStats {
  peers: number
  connections: number
  reservations: number
  dispatch: DispatchStats
  links: LinkStats
  mesh: MeshStats
  discovery: DiscoveryStats
  bridge: BridgeStats
  direct: DirectStats
}
