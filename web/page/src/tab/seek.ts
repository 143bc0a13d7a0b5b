import type { TomboloNode } from '@tombolo/node'
import { anyOf } from '../signals.js'

const ATTEMPT_MS = 10_000
const PAUSES_MS = [0, 500, 1_000, 2_000, 4_000, 8_000]

/** Connects to a peer (a multiaddr, or an id to be looked for behind the relay), and again when it is not there yet. */
export async function seek(node: TomboloNode, peer: string, signal: AbortSignal): Promise<void> {
  let failure: unknown
  for (const pause of PAUSES_MS) {
    await sleep(pause, signal)
    try {
      await node.connect(peer, { signal: anyOf(signal, AbortSignal.timeout(ATTEMPT_MS)) })
      return
    } catch (error) {
      signal.throwIfAborted()
      failure = error
    }
  }
  throw failure
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', () => {
      clearTimeout(timer)
      reject(signal.reason as Error)
    })
  })
}
