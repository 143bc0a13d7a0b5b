import { TomboloError } from './errors.js'
import { importGo } from './go.js'
import { Program } from './program.js'
import type { RestFile } from './rest.js'
import type { LoadProgress } from './types.js'
import { isModule } from './values.js'

export type WasmSource = string | URL | WebAssembly.Module
export type OnProgress = (progress: LoadProgress) => void

/** Loads and compiles the program at an address. */
export type Compile = (url: URL, onProgress: OnProgress | undefined) => Promise<WebAssembly.Module>

export interface Platform {
  readonly compile: Compile
  /** Like `compile`, but blocks. Without it, a program does not start before its second file is loaded. */
  readonly compileNow?: (url: URL) => WebAssembly.Module
  /** Whether the second file of a program is fetched before it is needed. */
  readonly ahead?: boolean
}

/** The two files of a program: the first one, or the module that it was compiled to, and the one with the rest. */
export interface Files {
  readonly program: string | WebAssembly.Module
  readonly rest: string
}

/** Returns the files of a program, given the options. Unless `rest` is given, the second file is beside the first one. */
export function filesOf(byDefault: Files, wasm?: WasmSource, rest?: string | URL): Files {
  const program = wasm === undefined || isModule(wasm) ? (wasm ?? byDefault.program) : absolute(wasm).href
  const beside = wasm === undefined || isModule(wasm) ? byDefault.rest : restBeside(program as string)
  return { program, rest: rest === undefined ? beside : absolute(rest, 'wasmRest').href }
}

/** Returns the address of `tombolo.rest.wasm` beside `tombolo.wasm`. */
function restBeside(program: string): string {
  const url = new URL(program)
  url.pathname = url.pathname.replace(/(\.wasm)?$/, '.rest.wasm')
  return url.href
}

interface Loading {
  module: Promise<WebAssembly.Module>
  listeners: Set<OnProgress>
}

/** Modules that are loaded or being loaded, by address. */
const modules = new Map<string, Loading>()

/** Programs by address or module. One program serves all nodes that are made from it. */
const programs = new Map<string | WebAssembly.Module, Promise<Program>>()

/** Loads and compiles a program, unless that was done or is under way. After a failure, it tries again. */
export async function loadModule(
  wasm: WasmSource,
  compile: Compile,
  onProgress?: OnProgress,
): Promise<WebAssembly.Module> {
  assertPlatform()
  if (isModule(wasm)) return wasm
  const url = absolute(wasm)
  const { listeners, module } = modules.get(url.href) ?? begin(url, compile, onProgress !== undefined)
  if (onProgress === undefined) return module
  const listener = apart(onProgress)
  listeners.add(listener)
  return module.finally(() => listeners.delete(listener))
}

/** Returns a listener that reports what `onProgress` throws: it is neither a failure of the load, nor one of its other callers. */
export function apart(onProgress: OnProgress): OnProgress {
  return (progress) => {
    try {
      onProgress(progress)
    } catch (error) {
      if (typeof reportError === 'function') reportError(error)
      else console.error(error) // Node.js has no reportError
    }
  }
}

/** Loads and starts a program, or returns the one that runs already. A program that failed or ended is started anew. */
export async function loadProgram(files: Files, platform: Platform, onProgress?: OnProgress): Promise<Program> {
  const key = files.program
  const module = loadModule(key, platform.compile, onProgress)
  const there = programs.get(key)
  if (there !== undefined) {
    await module
    return there
  }
  importGo().catch(() => {}) // so that it is loaded when the program is; a failure is reported when that starts
  const program = module.then((m) => Program.start(m, restFile(files, platform)))
  programs.set(key, program)
  const forget = () => {
    if (programs.get(key) === program) programs.delete(key)
  }
  program.then(({ ended }) => ended.addEventListener('abort', forget), forget)
  return program
}

/** Describes how to load the second file of a program on a platform. */
export function restFile({ rest }: Files, platform: Platform): RestFile {
  return { ...platform, url: new URL(rest) }
}

function begin(url: URL, compile: Compile, watched: boolean): Loading {
  const listeners = new Set<OnProgress>()
  const tell: OnProgress = (progress) => listeners.forEach((listener) => listener(progress))
  const module = compile(url, watched ? tell : undefined)
  module.catch(() => modules.delete(url.href))
  const loading = { listeners, module }
  modules.set(url.href, loading)
  return loading
}

/** Resolves the address of a program. Throws if it is not one. */
export function absolute(wasm: string | URL, option = 'wasm'): URL {
  try {
    return new URL(wasm, globalThis.location?.href)
  } catch (cause) {
    throw new TomboloError('option', `${option}: ${JSON.stringify(String(wasm))} is not an absolute address`, { cause })
  }
}

function assertPlatform(): void {
  const needed: [string, unknown][] = [
    ['WebAssembly', globalThis.WebAssembly?.compile],
    ['BigInt', globalThis.BigInt],
    ['crypto.getRandomValues', globalThis.crypto?.getRandomValues],
    ['ReadableStream', globalThis.ReadableStream],
    ['WritableStream', globalThis.WritableStream],
    ['WebSocket or WebTransport', globalThis.WebSocket ?? (globalThis as { WebTransport?: unknown }).WebTransport],
  ]
  const missing = needed.filter(([, value]) => value === undefined).map(([name]) => name)
  if (missing.length === 0) return
  const hint =
    'process' in globalThis ? ' (Node.js has WebSocket since 22; 20 and 21 need --experimental-websocket)' : ''
  throw new TomboloError('unsupported', `this platform has no ${missing.join(', no ')}${hint}`)
}

/** Waits for the module, and explains in plain words what is wrong if the bytes are not a program. */
export async function compiled(compiling: Promise<WebAssembly.Module>, what: string): Promise<WebAssembly.Module> {
  try {
    return await compiling
  } catch (cause) {
    throw explained(cause, what)
  }
}

/** Does the same for a module that is compiled while the caller blocks. */
export function compiledNow(compile: () => WebAssembly.Module, what: string): WebAssembly.Module {
  try {
    return compile()
  } catch (cause) {
    throw explained(cause, what)
  }
}

function explained(cause: unknown, what: string): unknown {
  if (/content.security.policy|unsafe-eval/i.test(String(cause))) {
    const hint = "its Content-Security-Policy must have script-src 'wasm-unsafe-eval'"
    return new TomboloError('unsupported', `the page may not run WebAssembly: ${hint} (${String(cause)})`, { cause })
  }
  if (cause instanceof WebAssembly.CompileError) {
    return new TomboloError('wasm-invalid', `${what} is not a valid WebAssembly program: ${cause.message}`, { cause })
  }
  return cause
}
