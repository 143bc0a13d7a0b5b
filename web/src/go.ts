import { webTransport } from './ahead.js'
import { TomboloError } from './errors.js'
import { Rest, type RestFile } from './rest.js'
import { Cipher } from './simd.js'
import { GLOBAL, type Holder, restore, snapshotOf } from './snapshot.js'

/** The class that Go's `wasm_exec.js` defines, as far as it is used here. */
interface Go extends Holder {
  readonly importObject: WebAssembly.Imports & { gojs: Record<string, (sp: number) => void> }
  /** The timers under way. Those of Node.js keep its process from ending. */
  readonly _scheduledTimeouts: Map<number, { ref?(): void; unref?(): void }>
  exit: (code: number) => void
  run(instance: WebAssembly.Instance): Promise<void>
  _resume: () => void
}
export type GoClass = new () => Go
type Glue = (names: Record<string, unknown>) => GoClass

type Globals = Record<string, unknown>

const MAX_OUTPUT = 4096

/** Told once, when a program ends. It never ends by itself. */
export type OnEnd = (why: TomboloError) => void

/**
 * What `wasm_exec.js`, Go's own packages and this module need of the platform, as it was when the module was loaded. What a page does to
 * these globals later, such as a test's fake timers, does not reach a program.
 */
const { Array, Date, Object, TextDecoder, TextEncoder, Uint8Array, crypto } = globalThis
const PLATFORM = {
  Array,
  Date,
  Object,
  TextDecoder,
  TextEncoder,
  Uint8Array,
  clearTimeout: globalThis.clearTimeout.bind(globalThis),
  crypto,
  performance: clock(),
  setTimeout: globalThis.setTimeout.bind(globalThis),
}

let loading: Promise<Glue> | undefined

/**
 * Imports `wasm_exec.js`, which must be the one of the toolchain that built the program. May be called early, while the program is
 * still on its way.
 */
export function importGo(): Promise<Glue> {
  loading ??= import('./wasm_exec.js').then(
    (module) => module.default,
    (cause: unknown) => {
      loading = undefined
      throw new TomboloError('wasm-unreachable', `wasm_exec.js could not be loaded: ${String(cause)}`, { cause })
    },
  )
  return loading
}

/** A Go program that has been started. */
export interface Started {
  /** The global of the name that was asked for. */
  readonly value: unknown
  readonly rest: Rest
  /** Whether a process of Node.js is kept from ending by the program's timers. It is not at first. */
  keepAlive(on: boolean): void
}

/**
 * Starts a Go program, and takes the global of the given name that it sets. It is not set in the page, nor is any other: the program
 * sees globals of its own, whatever the page has under their names.
 */
export async function startGo(
  module: WebAssembly.Module,
  name: string,
  onEnd: OnEnd,
  restFile?: RestFile,
): Promise<Started> {
  const glue = await importGo()
  const globals: Globals = { ...PLATFORM, ...webTransport() }
  let kept = false
  const setTimeout = (f: () => void, ms: number) => {
    const timer: number | NodeJS.Timeout = PLATFORM.setTimeout(f, ms)
    if (!kept && typeof timer === 'object') timer.unref()
    return timer
  }
  const Go = glue({ ...PLATFORM, setTimeout, globalThis: globals })
  const go = new Go()
  const output = captureOutput(go)
  shield(go, globals)
  const end = once((why: string) => onEnd(new TomboloError('crashed', `the program of the node ended: ${why}`)))
  go.exit = (code) => end(firstLine(output()) || `exit code ${code}`)
  endOnTrap(go, end)
  const rest = new Rest(module, restFile)
  const cipher = new Cipher()
  const imports = { ...go.importObject, rest: rest.imports, chachapoly: cipher.imports }
  const instance = await instantiate(module, imports)
  cipher.join(module, instance)
  await rest.join(instance, imports)

  let failure: unknown
  const begin = async () => {
    const snapshot = snapshotOf(module)
    if (snapshot === undefined) return go.run(instance)
    restore(go, instance, snapshot, globals)
  }
  begin().catch((cause: unknown) => end(String((failure = cause))))
  const value = globals[name]
  if (value === undefined) {
    await Promise.resolve() // lets `failure` arrive
    const why = firstLine(output()) || (failure === undefined ? 'it started, but set nothing' : String(failure))
    throw new TomboloError('wasm-invalid', `the program did not set globalThis.${name}: ${why}`)
  }
  const keepAlive = (on: boolean) => {
    kept = on
    for (const timer of go._scheduledTimeouts.values())
      if (on) timer.ref?.()
      else timer.unref?.()
  }
  return { value, keepAlive, rest }
}

