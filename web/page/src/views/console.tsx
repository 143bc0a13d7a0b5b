import { NodeSheet } from '../console/node-sheet.js'
import { Plots } from '../console/plots.js'
import { SettingsSheet } from '../console/settings-sheet.js'
import { WiresSheet } from '../console/wires-sheet.js'
import type { ViewProps } from '../lazy-view.js'
import { EchoBox } from '../tab/echo.js'
import { ActivityLog } from '../tab/log.js'

/** The node's internals, for the curious. */
export default function ConsoleView({ state, session, desk }: ViewProps) {
  const { wires, offers, instruments, echoes, nodeLog } = desk
  return (
    <div class="sheets">
      <ActivityLog log={state.log} />
      <Plots state={state} instruments={instruments} />
      <WiresSheet state={state} wires={wires} offers={offers} />
      <EchoBox state={state} echoes={echoes} />
      <SettingsSheet />
      <NodeSheet session={session} nodeLog={nodeLog} />
      <p class="form-note">
        In the browser’s own console, the node is <code>tombolo</code>: try <code>await tombolo.peers()</code>.
      </p>
    </div>
  )
}
