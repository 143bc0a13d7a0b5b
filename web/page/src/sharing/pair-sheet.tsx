import { useState } from 'preact/hooks'
import { useSource } from '../source.js'
import type { State } from '../tab/state.js'
import { CopyButton } from '../ui/copy.js'
import { Peer } from '../ui/peer.js'
import { Trouble } from '../ui/trouble.js'
import { shownCode } from './code.js'
import { CODE_MS, type Pairing } from './pairing.js'

/** Connects two tabs by a code that one person reads out to the other. */
export function PairSheet({ state, pairing }: { state: State; pairing: Pairing }) {
  const { code, seeking, met, failure } = useSource(pairing.view)
  const [typed, setTyped] = useState('')
  const ready = state.phase === 'joined'
  const submit = async (event: SubmitEvent) => {
    event.preventDefault()
    if (await pairing.seek(typed)) setTyped('')
  }
  return (
    <section class="sheet pairing" aria-labelledby="pairing-title">
      <h2 id="pairing-title">Meet by a code</h2>
      <p>
        Instead of sending a link, tell somebody a code: they type it on this page, or after <code>tombolo pair</code>{' '}
        in a shell, and get what you share.
      </p>
      <div class="pairing-ways">
        <form onSubmit={(event) => void submit(event)}>
          <label for="pair-code">The code that somebody told you</label>
          <div class="field">
            <input
              id="pair-code"
              value={typed}
              onInput={(event) => setTyped(event.currentTarget.value)}
              required
              placeholder="7K3-MPX-2Q9"
              autocomplete="off"
              autocapitalize="characters"
              spellcheck={false}
            />
            <button disabled={!ready || seeking}>Find them</button>
          </div>
        </form>
        <div class="pairing-show">
          {code === undefined ? (
            <button type="button" class="quiet" disabled={!ready} onClick={() => void pairing.show()}>
              Show a code
            </button>
          ) : (
            <>
              <p class="pairing-code">
                <output>{shownCode(code)}</output> <CopyButton text={shownCode(code)} what="the code" />
                <button type="button" class="quiet" onClick={() => pairing.hide()}>
                  Withdraw<span class="hidden"> the code</span>
                </button>
              </p>
              <p class="form-note">
                It works once, within {CODE_MS / 60_000} minutes, while this tab is open. Tell nobody else.
              </p>
            </>
          )}
        </div>
      </div>
      <p class="pairing-met" role="status">
        {seeking && 'Looking for the tab that shows this code…'}
        {met && (
          <>
            You have met <Peer id={met.peer} />. {met.shares && 'What they share is above.'}
          </>
        )}
      </p>
      <Trouble failure={failure} />
    </section>
  )
}
