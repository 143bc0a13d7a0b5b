// A code by which two peers that do not know each other meet. Its first group says where, and everybody may see it; the others are the secret
// of a key exchange, with which each proves to the other that it has the code: see docs/security.md.

/** Without the letters that are read as digits. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
/** Characters of a code, and of a group. */
const LENGTH = 9
const GROUP = 3

export interface Meeting {
  /** The type of messages. */
  type: string
  /** 30 bits. */
  secret: string
  network: string
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

/** Where the peers of a code meet, and what they have in common. */
export function meeting(code: string, network: string): Meeting {
  return { type: `pair/${code.slice(0, GROUP)}`, secret: code.slice(GROUP), network }
}
