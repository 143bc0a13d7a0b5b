// Measures the use of the machine: the processor time that other processes took during a measurement (if it is high, the figures are
// unreliable), and the memory of a page.
import { readdirSync, readFileSync } from 'node:fs'

/** Begins a measurement. The returned function gives the share of all processors that processes outside this one's tree have used since. */
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

/** Returns clock ticks since the machine started: of all processors, of all processes, and of each process in this one's tree. */
function snapshot() {
  const cpu = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0].split(/\s+/).slice(1, 9).map(Number)
  const total = cpu.reduce((a, b) => a + b, 0)
  const own = new Map(treeOf(process.pid).map(({ pid, ticks }) => [pid, ticks]))
  return { total, busy: total - cpu[3] - cpu[4], own }
}

/** Returns a process and all of its descendants. */
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
 * Returns the memory that the page of a Chromium takes, in MiB: the proportional set size of its largest renderer. The other renderers are
 * spares without a page.
 */
export function rendererMemory(chromium) {
  if (process.platform !== 'linux') return undefined
  const sizes = treeOf(chromium).flatMap(({ pid }) => {
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--type=renderer')) return []
      return [Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]) / 1024]
    } catch {
      return [] // it has ended meanwhile, or we may not look into it
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
