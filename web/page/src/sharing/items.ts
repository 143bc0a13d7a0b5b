/** A file to share, and the path under which it is had: that of a file in a folder begins in the folder. */
export interface Item {
  path: string
  file: File
}

/** So many files can be shared at once, and listed. */
export const MAX_FILES = 10_000
/** Of a path, in characters. */
export const MAX_PATH = 512

/** Files that somebody chose; of a folder, with their paths in it. */
export function itemsOf(files: Iterable<File>): Item[] {
  const items = Array.from(files, (file) => ({ path: file.webkitRelativePath || file.name, file }))
  return items.slice(0, MAX_FILES).map((item) => ({ ...item, path: item.path.slice(0, MAX_PATH) }))
}

/** The folder that all of them lie in, which is taken off their paths. */
export function unfolded(items: Item[]): { folder: string | undefined; items: Item[] } {
  const folder = items[0]?.path.split('/', 1)[0]
  if (folder === undefined || !items.every(({ path }) => path.startsWith(`${folder}/`))) {
    return { folder: undefined, items }
  }
  return { folder, items: items.map(({ path, file }) => ({ path: path.slice(folder.length + 1), file })) }
}

/** What was dropped on the page: files, and what lies in folders. */
export async function dropped(data: DataTransfer): Promise<Item[]> {
  // All at once, since the browser forgets them after this turn.
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
    if (entries.length === 0) return // a browser hands them out by the hundred
    for (const one of entries) await walk(one, `${path}/`, items)
  }
}
