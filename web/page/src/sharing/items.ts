/** A file to share, and the path under which it is offered. For a file in a folder, the path begins with the folder. */
export interface Item {
  path: string
  file: File
}

/** The most files that can be shared at once, and listed. */
export const MAX_FILES = 10_000
/** The longest path, in characters. */
export const MAX_PATH = 512

/** Returns the files that somebody chose; files of a folder have their paths in it. */
export function itemsOf(files: Iterable<File>): Item[] {
  const items = Array.from(files, (file) => ({ path: file.webkitRelativePath || file.name, file }))
  return items.slice(0, MAX_FILES).map((item) => ({ ...item, path: item.path.slice(0, MAX_PATH) }))
}

/** Returns the folder that holds all of the items, and the items with that folder removed from their paths. */
export function unfolded(items: Item[]): { folder: string | undefined; items: Item[] } {
  const folder = items[0]?.path.split('/', 1)[0]
  if (folder === undefined || !items.every(({ path }) => path.startsWith(`${folder}/`))) {
    return { folder: undefined, items }
  }
  return { folder, items: items.map(({ path, file }) => ({ path: path.slice(folder.length + 1), file })) }
}

/** Returns what was dropped on the page: files, and the contents of folders. */
export async function dropped(data: DataTransfer): Promise<Item[]> {
  // Read all of them now, because the browser discards them after this turn.
  const entries = Array.from(data.items, (item) => [item.webkitGetAsEntry?.(), item.getAsFile()] as const)
  const items: Item[] = []
  for (const [entry, file] of entries) {
    if (entry) await walk(entry, '', items)
    else if (file) items.push({ path: file.name, file })
  }
  return items.slice(0, MAX_FILES)
}

async function walk(entry: FileSystemEntry, folder: string, items: Item[]): Promise<void> {
  if (items.length >= MAX_FILES) return
  const path = folder + entry.name
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject))
    items.push({ path: path.slice(0, MAX_PATH), file })
    return
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  for (;;) {
    const entries = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject))
    if (entries.length === 0) return // a browser returns the entries in batches of a hundred
    for (const one of entries) await walk(one, `${path}/`, items)
  }
}
