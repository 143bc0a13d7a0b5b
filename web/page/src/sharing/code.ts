// A code by which two peers that do not know each other meet. Its first group says where they meet, and is not secret. The other groups are
// the secret of a key exchange, in which each proves to the other that it has the code: see docs/security.md.

/** Leaves out the letters that are easily read as digits. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
/** Characters of a code, and of a group. */
const LENGTH = 9
const GROUP = 3

export interface Meeting {
  /** The type of the messages that the peers exchange. */
  type: string
  /** 30 bits. */
  secret: string
  network: string
}

export function newCode(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(LENGTH)), (byte) => ALPHABET[byte % 32]).join('')
}

/** Formats a code in groups of three, for reading it out. */
export function shownCode(code: string): string {
  return code.match(/.{3}/g)!.join('-')
}

/** Reads a code that a person typed; returns undefined if it cannot be one. */
export function readCode(typed: string): string | undefined {
  const code = typed
    .toUpperCase()
    .replace(/[\s.\-–]/g, '')
    .replace(/O/g, '0')
    .replace(/[IL]/g, '1')
  return code.length === LENGTH && [...code].every((letter) => ALPHABET.includes(letter)) ? code : undefined
}

/** Returns where the peers of a code meet, and the secret that they share. */
export function meeting(code: string, network: string): Meeting {
  return { type: `pair/${code.slice(0, GROUP)}`, secret: code.slice(GROUP), network }
}
