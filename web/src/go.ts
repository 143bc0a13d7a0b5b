import { webTransport } from './ahead.js'
import { TomboloError } from './errors.js'
import { Rest, type RestFile } from './rest.js'
import { Cipher } from './simd.js'
import { GLOBAL, type Holder, restore, snapshotOf } from './snapshot.js'

/** The class that Go's `wasm_exec.js` defines, with the members that are used here. */
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

/** Called once, when a program ends. A program never ends by itself. */
export type OnEnd = (why: TomboloError) => void

/**
 * The platform's globals that `wasm_exec.js`, Go's own packages and this module need, as they were when the module was loaded. If a page
 * replaces them later, for example with a test's fake timers, the program does not see that.
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
 * Imports `wasm_exec.js`, which must come from the toolchain that built the program. May be called early, while the program is still on
 * its way.
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
  /** The global that the program set under the requested name. */
  readonly value: unknown
  readonly rest: Rest
  /** Sets whether the program's timers keep a Node.js process from ending. At first they do not. */
  keepAlive(on: boolean): void
}

/**
 * Starts a Go program, and returns the global that it sets under the given name. The program has globals of its own: what it sets does not
 * appear in the page, and what the page has under these names does not reach the program.
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
 * Redirects the program to `globals` when it reads a name of the global object that is in `globals`, and whenever it sets a global.
 * `wasm_exec.js` takes `globals` for the global object itself. For everything else that must be the platform's, because its methods work on
 * no other object.
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

/** Reports whether a value in the program's memory refers to a JavaScript value, and is not a number itself. */
function isReference(go: Go, at: number): boolean {
  return (go.mem.getUint32(at + 4, true) & 0x7ff80000) === 0x7ff80000
}

function text(go: Go, at: number): string {
  return new TextDecoder().decode(bytesAt(go, at, Number(go.mem.getBigInt64(at + 8, true))))
}

/** Returns the bytes of the program's memory at a pointer. */
function bytesAt(go: Go, pointer: number, length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(go.mem.buffer as ArrayBuffer, Number(go.mem.getBigInt64(pointer, true)), length)
}

/** Returns the platform's clock, or a substitute if a page has replaced it by something else. It never goes back. */
function clock(): { now(): number } {
  const platform: unknown = globalThis.performance
  if (typeof (platform as Performance | undefined)?.now === 'function') return platform as Performance
  let last = 0
  return { now: () => (last = Math.max(last, Date.now())) }
}

/**
 * Captures what the Go runtime itself writes (a panic and its stack), prints it to the console, and keeps the beginning. The program's own
 * standard output takes another path.
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
 * Ends the program after a trap (such as out of stack), because it cannot continue. After any end, later callbacks and timers do nothing.
 */
function endOnTrap(go: Go, end: (why: string) => void): void {
  let gone = false
  const exit = go.exit
  const over = () => {
    gone = true
    // Otherwise wasm_exec.js would resume the program again and again until it handles the timer.
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
      if (gone) return // the program ended further down the stack, which makes wasm_exec.js fail on its way back
      const ends = [WebAssembly.RuntimeError, RangeError, TomboloError] // the last one if its second file cannot be loaded
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
