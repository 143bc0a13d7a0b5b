import type { PeerInfo } from '@tombolo/node'
import { useState } from 'preact/hooks'
import { connectFailure, disconnectFailure, type Failure } from '../failures.js'
import type { Session } from './session.js'
import type { State } from './state.js'
import { Flag } from '../ui/flag.js'
import { milliseconds, throughRelay, transportName, when } from '../ui/format.js'
import { PeerName } from '../ui/peer.js'
import { Trouble } from '../ui/trouble.js'

export function Peers({ state, session }: { state: State; session: Session }) {
  const { peers, relay } = state
  const [failure, setFailure] = useState<Failure | undefined>()
  const disconnect = (id: string) => {
    setFailure(undefined)
    session.disconnect(id).catch((error: unknown) => setFailure(disconnectFailure(error)))
  }
  return (
    <section class="sheet peers" aria-labelledby="peers-title">
      <h2 id="peers-title">
        Peers <span class="count">{peers.length}</span>
      </h2>
      {peers.length === 0 ? (
        <p class="waiting">Nobody is connected yet.</p>
      ) : (
        <ul id="peers">
          {peers.map((peer) => (
            <Row key={peer.id} peer={peer} relay={relay?.id} onDisconnect={disconnect} />
          ))}
        </ul>
      )}
      <Trouble failure={failure} />
      <ConnectBox session={session} ready={state.self !== undefined && state.phase !== 'failed'} />
    </section>
  )
}

interface RowProps {
  peer: PeerInfo
  /** This tab's relay. */
  relay: string | undefined
  onDisconnect(id: string): void
}

function Row({ peer, relay, onDisconnect }: RowProps) {
  const isRelay = peer.id === relay
  return (
    <li class="peer" data-peer={peer.id} data-transport={peer.transport} data-relayed={peer.relayed}>
      <Flag id={peer.id} />
      <div class="peer-who">
        <span title={`${peer.id}\n${peer.addr}`}>
          <PeerName id={peer.id} />
        </span>
        {isRelay && <span class="chip strong">relay</span>}
        <span class="peer-agent">{peer.agent || 'has not said what it runs'}</span>
      </div>
      <div class="peer-way">{way(peer, relay)}</div>
      <div class="peer-rtt">{peer.rtt === null ? '–' : milliseconds(peer.rtt)}</div>
      <button type="button" class="quiet" disabled={isRelay} onClick={() => onDisconnect(peer.id)}>
        Disconnect<span class="hidden"> {peer.id}</span>
      </button>
    </li>
  )
}

function way(peer: PeerInfo, relay: string | undefined): string {
  const by = peer.relayed ? throughRelay(peer.relay, relay) : `direct, ${transportName(peer.transport)}`
  const how = `${by}, since ${when(peer.since)}`
  return peer.direction === 'inbound' ? `${how}; it connected to this tab` : how
}

function ConnectBox({ session, ready }: { session: Session; ready: boolean }) {
  const [busy, setBusy] = useState(false)
  const [failure, setFailure] = useState<Failure | undefined>()
  const submit = async (event: SubmitEvent) => {
    event.preventDefault()
    const form = event.currentTarget as HTMLFormElement
    const addr = String(new FormData(form).get('addr')).trim()
    if (addr === '' || busy) return
    setBusy(true)
    setFailure(undefined)
    try {
      await session.connect(addr)
      form.reset()
    } catch (error) {
      setFailure(connectFailure(error))
    }
    setBusy(false)
  }
  return (
    <form class="connect" onSubmit={(event) => void submit(event)}>
      <label for="addr">Connect to a peer</label>
      <div class="field">
        <input
          id="addr"
          name="addr"
          placeholder="multiaddr or ID"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          aria-describedby="connect-error"
        />
        <button disabled={!ready} aria-disabled={busy}>
          {busy ? 'Connecting…' : 'Connect'}
        </button>
      </div>
      <div id="connect-error">
        <Trouble failure={failure} />
      </div>
    </form>
  )
}
