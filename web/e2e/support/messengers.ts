import type { Page } from '@playwright/test'
import { binaries } from './binaries.js'
import { join } from './fixtures.js'
import { messenger } from './messenger.mjs'
import { NodeTab, type Tab } from './node-tab.js'
import { type Relay, RpcProcess } from './peers.js'

/** A message as the tests see it. */
export interface Heard {
  from: string
  via: string
  type: string
  text: string
  broadcast: boolean
  replayed: boolean
  missed: number
}

export interface Report {
  reached: string[]
  failed: { peer: string; reason: string }[]
}

/** A node that the tests of messages control. Its methods are those of messenger.mjs, wherever it runs. */
export interface Messenger {
  readonly id: string
  call<T = void>(method: string, ...args: unknown[]): Promise<T>
}

/** A process of the operating system. */
export interface NativeMessenger extends Messenger {
  stop(): Promise<void>
  /** Ends it without a goodbye. */
  kill(): Promise<void>
}

/** In a tab that uses a relay. */
export async function inTab(tab: Tab, relay: Relay): Promise<Messenger> {
  return messengerIn(tab, await tab.join(new URL(relay.url)))
}

/** In the page that a relay serves. */
export async function inPage(page: Page, relay: Relay): Promise<Messenger> {
  return messengerIn(page, await join(page, relay.url))
}

/** Under Node.js, with a reservation on the relay. */
export async function underNode(relay: Relay): Promise<Messenger & { stop(): Promise<void> }> {
  const tab = new NodeTab()
  return { ...(await inTab(tab, relay)), stop: () => tab.close() }
}

async function messengerIn(tab: Pick<Page, 'evaluate'>, id: string): Promise<Messenger> {
  await tab.evaluate(`window.messenger = (${messenger.toString()})(window.tombolo)`)
  return {
    id,
    call: <T>(method: string, ...args: unknown[]) =>
      tab.evaluate(
        ([method, args]) => {
          const { messenger } = window as unknown as { messenger: Record<string, (...args: unknown[]) => unknown> }
          return messenger[method]!(...args)
        },
        [method, args] as const,
      ) as Promise<T>,
  }
}

/** As a process of the operating system. */
export async function natively(relay: Relay, relays = relay.addrs): Promise<NativeMessenger> {
  const program = new RpcProcess(binaries.messenger, [])
  const { id } = await program.call<{ id: string }>('start', { relays })
  return {
    id,
    call: (method, ...args) => program.call(method, ...args),
    stop: () => program.stop(),
    kill: () => program.stop('SIGKILL'),
  }
}
