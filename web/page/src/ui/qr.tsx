import { encodeQR } from 'qr'
import { useMemo } from 'preact/hooks'

/** The quiet zone around a QR code, in modules (ISO/IEC 18004). */
const QUIET = 4

/** A QR code, dark on white in every colour scheme: cameras read no other well. */
export function Qr({ text, label }: { text: string; label: string }) {
  const { side, path } = useMemo(() => draw(text), [text])
  return (
    <svg class="qr" viewBox={`0 0 ${side} ${side}`} role="img" aria-label={label} shape-rendering="crispEdges">
      <path d={`M0 0h${side}v${side}h-${side}z`} fill="#fff" />
      <path d={path} fill="#000" />
    </svg>
  )
}

/** One rectangle for each run of dark modules in a row. */
function draw(text: string): { side: number; path: string } {
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
