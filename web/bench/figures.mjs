// Formats the figures of the runs as lines.

/** The figures: the unit of each, and whether more is better. */
const kinds = {
  'node-made': { unit: 'ms', more: false }, // from the start of the navigation, like the next two; see start.mjs
  connected: { unit: 'ms', more: false },
  reserved: { unit: 'ms', more: false },
  fetched: { unit: 'MB', more: false }, // until the node was connected, compressed
  'renderer-memory': { unit: 'MiB', more: false }, // proportional set size
  'linear-memory': { unit: 'MiB', more: false },
  'renderer-memory-early': { unit: 'MiB', more: false }, // of an hour; see soak.mjs
  'renderer-memory-late': { unit: 'MiB', more: false },
  'linear-memory-early': { unit: 'MiB', more: false },
  'linear-memory-late': { unit: 'MiB', more: false },
  'echo-p50': { unit: 'us', more: false },
  'echo-p99': { unit: 'us', more: false },
  'direct-after': { unit: 'ms', more: false }, // from the circuit to the direct connection
  'streams-in-turn': { unit: '1/s', more: true },
  'streams-100-at-once': { unit: 'ms', more: false },
  upload: { unit: 'MiB/s', more: true },
  download: { unit: 'MiB/s', more: true },
  received: { unit: '1/s', more: true }, // messages of 128 bytes; the run checks that none is lost
  pull: { unit: 'MiB/s', more: true }, // by a TCP client, through a native node, from a service in the tab
  push: { unit: 'MiB/s', more: true },
  'tick-p99': { unit: 'ms', more: false }, // of a room in the tab, since the room began
  'input-to-seen-p99': { unit: 'ms', more: false }, // from an input until its player learns that it was applied
  seated: { unit: 'players', more: true }, // at the end
  players: { unit: 'players', more: true }, // the most for which a room ran as it should
  'in-sight': { unit: 'things', more: true }, // of a world, in the middle of the frames
  'draw-p50': { unit: 'ms', more: false }, // to draw one frame of the world
  'draw-p99': { unit: 'ms', more: false },
  'frame-p50': { unit: 'ms', more: false }, // from one frame to the next; 16.7 is the minimum
  'frame-p99': { unit: 'ms', more: false },
  'longest-task': { unit: 'ms', more: false }, // of the main thread; 0 if none took 50 ms
  'longest-stall': { unit: 'ms', more: false }, // of the main thread, during the measurement
}

/** The figures of every run, by name and side. */
export class Figures {
  #values = new Map()

  add(name, side, value) {
    const sides = this.#values.get(name) ?? this.#values.set(name, {}).get(name)
    ;(sides[side] ??= []).push(value)
  }

  /** `bench <area>/<name> unit=<u> ours=<v> <peer>=<v> … ratio=<r>`: medians; the ratio is to the first peer, and above 1 ours is better. */
  lines() {
    return [...this.#values].map(([name, sides]) => {
      const { unit, more } = kinds[name.split('/').at(-1)]
      const medians = ['ours', 'raw-tcp', 'raw-channel', 'js-libp2p', 'circuit', 'none', 'shared'].flatMap((side) =>
        sides[side] ? [[side, median(sides[side])]] : [],
      )
      const words = [`bench ${name}`, `unit=${unit}`, ...medians.map(([side, value]) => `${side}=${short(value)}`)]
      const [[first, ours] = [], [, theirs] = []] = medians
      if (first === 'ours' && theirs) words.push(`ratio=${(more ? ours / theirs : theirs / ours).toFixed(2)}`)
      return words.join(' ')
    })
  }
}

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

const short = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3))
