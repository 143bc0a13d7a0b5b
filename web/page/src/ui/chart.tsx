import type { PeerInfo } from '@tombolo/node'
import type { State } from '../state.js'
import { milliseconds, shortId } from './format.js'

type Point = readonly [x: number, y: number]

const TAB: Point = [318, 200]
const RELAY: Point = [850, 206]
/** Where peers stand on the mainland; the first ones are in sight on a narrow screen too. */
const PLACES: Point[] = [
  [904, 140],
  [914, 296],
  [985, 214],
  [1082, 128],
  [1078, 300],
  [1120, 214],
  [1010, 340],
  [1010, 60],
]

/** How much of the sand bar is dry, in percent: it rises as the program arrives, and sinks when the relay is lost. */
export function showBar(chart: HTMLElement, { phase, load }: State): void {
  const dry = {
    loading: load.total === 0 ? 0 : (load.done / load.total) * 74,
    joining: 80,
    joined: 102,
    adrift: 40,
    failed: 0,
  }[phase]
  chart.style.setProperty('--dry', String(Math.round(dry * 10) / 10))
  chart.dataset['phase'] = phase
}

/** What stands on the chart: this tab, the relay, the peers, and the ways between them. */
export function Marks({ state }: { state: State }) {
  const { self, relay, peers } = state
  const others = peers.filter((peer) => peer.id !== relay?.id).slice(0, PLACES.length)
  const toRelay = peers.find((peer) => peer.id === relay?.id)
  return (
    <svg class="chart-marks" viewBox="-20 0 1220 400" preserveAspectRatio="xMidYMid slice" aria-hidden="true">
      {others.map((peer, i) => (
        <Way key={peer.id} peer={peer} to={PLACES[i]!} />
      ))}
      {others.map((peer, i) => (
        <Mark key={peer.id} at={PLACES[i]!} name={shortId(peer.id).slice(-4)} note={rtt(peer)} />
      ))}
      {relay && <Light at={RELAY} lit={state.phase === 'joined'} name="relay" note={rtt(toRelay)} />}
      <Light at={TAB} lit={self !== undefined && state.phase !== 'failed'} name="this tab" note={undefined} />
    </svg>
  )
}

function rtt(peer: PeerInfo | undefined): string | undefined {
  return peer?.rtt == null ? undefined : milliseconds(peer.rtt)
}

interface MarkProps {
  at: Point
  name: string
  note: string | undefined
}

function Mark({ at: [x, y], name, note }: MarkProps) {
  return (
    <g class="mark" transform={`translate(${x} ${y})`}>
      <circle r="5" />
      <text class="mark-name" x="11" y="-1">
        {name}
      </text>
      {note !== undefined && (
        <text class="mark-note" x="11" y="14">
          {note}
        </text>
      )}
    </g>
  )
}

/** A light, with the flare that charts give it. */
function Light({ at: [x, y], lit, name, note }: MarkProps & { lit: boolean }) {
  return (
    <g class={lit ? 'light lit' : 'light'} transform={`translate(${x} ${y})`}>
      <circle class="light-glow" r="26" />
      <path class="light-flare" d="M2 -3C14 -22 30 -28 38 -24C44 -18 34 -4 6 3z" />
      <path
        class="light-star"
        d="M0 -8L2 -2.500L8 -2.500L3.200 1.200L5 7L0 3.600L-5 7L-3.200 1.200L-8 -2.500L-2 -2.500z"
      />
      <text class="mark-name" x="0" y="26" text-anchor="middle">
        {name}
      </text>
      {note !== undefined && (
        <text class="mark-note" x="0" y="41" text-anchor="middle">
          {note}
        </text>
      )}
    </g>
  )
}

/** A direct connection crosses the water; one through the relay follows the bar. */
function Way({ peer, to: [x, y] }: { peer: PeerInfo; to: Point }) {
  if (peer.relayed) {
    return (
      <path
        class="way relayed"
        d={`M${TAB[0]} ${TAB[1]}L366 206C510 264 660 162 856 208L${RELAY[0]} ${RELAY[1]}L${x} ${y}`}
      />
    )
  }
  const bend = y < RELAY[1] ? -190 : 190
  return <path class="way direct" d={`M${TAB[0]} ${TAB[1]}Q${(TAB[0] + x) / 2} ${(TAB[1] + y) / 2 + bend} ${x} ${y}`} />
}
