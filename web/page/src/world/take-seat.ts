import type { Seat, SeatOptions, TomboloError, TomboloNode } from '@tombolo/node'
import { VERSION } from './records.js'

/** How long to wait before asking a busy host again, and how often to ask. */
const BUSY_MS = 1_000
const BUSY_TRIES = 20

/**
 * Takes a seat in a world, by its name or by an invitation. Waits while the host is busy with too many players, calling `onBusy` each time.
 * Rejects as `node.world.join` does.
 */
export async function takeSeat(
  node: TomboloNode,
  world: string,
  { invitation, ...options }: SeatOptions & { signal: AbortSignal; invitation?: string | undefined },
  onBusy: () => void = () => {},
): Promise<Seat> {
  for (let tries = BUSY_TRIES; ; tries--) {
    try {
      if (invitation !== undefined) return await node.world.accept(invitation, { ...options, version: VERSION })
      return await node.world.join(world, { ...options, version: VERSION })
    } catch (error) {
      const { reason } = error as Partial<TomboloError>
      if (reason !== 'busy' || tries === 0) throw error
      onBusy()
      await new Promise((resolve) => setTimeout(resolve, BUSY_MS))
    }
  }
}
