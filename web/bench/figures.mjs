// Turns what the runs measured into lines.

/** What is measured: its unit, and whether more is better. */
const kinds = {
  'node-made': { unit: 'ms', more: false }, // since the navigation began, as is connected
  connected: { unit: 'ms', more: false },
  'echo-p50': { unit: 'us', more: false },
  'echo-p99': { unit: 'us', more: false },
  'streams-in-turn': { unit: '1/s', more: true },
  'streams-100-at-once': { unit: 'ms', more: false },
  upload: { unit: 'MiB/s', more: true },
  download: { unit: 'MiB/s', more: true },
  received: { unit: '1/s', more: true }, // messages of 128 bytes; that none is lost is checked
  'longest-stall': { unit: 'ms', more: false }, // of the main thread, meanwhile
}

/** The figures of every run, by name and side. */
export class Figures {
  #values = new Map()

  add(name, side, value) {
    const sides = this.#values.get(name) ?? this.#values.set(name, {}).get(name)
    ;(sides[side] ??= []).push(value)
  }

  /** `bench <area>/<name> unit=<u> ours=<v> js-libp2p=<v> ratio=<r>`: medians, and a ratio above 1 means ours is better. */
  lines() {
    return [...this.#values].map(([name, sides]) => {
      const { unit, more } = kinds[name.split('/').at(-1)]
      const ours = sides.ours && median(sides.ours)
      const theirs = sides['js-libp2p'] && median(sides['js-libp2p'])
      const words = [`bench ${name}`, `unit=${unit}`]
      if (ours) words.push(`ours=${short(ours)}`)
      if (theirs) words.push(`js-libp2p=${short(theirs)}`)
      if (ours && theirs) words.push(`ratio=${(more ? ours / theirs : theirs / ours).toFixed(2)}`)
      return words.join(' ')
    })
  }
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

const short = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3))
