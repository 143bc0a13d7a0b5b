/**
 * The bytes that a room and its game exchange: one crossing per tick, and one for each player that joins. The program's side is in
 * wasm/jsapi/game.go and keeper.go.
 */

/** Events that the room sends to the game. */
export const enum Event {
  start,
  join,
  input,
  leave,
  tick,
  restore,
  save,
  stays,
}

/** Actions that the game sends to the room. */
export const enum Do {
  spawn = 1,
  move,
  touch,
  remove,
  follow,
  look,
  tell,
  kick,
  seat,
  refuse,
  record,
  save,
  savePlayer,
  keep,
  forget,
  anew,
  board,
  score,
  ready,
  walk,
}
