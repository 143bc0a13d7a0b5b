// Packs what a test passes to a page, and gets back, through a driver that only carries text. Each function also runs in the page, from its
// source: it uses nothing from its surroundings.

/** Returns a value as text, with the types that structured cloning supports. A function is passed as undefined. */
export function pack(value) {
  const seen = []
  const plain = (v) => {
    if (typeof v === 'function' || typeof v === 'symbol' || v === undefined) return { $: 'undefined' }
    if (typeof v === 'bigint') return { $: 'bigint', of: String(v) }
    if (typeof v === 'number' && !Number.isFinite(v)) return { $: 'number', of: String(v) }
    if (typeof v !== 'object' || v === null) return v
    if (seen.includes(v)) throw new Error('a value that holds itself cannot be handed to or from a page')
    const of = (name) => Object.prototype.toString.call(v) === `[object ${name}]`
    if (of('ArrayBuffer')) return { $: 'buffer', of: [...new Uint8Array(v)] }
    if (ArrayBuffer.isView(v)) return { $: 'bytes', of: [...new Uint8Array(v.buffer, v.byteOffset, v.byteLength)] }
    if (of('Date')) return { $: 'date', of: v.getTime() }
    if (of('Error') || of('DOMException')) return { $: 'error', of: [v.name, v.message] }
    seen.push(v)
    const copy = Array.isArray(v)
      ? v.map(plain)
      : { $: 'object', of: Object.entries(v).map(([key, inner]) => [key, plain(inner)]) }
    seen.pop()
    return copy
  }
  return JSON.stringify(plain(value))
}

export function unpack(text) {
  const made = (v) => {
    if (Array.isArray(v)) return v.map(made)
    if (typeof v !== 'object' || v === null) return v
    switch (v.$) {
      case 'bigint':
        return BigInt(v.of)
      case 'number':
        return Number(v.of)
      case 'buffer':
        return Uint8Array.from(v.of).buffer
      case 'bytes':
        return Uint8Array.from(v.of)
      case 'date':
        return new Date(v.of)
      case 'error':
        return Object.assign(new Error(v.of[1]), { name: v.of[0] })
      case 'object':
        return Object.fromEntries(v.of.map(([key, inner]) => [key, made(inner)]))
      default:
        return undefined
    }
  }
  return made(JSON.parse(text))
}
