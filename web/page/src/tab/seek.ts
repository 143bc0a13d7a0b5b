import type { TomboloNode } from '@tombolo/node'
import { anyOf } from '../signals.js'

const ATTEMPT_MS = 10_000
const SEEK_MS = 10_000
const PAUSE_MS = 1_000

/** Connects to a peer: a multiaddr, or the ID of a peer behind the relay. Retries for ten seconds if the peer is not there yet. */
export async function seek(node: TomboloNode, peer: string, signal: AbortSignal): Promise<void> {
  for (const until = performance.now() + SEEK_MS; ; await sleep(PAUSE_MS, signal)) {
    try {
      await node.connect(peer, { signal: anyOf(signal, AbortSignal.timeout(ATTEMPT_MS)) })
      return
    } catch (error) {
      signal.throwIfAborted()
      if (performance.now() >= until) throw error
    }
  }
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
