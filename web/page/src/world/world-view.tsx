import { useSource } from '../source.js'
import { Trouble } from '../ui/trouble.js'
import { Aboard } from './aboard.js'
import { Ashore } from './ashore.js'
import type { Play } from './play.js'
import './world.css'

export { Play } from './play.js'

/** The part of the world that is loaded when somebody opens its view. */
export function WorldView({ play, joined }: { play: Play; joined: boolean }) {
  const state = useSource(play.view)
  const { phase, target, word, failure, busy } = state
  const coming = busy ? 'The host is busy; waiting for a seat…' : `Looking for who holds “${target?.name}”…`
  return (
    <div class="world-view" data-phase={phase}>
      <p class="world-word" role="status">
        {phase === 'coming' ? coming : word}
      </p>
      <Trouble failure={failure} />
      {phase === 'aboard' ? <Aboard play={play} state={state} joined={joined} /> : <Ashore play={play} state={state} />}
    </div>
  )
}
