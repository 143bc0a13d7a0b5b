import type { ListedRoom } from '@tombolo/node'
import { useState } from 'preact/hooks'
import { count } from '../ui/format.js'
import { Peer } from '../ui/peer.js'
import { HUES } from './boat.js'
import type { Play, PlayState } from './play.js'
import { cleanName, MAX_NAME } from './records.js'

const MAX_WORLD_NAME = 64
const MAX_LISTED = 50

/** The page before a world is entered: the boat, and the worlds to choose from. */
export function Ashore({ play, state }: { play: Play; state: PlayState }) {
  const { phase, target, worlds } = state
  const busy = phase === 'coming'
  return (
    <div class="world-shore">
      <p class="lede">
        Sail a small harbour with whoever is here. A buoy that you reach is yours. Open a world and send its link to
        somebody, or sail in one that is open.
      </p>
      <BoatBox play={play} state={state} />
      <div>
        {phase === 'nobody' && target && (
          <div class="world-nobody" role="alert">
            <p>
              <strong>Nobody holds “{target.name}” now.</strong> Whoever sent the link may have closed the tab. You can
              hold the world yourself; the link then leads others to you.
            </p>
            <p class="world-acts">
              <button type="button" onClick={() => void play.host(target.name)}>
                Host “{target.name}” from this tab
              </button>
              <button type="button" class="quiet" onClick={() => void play.join(target)}>
                Look again
              </button>
            </p>
          </div>
        )}
        <HostBox key={target?.name} play={play} state={state} busy={busy} />
        <h3>Worlds that are open now</h3>
        {worlds.length === 0 ? (
          <p class="waiting">None found yet. The page looks again every few seconds.</p>
        ) : (
          <ul id="worlds">
            {worlds.slice(0, MAX_LISTED).map((world) => (
              <World key={`${world.host} ${world.name}`} world={world} play={play} busy={busy} />
            ))}
          </ul>
        )}
        {worlds.length > MAX_LISTED && (
          <p class="form-note">{count(worlds.length - MAX_LISTED, 'more is', 'more are')} held, and not shown.</p>
        )}
      </div>
    </div>
  )
}

function World({ world, play, busy }: { world: ListedRoom; play: Play; busy: boolean }) {
  const { name, host, players, maxPlayers, password } = world
  return (
    <li class="entry" data-world={name}>
      <div class="entry-what">
        {name}
        <span>
          held by <Peer id={host} />, {count(players, 'boat')} of {maxPlayers}
          {password && ', with a password'}
        </span>
      </div>
      <button
        type="button"
        class="quiet"
        aria-disabled={busy || password}
        onClick={() => !busy && !password && void play.join({ name, host })}
      >
        Sail in<span class="hidden"> {name}</span>
      </button>
    </li>
  )
}

function BoatBox({ play, state: { boat } }: { play: Play; state: PlayState }) {
  return (
    <div class="world-boat">
      <label for="boat-name">The name of your boat, which others see</label>
      <input
        id="boat-name"
        value={boat.name}
        maxLength={MAX_NAME}
        placeholder="none"
        autocomplete="off"
        spellcheck={false}
        onInput={({ currentTarget }) => play.paint({ name: currentTarget.value })}
        onBlur={({ currentTarget }) => play.paint({ name: cleanName(currentTarget.value) })}
      />
      <fieldset class="world-hues">
        <legend>Its colour</legend>
        {HUES.map(([name, hue]) => (
          <label key={name} title={name} style={{ '--hue': (hue / 256) * 360 }}>
            <input
              type="radio"
              name="boat-hue"
              class="hidden"
              checked={hue === boat.hue}
              onChange={() => play.paint({ hue })}
            />
            <span class="hidden">{name}</span>
          </label>
        ))}
      </fieldset>
    </div>
  )
}

function HostBox({ play, state, busy }: { play: Play; state: PlayState; busy: boolean }) {
  const [name, setName] = useState(state.target?.name ?? 'harbour')
  const held = state.worlds.find((world) => world.name === name.trim())
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    if (!busy && held === undefined) void play.host(name.trim())
  }
  return (
    <form class="world-host" onSubmit={submit}>
      <label for="world-name">Hold a world of your own, under a name by which others find it</label>
      <div class="field">
        <input
          id="world-name"
          value={name}
          maxLength={MAX_WORLD_NAME}
          autocomplete="off"
          spellcheck={false}
          required
          pattern=".*\S.*"
          aria-describedby={held && 'world-held'}
          onInput={({ currentTarget }) => setName(currentTarget.value)}
        />
        <button aria-disabled={busy || held !== undefined}>Host from this tab</button>
      </div>
      {held && (
        <p id="world-held" class="form-note">
          Somebody holds a world of this name: sail in below, or choose another name.
        </p>
      )}
      <label class="world-may">
        <input
          type="checkbox"
          checked={state.mayHold}
          onChange={({ currentTarget }) => play.view.change({ mayHold: currentTarget.checked })}
        />
        This tab may hold a world when its host goes.
      </label>
      <p class="form-note">
        When the tab that holds a world is closed, the tab of somebody who sails in it takes it over. Whoever holds a
        world knows everything in it, and makes its rules.
      </p>
    </form>
  )
}
