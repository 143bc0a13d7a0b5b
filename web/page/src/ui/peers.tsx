import type { PeerInfo } from '@tombolo/node'
import { useState } from 'preact/hooks'
import type { Session } from '../session.js'
import type { State } from '../state.js'
import { Flag } from './flag.js'
import { milliseconds, shortId, transportName } from './format.js'

export function Peers({ state, session }: { state: State; session: Session }) {
  const { peers, relay } = state
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
            <Row key={peer.id} peer={peer} isRelay={peer.id === relay?.id} session={session} />
          ))}
        </ul>
      )}
      <ConnectBox session={session} ready={state.self !== undefined && state.phase !== 'failed'} />
    </section>
  )
}

function Row({ peer, isRelay, session }: { peer: PeerInfo; isRelay: boolean; session: Session }) {
  return (
    <li class="peer" data-peer={peer.id} data-transport={peer.transport} data-relayed={peer.relayed}>
      <Flag id={peer.id} />
      <div class="peer-who">
        <code title={`${peer.id}\n${peer.addr}`}>{shortId(peer.id)}</code>
        {isRelay && <span class="chip strong">relay</span>}
        <span class="peer-agent">{peer.agent || 'has not said what it runs'}</span>
      </div>
      <div class="peer-way">{way(peer)}</div>
      <div class="peer-rtt">{peer.rtt === null ? '–' : milliseconds(peer.rtt)}</div>
      <button class="quiet" disabled={isRelay} onClick={() => void session.disconnect(peer.id)}>
        Disconnect<span class="hidden"> {peer.id}</span>
      </button>
    </li>
  )
}

function way(peer: PeerInfo): string {
  const how = peer.relayed ? 'through the relay' : `direct, ${transportName(peer.transport)}`
  return peer.direction === 'inbound' ? `${how}; it called` : how
}

function ConnectBox({ session, ready }: { session: Session; ready: boolean }) {
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<string | undefined>()
  const submit = async (event: SubmitEvent) => {
    event.preventDefault()
    const form = event.currentTarget as HTMLFormElement
    const addr = String(new FormData(form).get('addr')).trim()
    if (addr === '') return
    setBusy(true)
    setError(undefined)
    try {
      await session.connect(addr)
      form.reset()
    } catch (failure) {
      setError(failure instanceof Error ? failure.message : String(failure))
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
          placeholder="multiaddr or peer id"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          aria-describedby="connect-error"
        />
        <button disabled={!ready || busy}>{busy ? 'Connecting…' : 'Connect'}</button>
      </div>
      <p id="connect-error" class="form-error" role="alert">
        {error}
      </p>
    </form>
  )
}
