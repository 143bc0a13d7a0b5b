import { useEffect, useId, useRef } from 'preact/hooks'
import { onlyHere } from '../sharing/share-link.js'
import { Qr } from '../sharing/qr.js'
import { useSource } from '../source.js'
import { CopyButton } from '../ui/copy.js'
import { count, milliseconds } from '../ui/format.js'
import { Peer } from '../ui/peer.js'
import type { Gauges, Play, PlayState } from './play.js'
import type { Scores } from './records.js'

const BOTS = 100
/** The most nearby boats that are listed. */
const MAX_NEAR = 8

interface Props {
  play: Play
  state: PlayState
}

/** A world from within: the chart, and the information beside it. */
export function Aboard({ play, state, joined }: Props & { joined: boolean }) {
  const { target, holds, gauges } = state
  return (
    <>
      <div class="world-bar">
        <p class="world-who">
          <strong>{target?.name}</strong>
          {holds
            ? ' held by this tab'
            : target?.host && (
                <span>
                  {' '}
                  held by <Peer id={target.host} />
                </span>
              )}
          <Heir state={state} />
        </p>
        <BotsButton play={play} />
        <button type="button" class="quiet" onClick={() => void play.leave()}>
          {holds && gauges.stats?.standbys.length === 0 ? 'Close the world' : 'Leave'}
        </button>
      </div>
      <LinkBox state={state} joined={joined} />
      <div class="world-deck">
        <div>
          <Sea play={play} />
          <p id="world-spoken" class="world-spoken" aria-live="polite">
            {state.spoken}
          </p>
          <p id="world-how" class="form-note">
            Steer with the arrow keys or W, A, S, D while the chart has the focus; with the mouse or a finger on it; or
            with a gamepad. A buoy that you reach is yours.
          </p>
        </div>
        <div class="world-side">
          <Board scores={state.scores} />
          <NearList state={state} />
          <GaugesView state={state} />
          <label class="world-switch">
            <input
              type="checkbox"
              checked={state.circles}
              onChange={({ currentTarget }) => play.view.change({ circles: currentTarget.checked })}
            />
            Show how far you see
          </label>
        </div>
      </div>
    </>
  )
}

function Heir({ state: { holds, standsBy, gauges } }: { state: PlayState }) {
  if (standsBy) return <span class="chip">this tab stands by</span>
  const ready = gauges.stats?.standbys.length ?? 0
  if (!holds || gauges.stats === undefined) return null
  return (
    <span class="chip">
      {ready === 0 ? 'nobody stands by' : `${count(ready, 'tab')} stand${ready === 1 ? 's' : ''} by`}
    </span>
  )
}

/** The canvas, steered by keys, pointer or gamepad. */
function Sea({ play }: { play: Play }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  useEffect(() => {
    const over = new AbortController()
    play.stage(canvas.current!, over.signal)
    canvas.current!.scrollIntoView({ block: 'nearest' })
    canvas.current!.focus({ preventScroll: true })
    return () => over.abort()
  }, [play])
  return (
    <canvas
      id="sea"
      ref={canvas}
      tabIndex={0}
      role="application"
      aria-label="Chart of the harbour, with your boat in the middle"
      aria-describedby="world-how world-spoken"
    />
  )
}

function LinkBox({ state: { link, target }, joined }: { state: PlayState; joined: boolean }) {
  const id = useId()
  return (
    <details class="world-link">
      <summary>Send a link to this world</summary>
      <div class="offer-link">
        <Qr text={link} label={`QR code of the link to ${target?.name}; the same link stands beside it as text`} />
        <div>
          <p id={id}>Whoever opens it sails in at once</p>
          <p class="identity">
            <a class="offer-url" href={link} target="_blank" rel="noopener" aria-describedby={id}>
              {link}
            </a>
            <CopyButton text={link} what="the link to this world" />
          </p>
          {!joined && <p class="form-note">Nobody can reach this tab until it has joined the relay.</p>}
          {onlyHere() && (
            <p class="form-note">
              It names {location.hostname}, so it works on this machine only. For others, open this page under a name
              that they can reach.
            </p>
          )}
        </div>
      </div>
    </details>
  )
}

