// A code by which two peers that do not know each other meet. Both derive from it the type of messages on which they meet, and a key with
// which each proves to the other that it has the code: see docs/security.md.

/** Without the letters that are read as digits. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
/** 45 bits. */
const LENGTH = 9
const ROUNDS = 600_000
const TYPE_BYTES = 16
const KEY_BYTES = 32
/** Of a proof, which is an HMAC with SHA-256. */
export const PROOF_BYTES = 32

export interface Meeting {
  /** The type of messages. */
  type: string
  key: CryptoKey
}

export function newCode(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(LENGTH)), (byte) => ALPHABET[byte % 32]).join('')
}

/** In groups of three, as it is read and said. */
export function shownCode(code: string): string {
  return code.match(/.{3}/g)!.join('-')
}

/** Reads what a person has typed; undefined if it cannot be a code. */
export function readCode(typed: string): string | undefined {
  const code = typed
    .toUpperCase()
    .replace(/[\s.\-–]/g, '')
    .replace(/O/g, '0')
    .replace(/[IL]/g, '1')
  return code.length === LENGTH && [...code].every((letter) => ALPHABET.includes(letter)) ? code : undefined
}

/** It is slow, so that whoever sees the type cannot try codes while this one holds. */
export async function meeting(code: string, network: string): Promise<Meeting> {
  const secret = await crypto.subtle.importKey('raw', bytes(code), 'PBKDF2', false, ['deriveBits'])
  const salt = bytes(`tombolo pair 1 ${network}`)
  const how = { name: 'PBKDF2', hash: 'SHA-256', salt, iterations: ROUNDS }
  const bits = new Uint8Array(await crypto.subtle.deriveBits(how, secret, 8 * (TYPE_BYTES + KEY_BYTES)))
  const type = Array.from(bits.subarray(0, TYPE_BYTES), (byte) => byte.toString(16).padStart(2, '0')).join('')
  const hmac = { name: 'HMAC', hash: 'SHA-256' }
  const key = await crypto.subtle.importKey('raw', bits.subarray(TYPE_BYTES), hmac, false, ['sign', 'verify'])
  return { type: `pair/${type}`, key }
}

/** What is proved: who has typed the code, who shows it, and, by the one who shows it, the name of what it shares. */
export type Claim = ['typed', typer: string, shower: string] | ['shown', typer: string, shower: string, name: string]

export async function prove({ key }: Meeting, claim: Claim): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, bytes(claim.join(' '))))
}

export function proves({ key }: Meeting, proof: Uint8Array, claim: Claim): Promise<boolean> {
  return crypto.subtle.verify('HMAC', key, proof.slice(), bytes(claim.join(' ')))
}

function bytes(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text)
}
