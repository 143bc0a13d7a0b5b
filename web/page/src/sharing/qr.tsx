import { encodeQR } from 'qr'
import { useMemo } from 'preact/hooks'

/** The quiet zone around a QR code, in modules (ISO/IEC 18004). */
const QUIET = 4
/** The longest text; a longer one makes a code too fine for the size at which it is shown. */
const MAX_CHARS = 500

/**
 * A QR code. It is dark on white in every colour scheme, because cameras hardly read any other. Renders nothing if the text is too long.
 */
export function Qr({ text, label }: { text: string; label: string }) {
  const drawn = useMemo(() => draw(text), [text])
  if (drawn === undefined) return null
  const { side, path } = drawn
  return (
    <svg class="qr" viewBox={`0 0 ${side} ${side}`} role="img" aria-label={label} shape-rendering="crispEdges">
      <path d={`M0 0h${side}v${side}h-${side}z`} fill="#fff" />
      <path d={path} fill="#000" />
    </svg>
  )
}

/** Merges each run of dark modules in a row into one rectangle. */
function draw(text: string): { side: number; path: string } | undefined {
  if (text.length > MAX_CHARS) return undefined
  const rows = encodeQR(text, 'raw', { ecc: 'medium', border: QUIET })
  let path = ''
  rows.forEach((row, y) => {
    for (let x = 0; x < row.length; x++) {
      const from = x
      while (row[x]) x++
      if (x > from) path += `M${from} ${y}h${x - from}v1H${from}z`
    }
  })
  return { side: rows.length, path }
}