function BotsButton({ play }: { play: Play }) {
  const { phase, seated, refused } = useSource(play.bots.view)
  const label = { none: 'Bring a hundred bots', coming: 'Bots are coming…', there: 'Send the bots off' }[phase]
  return (
    <span class="world-bots">
      <button type="button" class="quiet" aria-pressed={phase !== 'none'} onClick={() => void play.toggleBots(BOTS)}>
        {label}
      </button>
      <span class="world-bots-how" role="status" data-seated={seated}>
        {phase !== 'none' && count(seated, 'bot')}
        {refused !== undefined && ` ${phase === 'none' ? 'No bot came' : 'No more came'}: ${refused}.`}
      </span>
    </span>
  )
}

function Board({ scores: { rank, of, lines } }: { scores: Scores }) {
  return (
    <section aria-labelledby="world-board-title">
      <h3 id="world-board-title">Most buoys</h3>
      {lines.length === 0 ? (
        <p class="waiting">Nobody has reached one yet.</p>
      ) : (
        <ol id="world-board">
          {lines.map(({ name, hue, score }, i) => (
            <li key={i}>
              <Pennant hue={hue} />
              <span class="world-name">{name || 'a boat without a name'}</span>
              <span class="world-number">{score}</span>
            </li>
          ))}
        </ol>
      )}
      <p id="world-rank" class="form-note">
        {rank > 0 ? `You are ${rank} of ${count(of, 'boat')} with a score.` : 'You have none yet.'}
      </p>
    </section>
  )
}

function NearList({ state: { near } }: { state: PlayState }) {
  const left = near.length - MAX_NEAR
  return (
    <section aria-labelledby="world-near-title">
      <h3 id="world-near-title">
        Near you <span class="count">{near.length}</span>
      </h3>
      {near.length === 0 && <p class="waiting">Nobody.</p>}
      <ul id="world-near">
        {near.slice(0, MAX_NEAR).map(({ entity, name, hue, far, direction }) => (
          <li key={entity}>
            <Pennant hue={hue} />
            <span class="world-name">{name}</span>
            <span class="world-number">
              {far} {direction}
            </span>
          </li>
        ))}
      </ul>
      {left > 0 && <p class="form-note">and {left} more</p>}
    </section>
  )
}

function Pennant({ hue }: { hue: number }) {
  return <span class="world-pennant" style={{ '--hue': (hue / 256) * 360 }} aria-hidden="true" />
}

const PHASES = [
  ['inputs', 'inputs'],
  ['game', 'the game'],
  ['encoding', 'encoding'],
  ['looking', 'looking around'],
  ['telling', 'telling'],
] as const

/** Performance figures; in the tab that hosts the world, also what the time of a tick is spent on. */
function GaugesView({ state: { gauges, holds } }: { state: PlayState }) {
  const { ping, waited, hz, inSight, updates, stats } = gauges
  return (
    <section aria-labelledby="world-gauges-title">
      <h3 id="world-gauges-title">How it runs</h3>
      <dl class="world-gauges">
        <dt>Ping</dt>
        <dd id="world-ping">
          {ping === undefined ? 'steer to know' : `${milliseconds(ping)}, ${waited} of them for a tick`}
        </dd>
        <dt>In sight</dt>
        <dd id="world-sight">{inSight}</dd>
        <dt>Updates</dt>
        <dd>{updates} a second</dd>
        <dt>Ticks</dt>
        <dd>
          {hz} a second{stats && `, ${milliseconds(stats.median)} each (p99 ${milliseconds(stats.p99)})`}
        </dd>
        {stats && (
          <>
            <dt>Boats</dt>
            <dd id="world-boats">{stats.players}</dd>
          </>
        )}
      </dl>
      {stats && <Phases gauges={gauges} />}
      {!holds && <p class="form-note">Only the host knows how its ticks spend their time.</p>}
      {stats && stats.shedding !== 'nothing' && <p class="form-note">The room does less of: {stats.shedding}.</p>}
    </section>
  )
}

function Phases({ gauges: { hz, stats } }: { gauges: Gauges }) {
  const period = 1000 / hz
  return (
    <table class="world-phases">
      <caption>Time spent in a tick of {Math.round(period)} ms</caption>
      <tbody>
        {PHASES.map(([phase, words]) => {
          const ms = stats!.phases[phase]
          return (
            <tr key={phase}>
              <th scope="row">{words}</th>
              <td class="world-phase" style={{ '--share': `${Math.min(100, (ms / period) * 100)}%` }}>
                {ms.toFixed(2)} ms
              </td>
            </tr>
          )
        })}
      </tbody>
    </table>
  )
}
