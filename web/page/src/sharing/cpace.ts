// The cipher suite CPACE-RISTR255-SHA512 of draft-irtf-cfrg-cpace, with an initiator and a responder. Only two parties with the same secret
// complete a CPace key exchange, and nothing that they send can be used to test guesses of the secret. native/pair implements the same.
import { ristretto255, ristretto255_hasher } from '@noble/curves/ed25519.js'
import { bytesToNumberLE } from '@noble/curves/utils.js'
import { hmac } from '@noble/hashes/hmac.js'
import { sha512 } from '@noble/hashes/sha2.js'
import type { Meeting } from './code.js'

type Bytes = Uint8Array<ArrayBuffer>
const { Point } = ristretto255
type Point = InstanceType<typeof Point>

const DSI = 'CPaceRistretto255'
const BLOCK_BYTES = 128
export const SHARE_BYTES = 32
export const PROOF_BYTES = 64

/** One party's side of a run. It is used only once. */
export interface Exchange {
  scalar: bigint
  /** The share to send to the other party. */
  share: Bytes
}

/** Begins an exchange between the peer where the code was typed and the peer that shows it. */
export function begin(place: Meeting, typer: string, shower: string): Exchange {
  return newExchange(place.secret, parties(place, typer, shower))
}

/** Names the parties in the exchange; peers that disagree on them get different keys. */
export function parties({ network }: Meeting, typer: string, shower: string): Uint8Array {
  return lvCat('tombolo pair 2', network, typer, shower)
}

/** Begins a run. `ci` names the parties; both must use the same. */
function newExchange(secret: string, ci: Uint8Array): Exchange {
  const scalar = Point.Fn.create(bytesToNumberLE(crypto.getRandomValues(new Uint8Array(64))))
  return exchangeOf(scalar, generator(secret, ci))
}

export function exchangeOf(scalar: bigint, g: Point): Exchange {
  return { scalar, share: g.multiply(scalar).toBytes().slice() }
}

/** Derives the generator from the secret. */
export function generator(secret: string, ci: Uint8Array, sid = new Uint8Array()): Point {
  const head = lvCat(DSI, secret)
  const padding = new Uint8Array(Math.max(0, BLOCK_BYTES - 1 - head.length))
  return ristretto255_hasher.deriveToCurve!(sha512(join(head, lvCat(padding, ci, sid))))
}

/**
 * Computes the point that both parties reach. Throws if the other's share leads to the neutral element, which would be reached without the
 * secret.
 */
export function pointOf({ scalar }: Exchange, other: Uint8Array): Bytes {
  const point = decode(other)?.multiply(scalar)
  if (point === undefined || point.is0()) throw new Error('not a share of an exchange of keys')
  return point.toBytes().slice()
}

function decode(share: Uint8Array): Point | undefined {
  try {
    return Point.fromBytes(share)
  } catch {
    return undefined // the library's own error is about curves
  }
}

/** Computes the ISK of the draft. The transcript holds the shares of initiator and responder. */
export function keyOf(sid: Uint8Array, point: Uint8Array, transcript: Uint8Array): Bytes {
  return sha512(join(lvCat(`${DSI}_ISK`, sid, point), transcript)).slice()
}

/** What the two parties of a run send each other to prove that their keys are the same. */
export class Proofs {
  readonly #key: Bytes

  constructor(
    point: Uint8Array,
    readonly typer: Uint8Array,
    readonly shower: Uint8Array,
  ) {
    const none = new Uint8Array()
    const key = keyOf(none, point, join(lvCat(typer, none), lvCat(shower, none)))
    this.#key = sha512(join(bytes('CPaceMac'), key)).slice()
  }

  /** Returns the typing peer's proof that it has the code. */
  ofTyper(): Bytes {
    return this.#prove('typed', this.typer, '')
  }

  /** Returns the showing peer's proof that it has the code and shares something under this name. */
  ofShower(name: string): Bytes {
    return this.#prove('shown', this.shower, name)
  }

  #prove(role: string, share: Uint8Array, name: string): Bytes {
    return hmac(sha512, this.#key, lvCat(role, share, name)).slice()
  }
}

/** Compares two proofs in constant time. */
export function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.reduce((differ, byte, i) => differ | (byte ^ b[i]!), 0) === 0
}

/** Concatenates the parts, each preceded by its length as LEB128. */
export function lvCat(...parts: (Uint8Array | string)[]): Bytes {
  return join(
    ...parts.flatMap((part) => {
      const value = typeof part === 'string' ? bytes(part) : part
      return [leb128(value.length), value]
    }),
  )
}

function leb128(n: number): Bytes {
  const out = []
  for (; n > 127; n >>= 7) out.push((n & 127) | 128)
  return Uint8Array.of(...out, n)
}

function join(...parts: Uint8Array[]): Bytes {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}

function bytes(text: string): Bytes {
  return new TextEncoder().encode(text)
}
