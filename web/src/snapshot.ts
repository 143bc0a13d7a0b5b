/** Programs that start from a snapshot made at build time, not from the beginning: see `wasm/internal/link`. */
import { TomboloError } from './errors.js'

/** The part of Go's `wasm_exec.js` that keeps a program's JavaScript values. */
export interface Holder {
  mem: DataView
  exited: boolean
  _inst: WebAssembly.Instance
  /** The JavaScript values of the program, by number. Undefined after the program has ended. */
  _values?: unknown[]
  _goRefCounts: number[]
  _ids: Map<unknown, number>
  _idPool: number[]
}

/** Tells how to restore a value: as it is, as another value, or by repeating what the program did. */
type How = number | { value?: unknown } | [step: 'get', of: How, name: string] | Call | Make
type Call = [step: 'call', of: How, name: string, args: How[]]
type Make = [step: 'new', what: How, properties: [string, How][]]

interface Snapshot {
  /** Each with its number, the count of references from Go, and how to restore it. */
  values: [number, number, How][]
  /** The globals that the program has set. */
  globals: [string, How][]
  /** The numbers that are free. */
  free: number[]
}

const SECTION = 'tombolo.snapshot'
/** The number of the global object among a program's values. */
export const GLOBAL = 5

/** Returns the snapshot of a program: the JavaScript values that it needs. Undefined if it starts from the beginning. */
export function snapshotOf(module: WebAssembly.Module): Snapshot | undefined {
  const [section] = WebAssembly.Module.customSections(module, SECTION)
  return section && (JSON.parse(new TextDecoder().decode(section)) as Snapshot)
}

/** Restores the JavaScript values of a program, and gives it fresh randomness. `globals` are the globals that it sees. */
export function restore(
  go: Holder,
  instance: WebAssembly.Instance,
  { values, globals: set, free }: Snapshot,
  globals: Record<string, unknown>,
): void {
  const { mem, reseed } = instance.exports as { mem: WebAssembly.Memory; reseed(): void }
  const fixed: unknown[] = [NaN, 0, null, true, false, globalThis, go]
  const had = [...fixed]
  const get = (of: unknown, name: string) =>
    (of === globalThis && Object.hasOwn(globals, name) ? globals : (of as Record<string, unknown>))[name]
  const have = (how: How): unknown => {
    if (typeof how === 'number') return had[how]
    if (!Array.isArray(how)) return how.value
    const of = have(how[1])
    if (how[0] === 'get') return get(of, how[2])
    if (how[0] === 'call') return (of as Record<string, (...args: unknown[]) => unknown>)[how[2]]!(...how[3].map(have))
    return Object.assign(new (of as new () => object)(), Object.fromEntries(how[2].map(([k, v]) => [k, have(v)])))
  }
  const hows = new Map(values.map(([id, , how]) => [id, how]))
  // A value may depend on one that comes after it.
  const take = (id: number): unknown => {
    const how = hows.get(id)
    if (how === undefined) return had[id]
    hows.delete(id)
    numbersIn(how).forEach(take)
    return (had[id] = have(how))
  }

  go._inst = instance
  go.mem = new DataView(mem.buffer)
  go._goRefCounts = fixed.map(() => Infinity)
  for (const [id, refs] of values) {
    take(id)
    go._goRefCounts[id] = refs
  }
  go._values = had
  go._ids = new Map()
  had.forEach((value, id) => id > 0 && go._ids.set(value, id)) // skips the numbers that are free
  go._idPool = free
  go.exited = false
  for (const [name, how] of set) globals[name] = have(how)
  const missing = values.find(([id]) => had[id] === undefined)
  if (missing)
    throw new TomboloError('unsupported', `this platform lacks what the program needs: ${JSON.stringify(missing[2])}`)
  reseed()
}

function numbersIn(how: How): number[] {
  if (typeof how === 'number') return [how]
  if (!Array.isArray(how)) return []
  const parts = how[0] === 'call' ? how[3] : how[0] === 'new' ? how[2].map(([, part]) => part) : []
  return [how[1], ...parts].flatMap(numbersIn)
}
