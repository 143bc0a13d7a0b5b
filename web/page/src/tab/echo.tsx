import { useContext, useState } from 'preact/hooks'
import type { EchoResult, Echoes } from './echoes.js'
import { useSource } from '../source.js'
import type { State } from './state.js'
import { Flag } from '../ui/flag.js'
import { milliseconds } from '../ui/format.js'
import { Names, peerText } from '../ui/peer.js'

/** Sends text to a peer and shows what comes back: the shortest proof that two peers can talk. */
export function EchoBox({ state, echoes }: { state: State; echoes: Echoes }) {
  const { peers, relay } = state
  const results = useSource(echoes.results)
  const names = useSource(useContext(Names))
  const [choice, setChoice] = useState('')
  // Until somebody chooses, prefer a peer that is not the relay.
  const chosen = peers.find((peer) => peer.id === choice) ?? peers.find((peer) => peer.id !== relay?.id) ?? peers[0]
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    const text = String(new FormData(event.currentTarget as HTMLFormElement).get('text'))
    if (chosen !== undefined) void echoes.echo(chosen.id, text)
  }
  return (
    <section class="sheet echo" aria-labelledby="echo-title">
      <h2 id="echo-title">Echo</h2>
      <form onSubmit={submit}>
        <label for="echo-peer">Peer</label>
        <select
          id="echo-peer"
          value={chosen?.id ?? ''}
          onChange={(event) => setChoice(event.currentTarget.value)}
          disabled={peers.length === 0}
        >
          {peers.length === 0 && <option value="">nobody is connected</option>}
          {peers.map((peer) => (
            <option key={peer.id} value={peer.id}>
              {peerText(peer.id, names)} {peer.id === relay?.id ? '(relay)' : peer.agent.split(/[/@ ]/, 1)[0]}
            </option>
          ))}
        </select>
        <label for="echo-text">Text</label>
        <div class="field">
          <input
            id="echo-text"
            name="text"
            defaultValue="hello from a tab"
            autocomplete="off"
            required
            maxLength={4096}
          />
          <button disabled={chosen === undefined}>Echo</button>
        </div>
      </form>
      <ol id="echoes" aria-live="polite">
        {results.map((echo) => (
          <Result key={echo.n} echo={echo} />
        ))}
      </ol>
    </section>
  )
}

function Result({ echo }: { echo: EchoResult }) {
  const state = echo.error !== undefined ? 'failed' : echo.ms === undefined ? 'under way' : 'back'
  return (
    <li data-state={state}>
      <Flag id={echo.peer} small />
      <q>{echo.text}</q>
      <span class="echo-result">
        {echo.error ?? (echo.ms === undefined ? 'under way' : `back in ${milliseconds(echo.ms)}`)}
      </span>
    </li>
  )
}
