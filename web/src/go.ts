import { TomboloError } from './errors.js'

/** The class that Go's `wasm_exec.js` defines, as far as it is used here. */
interface Go {
  readonly importObject: WebAssembly.Imports & { gojs: Record<string, (sp: number) => void> }
  /** A view of the program's memory. */
  readonly mem: DataView
  exit: (code: number) => void
  run(instance: WebAssembly.Instance): Promise<void>
  _resume: () => void
}
type GoClass = new () => Go

type Globals = Record<string, unknown>

/** What `wasm_exec.js` sets where it is missing, and what the program looks for when it starts. */
const LENT = ['fs', 'process', 'path'] as const
const MAX_OUTPUT = 4096

/** Told once, when a program ends. It never ends by itself. */
export type OnEnd = (why: TomboloError) => void

let loading: Promise<{ Go: GoClass; lent: Globals }> | undefined

/**
 * Imports `wasm_exec.js`, which must be the one of the toolchain that built the program, and puts the globals back as
 * they were. Returns what it had set. May be called early, while the program is still on its way.
 */
export function importGo(): Promise<{ Go: GoClass; lent: Globals }> {
  loading ??= (async () => {
    const giveBack = keepGlobals(['Go', ...LENT])
    try {
      await import('./wasm_exec.js')
      const { Go, ...lent } = giveBack()
      return { Go: Go as GoClass, lent }
    } catch (cause) {
      giveBack()
      loading = undefined
      throw new TomboloError('wasm-unreachable', `wasm_exec.js could not be loaded: ${String(cause)}`, { cause })
    }
  })()
  return loading
}

/**
 * Starts a Go program and returns the global of the given name that it sets. That global, and those that Go needs while
 * it starts, are gone when this returns.
 */
export async function startGo(module: WebAssembly.Module, name: string, onEnd: OnEnd): Promise<unknown> {
  const { Go, lent } = await importGo()
  const go = new Go()
  const output = captureOutput(go)
  const end = once((why: string) => onEnd(new TomboloError('crashed', `the program of the node ended: ${why}`)))
  go.exit = (code) => end(firstLine(output()) || `exit code ${code}`)
  endOnTrap(go, end)
  const instance = await instantiate(module, go)

  const globals = globalThis as unknown as Globals
  const giveBack = keepGlobals([name, ...LENT])
  let failure: unknown
  let value: unknown
  try {
    for (const key of LENT) globals[key] ??= lent[key]
    go.run(instance).catch((cause: unknown) => end(String((failure = cause))))
    value = globals[name]
  } finally {
    giveBack()
  }
  if (value === undefined) {
    await Promise.resolve() // lets `failure` arrive
    const why = firstLine(output()) || (failure === undefined ? 'it started, but set nothing' : String(failure))
    throw new TomboloError('wasm-invalid', `the program did not set globalThis.${name}: ${why}`)
  }
  return value
}

async function instantiate(module: WebAssembly.Module, go: Go): Promise<WebAssembly.Instance> {
  try {
    return await WebAssembly.instantiate(module, go.importObject)
  } catch (cause) {
    const hint = 'is it a Go program, built by the toolchain that wasm_exec.js is from?'
    throw new TomboloError('wasm-invalid', `the program cannot be started (${hint}): ${String(cause)}`, { cause })
  }
}

/** Remembers globals; the returned function puts them back and returns what they were just before. */
function keepGlobals(names: readonly string[]): () => Globals {
  const before = names.map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)] as const)
  return () => {
    const found: Globals = {}
    for (const [name, descriptor] of before) {
      found[name] = (globalThis as unknown as Globals)[name]
      if (descriptor !== undefined) Object.defineProperty(globalThis, name, descriptor)
      else delete (globalThis as unknown as Globals)[name]
    }
    return found
  }
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
    const at = Number(go.mem.getBigInt64(sp + 16, true))
    const text = decoder.decode(new Uint8Array(go.mem.buffer, at, go.mem.getInt32(sp + 24, true)), { stream: true })
    if (kept.length < MAX_OUTPUT) kept += text
    line += text
    const end = line.lastIndexOf('\n')
    if (end < 0) return
    console.error(line.slice(0, end))
    line = line.slice(end + 1)
  }
  return () => kept
}

/**
 * Makes a trap (out of stack) the end of the program, since it leaves the program in no state to go on; callbacks that come
 * after an end of whatever kind do nothing.
 */
function endOnTrap(go: Go, end: (why: string) => void): void {
  let gone = false
  const resume = go._resume.bind(go)
  const exit = go.exit
  go.exit = (code) => {
    gone = true
    exit(code)
  }
  go._resume = () => {
    if (gone) return
    try {
      resume()
    } catch (cause) {
      if (gone) return // it ended further down, and wasm_exec.js stumbles over that on its way back
      if (!(cause instanceof WebAssembly.RuntimeError || cause instanceof RangeError)) throw cause
      gone = true
      end(String(cause))
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
