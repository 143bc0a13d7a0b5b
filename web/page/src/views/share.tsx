import type { ViewProps } from '../lazy-view.js'
import { GettingSheet } from '../sharing/getting-sheet.js'
import { OffersSheet } from '../sharing/offers-sheet.js'
import { PairSheet } from '../sharing/pair-sheet.js'
import { Services, SiteView } from '../tab/services.js'

/** What this tab shares, what the page's link points to, and what others share. */
export default function ShareView({ state, session, desk }: ViewProps) {
  return (
    <div class="sheets">
      <GettingSheet state={state} session={session} getting={desk.getting} />
      {state.site && <SiteView site={state.site} session={session} />}
      <OffersSheet state={state} offers={desk.offers} />
      <PairSheet state={state} pairing={desk.pairing} />
      <Services state={state} session={session} />
    </div>
  )
}
