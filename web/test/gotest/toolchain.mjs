import { execFileSync } from 'node:child_process'

let dir

/** Returns the path of a file in lib/wasm of the Go toolchain, which must be the one that compiled the test. */
export function libWasm(name) {
  dir ??= execFileSync('go', ['env', 'GOROOT'], { encoding: 'utf8' }).trim() + '/lib/wasm'
  return `${dir}/${name}`
}
