import type { Room, RoomStats, Standby, TomboloNode } from '@tombolo/node'
import { Harbour, type HarbourOptions } from './harbour.js'
import { VERSION } from './records.js'

/** The most peers that are named to host a world after this tab. */
const MAX_STANDBYS = 4

const harbour: HarbourOptions = { size: 256, sight: 40, sightEnd: 48, buoys: 120 }
const options = {
  version: VERSION,
  radius: harbour.sight,
  leave: harbour.sightEnd,
  // One tab may bring a hundred bots.
  seatsPerPeer: 128,
  visible: 600,
}

/** This tab's part in hosting a world: it is the host, or stands by for it. */
export class Holding {
  #room: Room | undefined
  #standby: Standby | undefined
  #crew: string[] = []

  private constructor(
    readonly node: TomboloNode,
    readonly name: string,
    readonly onHeld: () => void,
    readonly onTrouble: (error: unknown) => void,
  ) {}

  /** Hosts a world from now on. */
  static async host(node: TomboloNode, name: string, onTrouble: (error: unknown) => void): Promise<Holding> {
    const holding = new Holding(node, name, () => {}, onTrouble)
    holding.#room = await node.world.host(holding.#game(), { ...options, name })
    return holding
  }

  /** Stands by for a world that another peer hosts. `onHeld` is called when this tab becomes the host. */
  static async standBy(
    node: TomboloNode,
    name: string,
    host: string,
    onHeld: () => void,
    onTrouble: (error: unknown) => void,
  ): Promise<Holding> {
    const holding = new Holding(node, name, onHeld, onTrouble)
    const standby = (holding.#standby = await node.world.standBy(holding.#game(), { ...options, name, host }))
    void holding.#await(standby)
    return holding
  }

  get holds(): boolean {
    return this.#room !== undefined
  }

  /** Whether this tab is ready to take over the world. */
  async ready(): Promise<boolean> {
    return !this.holds && ((await this.#standby?.state())?.ready ?? false)
  }

  async stats(): Promise<RoomStats | undefined> {
    return this.#room?.stats()
  }

  /** Hands the world over to a tab that stands by, or ends it if there is none. */
  async end(): Promise<void> {
    const room = this.#room
    this.#room = undefined
    if (room !== undefined && (await room.stats()).standbys.length > 0) await room.handOver()
    await room?.close()
    await this.#standby?.close()
  }

  async #await(standby: Standby): Promise<void> {
    try {
      const room = await standby.held()
      if (room === null) return
      this.#room = room
      await this.#name()
      this.onHeld()
    } catch (error) {
      this.onTrouble(error)
    }
  }

  #game(): Harbour {
    return new Harbour(harbour, (crew) => {
      this.#crew = crew
      void this.#name().catch(this.onTrouble)
    })
  }

  /** Names the peers that may host the world after this tab, in the order in which they joined. */
  async #name(): Promise<void> {
    const others = this.#crew.filter((peer) => peer !== this.node.id)
    await this.#room?.nameStandbys(others.slice(0, MAX_STANDBYS))
  }
}
