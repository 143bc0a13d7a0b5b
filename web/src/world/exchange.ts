/**
 * What a room and its game say to each other, as bytes: one crossing for a tick, and one for each player that joins. The program's side is
 * wasm/jsapi/game.go and keeper.go.
 */

/** What happens in a room. */
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

/** What a game does. */
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
