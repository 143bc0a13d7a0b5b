/** What handlers did: functions that get messages, or answer requests. Times are in milliseconds. */
export interface HandlerStats {
  /** Calls that have ended. */
  runs: number
  panics: number
  /** Calls that exceeded the time limit. */
  late: number
  running: number
  /** Those under way that have exceeded it. */
  overdue: { handler: string; type: string; id: string; for: number }[]
  time: number
  maxTime: number
}

/** Messages on their way to the subscriptions of this node. */
export interface DispatchStats {
  subscriptions: number
  types: number
  published: number
  /** Of those, the ones that nobody had subscribed to. */
  unclaimed: number
  /** Messages that are not events of applications. */
  refused: number
  delivered: number
  duplicates: number
  dropped: { full: number; superseded: number; timeout: number; closed: number }
  /** Messages that wait to be read, and those in the fullest subscription. */
  depth: number
  deepest: number
  handlers: HandlerStats
}

/** Messages to and from single peers. */
export interface LinkStats {
  links: number
  streams: number
  /** What waits to be sent: high, normal, low. */
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
  /** Given to this node's own subscriptions only, because no peer was there. */
  unheard: number
  received: number
  /** Received out of the histories of peers. */
  replayed: number
  /** Known to have been broadcast, and not here. */
  missing: number
  duplicates: number
  refused: number
  malformed: number
  ignored: number
  /** Words of presence that were not passed on: nobody asks who is there, or more than 128 are. */
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

/** What this node remembers of broadcasts, and what became of the rest. */
export interface HistoryStats {
  /** Held now. */
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

/** Searches for peers by their ids. */
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
  /** Live ones. */
  streams: number
  /** Both ways, so far. */
  opened: number
  /** By reason (see `StreamReason`); those under the empty reason ended well. */
  ended: Record<string, number>
  /** Bytes, of streams that have ended and that the browser did not carry itself. */
  sent: number
  received: number
}

/** Attempts to reach peers without a relay. All are 0 with `direct: 'never'`. */
export interface DirectStats {
  /** Direct connections of WebRTC. */
  open: number
  /** Attempts that this node began; `made` are those that succeeded. */
  tried: number
  made: number
  /** Attempts that failed, by reason. */
  failed: { unanswered: number; refused: number; noCircuit: number; platform: number; other: number }
  /** Connections of WebRTC that ended because the peer did not answer any more. */
  lost: number
  /** Circuits closed because they carried nothing beside a direct connection, and those made when one was lost. */
  circuitsClosed: number
  circuitsMade: number
}

/** What a node holds, and what it has counted since it was made. Messages are counted unless it says what. */
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
