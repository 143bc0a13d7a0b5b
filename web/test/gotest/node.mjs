// Runs a test under Node.js.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { endGroup, guard } from '../guard.mjs'
import { atEnd } from '../lifetime.mjs'
import { libWasm } from './toolchain.mjs'

/** Resolves to the exit code of the test. */
export async function runInNode({ binary, args, env }) {
  const flags = ['--stack-size=8192'] // like Go's own runner: deep Go stacks are deep JavaScript stacks
  if (Number(process.versions.node.split('.')[0]) < 22) flags.push('--experimental-websocket')
  const child = spawn(process.execPath, [...flags, libWasm('wasm_exec_node.js'), binary, ...args], {
    env: { ...env, TMPDIR: tmpdir() },
    stdio: 'inherit',
    detached: true,
  })
  const ended = once(child, 'exit')
  const guarded = guard({ pid: child.pid ?? '' })
  atEnd(async () => {
    if (child.pid) await endGroup(child.pid, 0)
    await guarded()
  })
  const [code, signal] = await ended
  if (signal) throw new Error(`node was killed by ${signal}`)
  return code
}
