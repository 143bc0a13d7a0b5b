import { useEffect, useRef } from 'preact/hooks'
import { useSource } from '../source.js'
import type { State } from '../tab/state.js'
import { Trouble } from '../ui/trouble.js'
import type { Door } from './door.js'

/** A harbour to sail in with others. */
export function WorldSheet({ state, door }: { state: State; door: Door }) {
  const { phase, inside, failure } = useSource(door.view)
  const sheet = useRef<HTMLElement>(null)
  useEffect(() => {
    if (phase === 'open') sheet.current?.focus({ preventScroll: true })
  }, [phase])
  return (
    <section class="sheet world" aria-labelledby="world-title" data-phase={phase} tabIndex={-1} ref={sheet}>
      <h2 id="world-title">World</h2>
      {inside ? (
        <inside.View play={inside.play} joined={state.phase === 'joined'} />
      ) : (
        <>
          <p class="world-about">
            A harbour to sail in with whoever comes by: held by this tab, by another, or by a native peer.
          </p>
          <Trouble failure={failure} />
          {phase === 'opening' ? (
            <p class="waiting" role="status">
              Opening…
            </p>
          ) : (
            <button type="button" onClick={() => void door.open()}>
              Try again
            </button>
          )}
        </>
      )}
    </section>
  )
}
