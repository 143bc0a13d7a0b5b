import type { ViewProps } from '../lazy-view.js'
import { TalkSheet } from '../talk/talk-sheet.js'

/** Rooms of messages. */
export default function TalkView({ state, desk }: ViewProps) {
  return (
    <div class="sheets">
      <TalkSheet state={state} talk={desk.talk} />
    </div>
  )
}
