/** In characters: a line or two. */
const MAX_SHOWN = 160
/** No error is worth more. */
const MAX_TEXT = 8_000

/** What the machine said: in view if it is short, or else folded away. */
export function Detail({ text }: { text: string }) {
  if (text.length <= MAX_SHOWN) return <p class="problem-detail">{text}</p>
  return (
    <details class="problem-more">
      <summary>What exactly went wrong</summary>
      <p class="problem-detail">{text.slice(0, MAX_TEXT)}</p>
    </details>
  )
}
