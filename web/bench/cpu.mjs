// What is used of the machine: how much others took while something was measured (where that is much, the figures say little), and the memory
// of a page.
import { readdirSync, readFileSync } from 'node:fs'

/** Begins; the returned function gives the share of all processors that processes outside this one's tree took since. */
export function watchOthers() {
  if (process.platform !== 'linux') return () => undefined
  const before = snapshot()
  return () => {
    const after = snapshot()
    const total = after.total - before.total
    const busy = after.busy - before.busy
    const own = [...after.own].reduce((sum, [pid, ticks]) => sum + ticks - (before.own.get(pid) ?? 0), 0)
    return total > 0 ? Math.max(0, (busy - own) / total) : undefined
  }
}

/** Clock ticks since the machine started: of all processors, of all processes, and of each process of this one's tree. */
function snapshot() {
  const cpu = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0].split(/\s+/).slice(1, 9).map(Number)
  const total = cpu.reduce((a, b) => a + b, 0)
  const own = new Map(treeOf(process.pid).map(({ pid, ticks }) => [pid, ticks]))
  return { total, busy: total - cpu[3] - cpu[4], own }
}

/** A process and all that come from it. */
function treeOf(root) {
  const stats = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap(stat)
  const tree = new Set([root])
  for (let size = 0; size !== tree.size;) {
    size = tree.size
    for (const { pid, parent } of stats) if (tree.has(parent)) tree.add(pid)
  }
  return stats.filter(({ pid }) => tree.has(pid))
}

/**
 * What the page of a Chromium takes of the machine's memory, in MiB: the proportional set size of the largest of its renderers. The
 * others are in reserve, and have no page.
 */
export function rendererMemory(chromium) {
  if (process.platform !== 'linux') return undefined
  const sizes = treeOf(chromium).flatMap(({ pid }) => {
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--type=renderer')) return []
      return [Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]) / 1024]
    } catch {
      return [] // it has ended meanwhile, or is not ours to look into
    }
  })
  return sizes.length > 0 ? Math.max(...sizes) : undefined
}

function stat(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number)
    return [{ pid: Number(pid), parent: fields[1], ticks: fields[11] + fields[12] }]
  } catch {
    return [] // it has ended meanwhile
  }
}
