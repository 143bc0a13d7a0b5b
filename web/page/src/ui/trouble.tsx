import type { Failure } from '../failures.js'

/** What went wrong with something that a person asked for, in the sheet where they asked. */
export function Trouble({ failure }: { failure: Failure | undefined }) {
  if (failure === undefined) return null
  return (
    <div class="trouble" role="alert">
      <p>
        <strong>{failure.title}.</strong> {failure.advice}
      </p>
      <p class="problem-detail">{failure.detail}</p>
    </div>
  )
}
