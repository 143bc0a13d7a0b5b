import type { ViewProps } from '../lazy-view.js'
import { MeshSheet } from '../mesh/mesh-sheet.js'
import { Peers } from '../tab/peers.js'

/** Which peers are connected to which. */
export default function MeshView({ state, session, desk }: ViewProps) {
  return (
    <div class="sheets">
      <MeshSheet state={state} mesh={desk.mesh} traffic={desk.traffic} />
      <Peers state={state} session={session} />
    </div>
  )
}
