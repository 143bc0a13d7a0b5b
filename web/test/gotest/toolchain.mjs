import { execFileSync } from 'node:child_process'

let dir

/** The path of a file of the Go toolchain's lib/wasm: it must be of the toolchain that compiled the test. */
export function libWasm(name) {
  dir ??= execFileSync('go', ['env', 'GOROOT'], { encoding: 'utf8' }).trim() + '/lib/wasm'
  return `${dir}/${name}`
}
