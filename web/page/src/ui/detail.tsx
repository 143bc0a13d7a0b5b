/** In characters: a line or two. */
const MAX_SHOWN = 160
/** In characters: longer error texts are cut. */
const MAX_TEXT = 8_000

/** A technical error text: shown if it is short, otherwise folded away. */
export function Detail({ text }: { text: string }) {
  if (text.length <= MAX_SHOWN) return <p class="problem-detail">{text}</p>
  return (
    <details class="problem-more">
      <summary>What exactly went wrong</summary>
      <p class="problem-detail">{text.slice(0, MAX_TEXT)}</p>
    </details>
  )
}
