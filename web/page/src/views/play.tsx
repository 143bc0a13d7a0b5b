import { useEffect } from 'preact/hooks'
import type { ViewProps } from '../lazy-view.js'
import { WorldSheet } from '../world/world-sheet.js'

/** The world. Its code is loaded with this view. */
export default function PlayView({ state, desk }: ViewProps) {
  useEffect(() => void desk.door.open(), [desk])
  return (
    <div class="sheets">
      <WorldSheet state={state} door={desk.door} />
    </div>
  )
}
