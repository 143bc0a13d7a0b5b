import { ROLES, type Graph, type Role } from './graph.js'

/** The position of each peer: a lane for each role. Nobody moves when others come or go; a new peer takes the first free position. */
export class Slots {
  readonly #lanes: Record<Role, (string | undefined)[]> = { tab: [], relay: [], native: [] }

  /** Returns the positions of the graph's peers, lane by lane; `undefined` marks a position that a peer has left. */
  place({ vertices }: Graph): Record<Role, readonly (string | undefined)[]> {
    for (const role of ROLES) {
      const lane = this.#lanes[role]
      lane.forEach((id, i) => {
        if (id !== undefined && vertices.get(id)?.role !== role) lane[i] = undefined
      })
    }
    for (const { id, role } of vertices.values()) {
      const lane = this.#lanes[role]
      if (lane.includes(id)) continue
      const free = lane.indexOf(undefined)
      lane[free < 0 ? lane.length : free] = id
    }
    for (const role of ROLES) {
      const lane = this.#lanes[role]
      lane.length = lane.findLastIndex((id) => id !== undefined) + 1
    }
    return this.#lanes
  }
}
