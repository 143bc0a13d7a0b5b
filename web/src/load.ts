import { TomboloError } from './errors.js'
import { importGo } from './go.js'
import { Program } from './program.js'
import type { LoadProgress } from './types.js'

export type WasmSource = string | URL | WebAssembly.Module
export type OnProgress = (progress: LoadProgress) => void

/** How a platform turns the address of the program into a compiled module. */
export type Compile = (url: URL, onProgress: OnProgress | undefined) => Promise<WebAssembly.Module>

interface Loading {
  program: Promise<Program>
  listeners: Set<OnProgress>
}

/** Programs by address or module. One program serves all nodes that are made from it. */
const programs = new Map<string | WebAssembly.Module, Loading>()

/** Loads and starts a program, or finds the one that is there. A program that failed or ended is loaded anew. */
export async function loadProgram(wasm: WasmSource, compile: Compile, onProgress?: OnProgress): Promise<Program> {
  assertPlatform()
  const source = wasm instanceof WebAssembly.Module ? wasm : absolute(wasm)
  const key = source instanceof URL ? source.href : source
  let loading = programs.get(key)
  if (loading === undefined) {
    loading = begin(source, compile, onProgress !== undefined)
    programs.set(key, loading)
    forgetWhenOver(key, loading)
  }
  const { listeners, program } = loading
  if (onProgress === undefined) return program
  listeners.add(onProgress)
  return program.finally(() => listeners.delete(onProgress))
}

function begin(source: URL | WebAssembly.Module, compile: Compile, watched: boolean): Loading {
  const listeners = new Set<OnProgress>()
  importGo().catch(() => {}) // so that it is there when the program is; a failure is told when it starts
  const tell: OnProgress = (progress) => listeners.forEach((listener) => listener(progress))
  const module = source instanceof URL ? compile(source, watched ? tell : undefined) : Promise.resolve(source)
  return { listeners, program: module.then((m) => Program.start(m)) }
}

function forgetWhenOver(key: string | WebAssembly.Module, loading: Loading): void {
  const forget = () => {
    if (programs.get(key) === loading) programs.delete(key)
  }
  loading.program.then((program) => program.ended.addEventListener('abort', forget), forget)
}

function absolute(wasm: string | URL): URL {
  try {
    return new URL(wasm, globalThis.location?.href)
  } catch (cause) {
    throw new TomboloError('option', `wasm: ${JSON.stringify(String(wasm))} is not an absolute address`, { cause })
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
    if (cause instanceof WebAssembly.CompileError) {
      throw new TomboloError('wasm-invalid', `${what} is not a valid WebAssembly program: ${cause.message}`, { cause })
    }
    throw cause
  }
}
