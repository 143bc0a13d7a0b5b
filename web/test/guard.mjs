// Ends a process group and removes a folder when this process ends, even by a SIGKILL.
import { spawn } from 'node:child_process'
import { once } from 'node:events'

// Reads a line: "done" means that everything is already cleaned up; the end of input means that the parent has died.
const script = `
read -r word; [ "$word" = done ] && exit 0
[ -n "$1" ] && kill -s KILL -- "-$1" 2>/dev/null
[ -n "$2" ] || exit 0
for n in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$2" && [ ! -e "$2" ] && exit 0; sleep 0.2; done`

/**
 * Watches over the process group `pid` and the folder `dir` (either may be left out).
 * @returns {() => Promise<void>} to be called once they are gone, so that a later process with that id is left alone
 */
export function guard({ pid = '', dir = '' }) {
  const sh = spawn('/bin/sh', ['-c', script, 'guard', String(pid), dir], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true, // a Ctrl-C in the terminal is for us, not for the guard
  })
  const ended = once(sh, 'exit')
  sh.stdin.on('error', () => {})
  sh.unref()
  sh.stdin.unref?.()
  return async () => {
    sh.ref()
    sh.stdin.end('done\n')
    await ended
  }
}

/** Returns whether any process of the group is still running. */
export function groupAlive(pid) {
  try {
    process.kill(-pid, 0)
    return true
  } catch (err) {
    return err.code === 'EPERM'
  }
}

/** Ends a process group: asks it to end, waits up to `patience` ms, then kills it. Resolves when none of its processes is left. */
export async function endGroup(pid, patience) {
  const signal = (name) => {
    try {
      process.kill(-pid, name)
    } catch {
      // gone already
    }
  }
  signal('SIGTERM')
  for (const start = Date.now(); groupAlive(pid) && Date.now() - start < patience;) await sleep(20)
  signal('SIGKILL')
  for (const start = Date.now(); groupAlive(pid) && Date.now() - start < 5000;) await sleep(20)
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
