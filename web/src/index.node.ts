/** The counterpart of `index.ts` for Node.js, which reads the program from disk. */
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { TomboloError } from './errors.js'
import { compileFetched } from './fetch.js'
import { compiled, compiledNow, type OnProgress } from './load.js'
import { creator } from './node.js'

const files = {
  program: new URL('./tombolo.wasm', import.meta.url).href,
  rest: new URL('./tombolo.rest.wasm', import.meta.url).href,
}
export const createNode = creator(files, { compile: compileFile, compileNow: compileFileNow })

async function compileFile(url: URL, onProgress: OnProgress | undefined): Promise<WebAssembly.Module> {
  if (url.protocol !== 'file:') return compileFetched(url, onProgress)
  let bytes
  try {
    bytes = await readFile(url)
  } catch (cause) {
    throw unreadable(cause)
  }
  onProgress?.({ loaded: bytes.byteLength, encoding: '' })
  return compiled(WebAssembly.compile(bytes), url.pathname)
}

function compileFileNow(url: URL): WebAssembly.Module {
  let bytes: Uint8Array<ArrayBuffer>
  try {
    bytes = readFileSync(url)
  } catch (cause) {
    throw unreadable(cause)
  }
  return compiledNow(() => new WebAssembly.Module(bytes), url.pathname)
}

function unreadable(cause: unknown): TomboloError {
  const code = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'wasm-not-found' : 'wasm-unreachable'
  return new TomboloError(code, `the program could not be read: ${String(cause)}`, { cause })
}

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
