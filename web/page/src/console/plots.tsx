import { useContext } from 'preact/hooks'
import type { Instruments } from './instruments.js'
import { extent, plot, roundTop, type Sample, WINDOW_MS } from './series.js'
import { useSource } from '../source.js'
import type { State } from '../tab/state.js'
import { Flag } from '../ui/flag.js'
import { milliseconds, perSecond } from '../ui/format.js'
import { Names, peerText } from '../ui/peer.js'
import { Trouble } from '../ui/trouble.js'

const WIDTH = 300
const HEIGHT = 48

/** Plots of the last minutes: the round trip to each peer, and bytes sent and received. */
export function Plots({ state, instruments }: { state: State; instruments: Instruments }) {
  const { now, rtt, sent, received, failure } = useSource(instruments.readings)
  const { peers, relay } = state
  const names = useSource(useContext(Names))
  return (
    <section class="sheet plots" aria-labelledby="plots-title">
      <h2 id="plots-title">Round trips and traffic</h2>
      {peers.length === 0 && <p class="waiting">There is nobody to measure a round trip to yet.</p>}
      <div class="plot-grid">
        {peers.map(({ id }) => (
          <Plot
            key={id}
            data={{ 'data-rtt': id }}
            name={`Round trip to ${id === relay?.id ? 'the relay ' : ''}${peerText(id, names)}`}
            flag={id}
            samples={rtt.get(id) ?? []}
            now={now}
            format={milliseconds}
          />
        ))}
        <Plot data={{ 'data-flow': 'sent' }} name="Sent" samples={sent} now={now} format={perSecond} />
        <Plot data={{ 'data-flow': 'received' }} name="Received" samples={received} now={now} format={perSecond} />
      </div>
      <p class="plot-note">
        The last {WINDOW_MS / 60_000} minutes, as far as this page was in view; a gap is a measurement that failed.
        Traffic is what the node counts: messages to single peers, and streams. Not counted are broadcasts, what the
        mesh needs for itself, and streams over WebTransport, whose bytes the browser carries past the node.
      </p>
      <Trouble failure={failure} />
    </section>
  )
}

interface PlotProps {
  data: Record<`data-${string}`, string>
  name: string
  flag?: string
  samples: readonly Sample[]
  now: number
  format: (value: number) => string
}

function Plot({ data, name, flag, samples, now, format }: PlotProps) {
  const seen = extent(samples)
  const top = roundTop(seen?.max ?? 0)
  return (
    <figure class="plot" {...data}>
      <figcaption>
        <span class="plot-name">
          {flag !== undefined && <Flag id={flag} small />} {name}
        </span>
        <span class="plot-values">
          {seen ? (
            <>
              <b>{format(seen.last)}</b> (min {format(seen.min)}, max {format(seen.max)})
            </>
          ) : (
            'not measured yet'
          )}
        </span>
      </figcaption>
      <svg viewBox={`0 -3 ${WIDTH} ${HEIGHT + 6}`} preserveAspectRatio="none" aria-hidden="true">
        <path class="plot-rules" d={`M0 0H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT}H${WIDTH}`} />
        <path class="plot-line" d={plot(samples, now, top, WIDTH, HEIGHT)} />
      </svg>
      <span class="plot-top" aria-hidden="true">
        {format(top)}
      </span>
    </figure>
  )
}
