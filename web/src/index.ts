/**
 * A libp2p peer for the browser. `createNode` loads the program beside this file and makes a node from it.
 * `index.node.ts` does the same under Node.js.
 */
import { FETCHING } from './fetch.js'
import { creator } from './node.js'

// Written out in full, because bundlers recognize this form only.
const files = {
  program: new URL('./tombolo.wasm', import.meta.url).href,
  rest: new URL('./tombolo.rest.wasm', import.meta.url).href,
}
export const createNode = creator(files, FETCHING, {
  dedicated: () => new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'tombolo' }),
  shared: (name) => new SharedWorker(new URL('./worker.js', import.meta.url), { type: 'module', name }),
})

export { RestartError, TomboloError, type TomboloErrorCode } from './errors.js'
export { serveGateway, type Gateway, type GatewayOptions } from './gateway/gateway.js'
export type { HttpHandler } from './http/server.js'
export type { Presence, Subscription } from './messages.js'
export type { TomboloNode } from './node.js'
export type * from './stats.js'
export type * from './types.js'
export type { Board, BoardLine, BoardLines, BoardOptions, BoardQuery, RoomBoard } from './world/board.js'
export type { Area, Arrival, Game, Player, World } from './world/game.js'
export type { ListedRoom, Lobby, RoomChange, RoomFilter } from './world/lobby.js'
export type {
  ListOptions,
  PlaceOptions,
  Room,
  RoomOptions,
  Rooms,
  RoomStats,
  SeatOptions,
  Standby,
  StandbyOptions,
  StandbyState,
} from './world/room.js'
export { View, type EntityUpdate, type Seat, type Tick } from './world/seat.js'
export { BEHIND, Clock, Path, Prediction } from './world/smooth.js'
