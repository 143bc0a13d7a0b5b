// What travels in a harbour: the same as core/world/demo/records.go, so that the page plays in a world that a native peer holds, and the
// shell in one that a tab does. Numbers are big-endian.

export const VERSION = 'harbour/2'

/** How many of the smallest steps of a place one unit has. */
export const UNITS = 16

/** The most bytes of a name. */
export const MAX_NAME = 24
const MAX_PAPERS = 256

/** What a player sees of a boat or a buoy. */
export interface Thing {
  x: number
  y: number
  /** A 256th of the colour circle, from red on. */
  hue: number
  /** It is one, and no buoy. Only a boat has a score and a name. */
  boat: boolean
  score: number
  name: string
}

/** What a player gives at joining. */
export interface Papers {
  hue: number
  name: string
  /** It is told of nothing but its own inputs, as bots are that are many. */
  blind: boolean
  /** It would hold the world after its host. */
  standsBy: boolean
}

/** What a player is told at joining. */
export interface Answer {
  /** Undefined for one who only watches. */
  boat: number | undefined
  /** The side of the water. */
  size: number
  /** How far the player sees, and how far off it loses sight of things; 0: it sees everything. */
  sight: number
  sightEnd: number
}

/** A line of the scores: a boat among the best. */
export interface ScoreLine {
  score: number
  hue: number
  name: string
}

export interface Scores {
  /** The player's own, from 1; 0 if it has no score. */
  rank: number
  /** How many have a score. */
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

/** What of a name is shown: letters, marks, digits, punctuation and symbols, with single spaces between, as far as `MAX_NAME` bytes go. */
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

/** Reads what `encodePapers` wrote. The name is cleaned. */
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

/** All there is to know of a thing, whose place is in steps. */
export function encodeThing({ x, y, hue, boat, score, name }: Thing): Uint8Array {
  const place = [x >> 8, x, y >> 8, y, hue]
  return boat ? join([...place, score >> 8, score], name) : Uint8Array.from(place)
}

/** Reads what `encodeThing` wrote. */
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

/** A thing after a change: by how much it moved, where it is, or all there is to know. */
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

/** The speed of a boat, in steps a tick, each from -127 to 127. */
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

/** Reads a note of the scores. */
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
