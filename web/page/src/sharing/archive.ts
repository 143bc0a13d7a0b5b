import { downloadZip } from 'client-zip'

/** Packs files into one archive, uncompressed. The bytes are read on demand. */
export function archive(files: { name: string; blob: Blob }[]): ReadableStream<Uint8Array<ArrayBuffer>> {
  const lastModified = new Date()
  const taken = new Set<string>()
  const entries = files.map(({ name, blob }) => ({ name: unique(safePath(name), taken), input: blob, lastModified }))
  return downloadZip(entries).body as ReadableStream<Uint8Array<ArrayBuffer>>
}

/** Returns a path that stays within the folder it is unpacked into, whoever made it. */
export function safePath(path: string): string {
  const parts = path.split(/[/\\]/).filter((part) => part !== '' && part !== '.' && part !== '..')
  return parts.map((part) => part.replace(/[<>:"|?*\0-\x1f]/g, '_')).join('/') || 'file'
}

function unique(path: string, taken: Set<string>): string {
  let free = path
  for (let n = 2; taken.has(free); n++) free = path.replace(/(\.[^./]*)?$/, ` (${n})$1`)
  taken.add(free)
  return free
}
