import type { State } from './state.js'
import { milliseconds } from '../ui/format.js'

type Point = readonly [x: number, y: number]

const TAB: Point = [318, 200]
const RELAY: Point = [850, 206]
/** Shows how much of the sand bar is dry: it dries as the program loads, and floods when the relay is lost. */
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

/** The marks on the chart: this tab, and the relay that it connects to. All other peers are in the picture of the mesh. */
export function Marks({ state }: { state: State }) {
  const { self, relay, peers } = state
  const rtt = peers.find((peer) => peer.id === relay?.id)?.rtt
  return (
    <svg class="chart-marks" viewBox="-20 0 1220 400" preserveAspectRatio="xMidYMid slice" aria-hidden="true">
      {relay && (
        <Light
          at={RELAY}
          lit={state.phase === 'joined'}
          name="relay"
          note={rtt == null ? undefined : milliseconds(rtt)}
        />
      )}
      <Light at={TAB} lit={self !== undefined && state.phase !== 'failed'} name="this tab" note={undefined} />
    </svg>
  )
}

interface LightProps {
  at: Point
  lit: boolean
  name: string
  note: string | undefined
}

/** A light with the flare that nautical charts draw. */
function Light({ at: [x, y], lit, name, note }: LightProps) {
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
