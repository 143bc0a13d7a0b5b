import type { Failure } from '../failures.js'
import { Detail } from './detail.js'

/** Why something that a person asked for failed, shown in the sheet where they asked. */
export function Trouble({ failure }: { failure: Failure | undefined }) {
  if (failure === undefined) return null
  return (
    <div class="trouble" role="alert">
      <p>
        <strong>{failure.title}.</strong> {failure.advice}
      </p>
      <Detail text={failure.detail} />
    </div>
  )
}
