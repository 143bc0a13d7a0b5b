import { TomboloError } from './errors.js'
import { importGo } from './go.js'
import { Program } from './program.js'
import type { RestFile } from './rest.js'
import type { LoadProgress } from './types.js'
import { isModule } from './values.js'

export type WasmSource = string | URL | WebAssembly.Module
export type OnProgress = (progress: LoadProgress) => void

/** How a platform turns the address of the program into a compiled module. */
export type Compile = (url: URL, onProgress: OnProgress | undefined) => Promise<WebAssembly.Module>

export interface Platform {
  readonly compile: Compile
  /** The same while the program waits. Where that cannot be, a program does not begin before the rest of it is there. */
  readonly compileNow?: (url: URL) => WebAssembly.Module
  /** Whether what a program has not begun with is fetched before it is wanted. */
  readonly ahead?: boolean
}

/** Where a program is: the file that it begins with, or what that was compiled to, and the file with the rest of it. */
export interface Files {
  readonly program: string | WebAssembly.Module
  readonly rest: string
}

/** The files of a program that is not where it is by default. What it has beside it is in `rest`, unless that is given. */
export function filesOf(byDefault: Files, wasm?: WasmSource, rest?: string | URL): Files {
  const program = wasm === undefined || isModule(wasm) ? (wasm ?? byDefault.program) : absolute(wasm).href
  const beside = wasm === undefined || isModule(wasm) ? byDefault.rest : restBeside(program as string)
  return { program, rest: rest === undefined ? beside : absolute(rest, 'wasmRest').href }
}

/** `tombolo.rest.wasm` of `tombolo.wasm`. */
function restBeside(program: string): string {
  const url = new URL(program)
  url.pathname = url.pathname.replace(/(\.wasm)?$/, '.rest.wasm')
  return url.href
}

interface Loading {
  module: Promise<WebAssembly.Module>
  listeners: Set<OnProgress>
}

/** Modules by their address. */
const modules = new Map<string, Loading>()

/** Programs by address or module. One program serves all nodes that are made from it. */
const programs = new Map<string | WebAssembly.Module, Promise<Program>>()

/** Loads and compiles a program, or finds it. One that could not be loaded is loaded anew. */
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
  listeners.add(onProgress)
  return module.finally(() => listeners.delete(onProgress))
}

/** Loads and starts a program, or finds the one that is there. A program that failed or ended is started anew. */
export async function loadProgram(files: Files, platform: Platform, onProgress?: OnProgress): Promise<Program> {
  const key = files.program
  const module = loadModule(key, platform.compile, onProgress)
  const there = programs.get(key)
  if (there !== undefined) {
    await module
    return there
  }
  importGo().catch(() => {}) // so that it is there when the program is; a failure is told when it starts
  const program = module.then((m) => Program.start(m, restFile(files, platform)))
  programs.set(key, program)
  const forget = () => {
    if (programs.get(key) === program) programs.delete(key)
  }
  program.then(({ ended }) => ended.addEventListener('abort', forget), forget)
  return program
}

/** How the rest of a program is had on a platform. */
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

/** The address of a program, if it is one. */
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

/** Compiles, and says in plain words what is wrong when the bytes are not a program. */
export async function compiled(compiling: Promise<WebAssembly.Module>, what: string): Promise<WebAssembly.Module> {
  try {
    return await compiling
  } catch (cause) {
    throw explained(cause, what)
  }
}

/** The same for what is compiled while the caller waits. */
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
