/** What runs in the worker of a node: the program, and the node that it makes, called by `remote.ts` of the page. */
import { sendStream } from './crossing.js'
import { TomboloError } from './errors.js'
import { NODE_EVENTS, Program, type RawNode } from './program.js'
import { Wire } from './rpc.js'
import { peerStream, type RawStream } from './stream.js'
import type { NodeConfig } from './types.js'

/** What the page is told of a node that has started. */
export interface Born {
  id: string
  network: string
  version: string
  /** The private key of a node whose key is kept nowhere, so that one that takes its place has it. */
  key?: Uint8Array
  /** The name of the Web Lock that holds a persistent identity. */
  lock?: string
}

/** Something that the node has made, and the page calls. */
interface Made {
  close(): Promise<void>
  dropped?(): Promise<number>
  [method: string]: unknown
}

/** Calls that bring an object; the page is given its number. */
const MAKERS = new Set(['listen', 'subscribe', 'validate', 'presence', 'respond'])

const scope = globalThis as unknown as Pick<Worker, 'postMessage' | 'onmessage'>
const made = new Map<number, Made>()
const resets = new Map<number, () => void>()
let node: RawNode | undefined
let count = 0

const wire = new Wire(scope, {
  givesBytes: true,
  async answer(on, method, args) {
    if (on === 0 && method === 'start') return start(args[0] as WebAssembly.Module, args[1] as NodeConfig)
    if (on === 0) {
      const result = await invoke(node, method, args)
      if (!MAKERS.has(method)) return result
      made.set(++count, result as Made)
      return count
    }
    const object = made.get(on)
    if (method !== 'end') return invoke(object, method, args)
    await object?.close()
    const dropped = await object?.dropped?.()
    made.delete(on)
    return dropped
  },
  told(what, detail) {
    if (what === 'beat') wire.tell('beat')
    else if (what === 'reset') resets.get(detail as number)?.()
  },
  sendStream(value) {
    if (!('native' in value && 'readable' in value)) return null
    const stream = peerStream(value as RawStream)
    const id = ++count
    resets.set(id, () => stream.reset())
    const written = (error: unknown) => wire.tell('written', { id, error })
    return sendStream(stream, id, written, () => resets.delete(id))
  },
})

function invoke(object: unknown, method: string, args: unknown[]): unknown {
  const f = (object as Record<string, unknown> | undefined)?.[method]
  if (typeof f !== 'function') throw new TypeError(`there is no ${method} to call`)
  return f.apply(object, args) as unknown
}

async function start(module: WebAssembly.Module, config: NodeConfig): Promise<Born> {
  const program = await Program.start(module)
  program.ended.addEventListener('abort', () => wire.tell('ended', (program.ended.reason as TomboloError).message))
  const raw = await program.createNode(config)
  node = raw
  for (const type of NODE_EVENTS) {
    raw.addEventListener(type, (event) => wire.tell('event', { type, detail: (event as CustomEvent<unknown>).detail }))
  }
  const { id, network, lock } = raw
  const key = config.identity === undefined || config.identity === 'ephemeral' ? await raw.privateKey?.() : undefined
  return { id, network, version: program.version, ...(key && { key }), ...(lock !== undefined && { lock }) }
}

scope.onmessage = ({ data }: MessageEvent<Parameters<typeof wire.receive>[0]>) => wire.receive(data)