async function instantiate(module: WebAssembly.Module, imports: WebAssembly.Imports): Promise<WebAssembly.Instance> {
  try {
    return await WebAssembly.instantiate(module, imports)
  } catch (cause) {
    const hint = 'is it a Go program, built by the toolchain that wasm_exec.js is from?'
    throw new TomboloError('wasm-invalid', `the program cannot be started (${hint}): ${String(cause)}`, { cause })
  }
}

/**
 * Leads the program to `globals` where it asks the global object for a name that is there, and with all that it sets. `wasm_exec.js` takes
 * `globals` for the global object itself, which has to be the platform's in all else: its methods work on no other.
 */
function shield(go: Go, globals: Globals): void {
  const { gojs } = go.importObject
  const lead = (method: string, applies: (name: string) => boolean) => {
    const original = gojs[method]!
    gojs[method] = (sp) => {
      const at = sp >>> 0
      if (go.mem.getUint32(at + 8, true) !== GLOBAL || !isReference(go, at + 8)) return original(sp)
      go._values![GLOBAL] = applies(text(go, at + 16)) ? globals : globalThis
      try {
        original(sp)
      } finally {
        if (go._values !== undefined) go._values[GLOBAL] = globalThis
      }
    }
  }
  lead('syscall/js.valueGet', (name) => Object.hasOwn(globals, name))
  lead('syscall/js.valueSet', () => true)
}

/** Whether a value of the program is the number of one in JavaScript, and not a number itself. */
function isReference(go: Go, at: number): boolean {
  return (go.mem.getUint32(at + 4, true) & 0x7ff80000) === 0x7ff80000
}

function text(go: Go, at: number): string {
  return new TextDecoder().decode(bytesAt(go, at, Number(go.mem.getBigInt64(at + 8, true))))
}

/** Bytes of the program's memory at a pointer. */
function bytesAt(go: Go, pointer: number, length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(go.mem.buffer as ArrayBuffer, Number(go.mem.getBigInt64(pointer, true)), length)
}

/** The clock of the platform, or one that stands in where a page has put something else in its place. It never goes back. */
function clock(): { now(): number } {
  const platform: unknown = globalThis.performance
  if (typeof (platform as Performance | undefined)?.now === 'function') return platform as Performance
  let last = 0
  return { now: () => (last = Math.max(last, Date.now())) }
}

/**
 * Takes what the Go runtime itself writes (a panic and its stack), prints it to the console, and keeps the beginning.
 * The program's own standard output does not come this way.
 */
function captureOutput(go: Go): () => string {
  const decoder = new TextDecoder()
  let kept = ''
  let line = ''
  go.importObject.gojs['runtime.wasmWrite'] = (sp) => {
    sp >>>= 0
    const written = decoder.decode(bytesAt(go, sp + 16, go.mem.getInt32(sp + 24, true)), { stream: true })
    if (kept.length < MAX_OUTPUT) kept += written
    line += written
    const end = line.lastIndexOf('\n')
    if (end < 0) return
    console.error(line.slice(0, end))
    line = line.slice(end + 1)
  }
  return () => kept
}

/**
 * Makes a trap (out of stack) the end of the program, since the program cannot continue after it; callbacks and
 * timers that come after an end of whatever kind do nothing.
 */
function endOnTrap(go: Go, end: (why: string) => void): void {
  let gone = false
  const exit = go.exit
  const over = () => {
    gone = true
    // wasm_exec.js would ask such a timer's program again and again why it does not take it.
    for (const timer of go._scheduledTimeouts.values()) PLATFORM.clearTimeout(timer as number)
    go._scheduledTimeouts.clear()
  }
  const resume = go._resume.bind(go)
  go.exit = (code) => {
    over()
    exit(code)
  }
  go._resume = () => {
    if (gone) return
    try {
      resume()
    } catch (cause) {
      if (gone) return // it ended further down, and wasm_exec.js stumbles over that on its way back
      const ends = [WebAssembly.RuntimeError, RangeError, TomboloError] // the last, where the rest of it cannot be had
      if (!ends.some((end) => cause instanceof end)) throw cause
      over()
      end(cause instanceof TomboloError ? cause.message : String(cause))
    }
  }
}

function once<A>(f: (a: A) => void): (a: A) => void {
  let done = false
  return (a) => {
    if (done) return
    done = true
    f(a)
  }
}

function firstLine(text: string): string {
  return text.trimStart().split('\n', 1)[0] ?? ''
}
