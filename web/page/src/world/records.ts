// The records of a harbour: the same as in core/world/demo/records.go, so that the page can play in a world that a native peer hosts, and
// the shell in one that a tab hosts. Numbers are big-endian.

export const VERSION = 'harbour/2'

/** How many steps, the smallest distance, make one unit. */
export const UNITS = 16

/** The longest name, in bytes. */
export const MAX_NAME = 24
const MAX_PAPERS = 256

/** A boat or a buoy, as a player sees it. */
export interface Thing {
  x: number
  y: number
  /** In 256ths of the colour circle, starting at red. */
  hue: number
  /** Whether it is a boat and not a buoy. Only a boat has a score and a name. */
  boat: boolean
  score: number
  name: string
}

/** What a player sends when it joins. */
export interface Papers {
  hue: number
  name: string
  /** Whether the player receives nothing but confirmations of its own inputs, as the page's many bots do. */
  blind: boolean
  /** Whether the player is willing to host the world after its host. */
  standsBy: boolean
}

/** What a player receives when it joins. */
export interface Answer {
  /** Undefined for a spectator. */
  boat: number | undefined
  /** The length of each side of the water. */
  size: number
  /** How far the player sees, and the distance at which things go out of sight; 0 if it sees everything. */
  sight: number
  sightEnd: number
}

/** A line of the high scores. */
export interface ScoreLine {
  score: number
  hue: number
  name: string
}

export interface Scores {
  /** The player's own rank, from 1; 0 if it has no score. */
  rank: number
  /** How many players have a score. */
  of: number
  lines: ScoreLine[]
}

const BLIND = 1
const STANDS_BY = 2
const NO_BOAT = 2 ** 32 - 1
const BUOY_BYTES = 5
export const BOAT_BYTES = BUOY_BYTES + 2
const NOTE_OF_SCORES = 1
const MAX_LINES = 8

export function malformed(what: string): Error {
  return new Error(`${what}: not of the harbour's form`)
}

export function at(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength)
}

/**
 * Returns the part of a name that is shown: letters, marks, digits, punctuation and symbols, with single spaces between, cut to `MAX_NAME`
 * bytes.
 */
export function cleanName(name: string): string {
  const shown = name
    .replace(/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]|\ufffd/gu, '')
    .replace(/ +/g, ' ')
    .trim()
  const room = new Uint8Array(MAX_NAME)
  const { read } = new TextEncoder().encodeInto(shown, room)
  return shown.slice(0, read).trimEnd()
}

export function encodePapers({ hue, name, blind, standsBy }: Papers): Uint8Array {
  return join([(blind ? BLIND : 0) | (standsBy ? STANDS_BY : 0), hue], name)
}

/** Decodes what `encodePapers` wrote. The name is cleaned. */
export function decodePapers(data: Uint8Array): Papers {
  if (data.length < 2 || data.length > MAX_PAPERS) throw malformed(`papers of ${data.length} bytes`)
  const [flags, hue] = data as unknown as [number, number]
  return { hue, name: readName(data, 2), blind: (flags & BLIND) !== 0, standsBy: (flags & STANDS_BY) !== 0 }
}

export function encodeAnswer({ boat, size, sight, sightEnd }: Answer): Uint8Array {
  const data = new Uint8Array(16)
  const view = at(data)
  ;[boat ?? NO_BOAT, size, sight * UNITS, sightEnd * UNITS].forEach((n, i) => view.setUint32(4 * i, n))
  return data
}

export function decodeAnswer(data: Uint8Array): Answer {
  if (data.length !== 16) throw malformed(`an answer of ${data.length} bytes`)
  const view = at(data)
  const boat = view.getUint32(0)
  return {
    boat: boat === NO_BOAT ? undefined : boat,
    size: view.getUint32(4),
    sight: view.getUint32(8) / UNITS,
    sightEnd: view.getUint32(12) / UNITS,
  }
}

/** Encodes all about a thing whose position is in steps. */
export function encodeThing({ x, y, hue, boat, score, name }: Thing): Uint8Array {
  const place = [x >> 8, x, y >> 8, y, hue]
  return boat ? join([...place, score >> 8, score], name) : Uint8Array.from(place)
}

/** Decodes what `encodeThing` wrote. */
export function decodeThing(data: Uint8Array): Thing {
  const { length } = data
  if (length !== BUOY_BYTES && (length < BOAT_BYTES || length > BOAT_BYTES + MAX_NAME)) {
    throw malformed(`a record of ${length} bytes`)
  }
  const view = at(data)
  const boat = length > BUOY_BYTES
  return {
    x: view.getUint16(0) / UNITS,
    y: view.getUint16(2) / UNITS,
    hue: view.getUint8(4),
    boat,
    score: boat ? view.getUint16(BUOY_BYTES) : 0,
    name: readName(data, BOAT_BYTES),
  }
}

/** Returns a thing after a change: a movement, a position, or a complete record. */
export function applyChange(thing: Thing, data: Uint8Array): Thing {
  const view = at(data)
  switch (data.length) {
    case 2:
      return { ...thing, x: thing.x + view.getInt8(0) / UNITS, y: thing.y + view.getInt8(1) / UNITS }
    case 4:
      return { ...thing, x: view.getUint16(0) / UNITS, y: view.getUint16(2) / UNITS }
  }
  return decodeThing(data)
}

/** Encodes the speed of a boat, in steps a tick; each part is from -127 to 127. */
export function encodeInput(vx: number, vy: number): Uint8Array {
  return Uint8Array.of(vx, vy)
}

export function encodeScores({ rank, of, lines }: Scores): Uint8Array {
  const parts = lines.slice(0, MAX_LINES).map(({ score, hue, name }) => {
    const bytes = new TextEncoder().encode(name)
    return [score >> 8, score, hue, bytes.length, ...bytes]
  })
  return Uint8Array.from([NOTE_OF_SCORES, rank >> 8, rank, of >> 8, of, ...parts.flat()])
}

/** Decodes a note of the scores. */
export function decodeScores(note: Uint8Array): Scores {
  if (note.length < 5 || note[0] !== NOTE_OF_SCORES) throw malformed(`a note of ${note.length} bytes`)
  const view = at(note)
  const lines: ScoreLine[] = []
  for (let from = 5; from < note.length;) {
    const end = from + 4 + (note[from + 3] ?? Infinity)
    if (end > note.length || lines.length === MAX_LINES) throw malformed('a note of scores')
    lines.push({ score: view.getUint16(from), hue: note[from + 2]!, name: readName(note.subarray(0, end), from + 4) })
    from = end
  }
  return { rank: view.getUint16(1), of: view.getUint16(3), lines }
}

function readName(data: Uint8Array, from: number): string {
  return cleanName(new TextDecoder().decode(data.subarray(from)))
}

function join(head: number[], name: string): Uint8Array {
  return Uint8Array.from([...head, ...new TextEncoder().encode(name)])
}
