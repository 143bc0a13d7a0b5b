import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const webDir = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '')
export const npmDir = `${webDir}/dist/npm`
export const siteDir = `${webDir}/dist/site`

/** Returns the path of a file built by the Go toolchain: the program, or the script that starts it. */
export function fromGo(name) {
  const path = `${webDir}/build/${name}`
  if (existsSync(path)) return path
  console.error(`web/build/${name} is missing. 'make build' at the top of the repository makes it; alone:
  make wasm`)
  process.exit(1)
}
