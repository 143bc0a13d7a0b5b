import type { JSX } from 'preact'

const RED = '#c8202f'
const BLUE = '#1c4f9c'
const YELLOW = '#f2c230'
const WHITE = '#ffffff'
const BLACK = '#1b1e22'

/** Pairs of colours that are easy to tell apart, as on real signal flags. */
const PAIRS = [
  [WHITE, RED],
  [WHITE, BLUE],
  [YELLOW, BLUE],
  [YELLOW, RED],
  [YELLOW, BLACK],
  [RED, WHITE],
  [BLUE, WHITE],
  [BLUE, YELLOW],
] as const

/** The pattern in the second colour over a field of the first, 24 by 18. */
const PATTERNS: ((colour: string) => JSX.Element)[] = [
  (c) => <path d="M12 0H24V18H12z" fill={c} />,
  (c) => <path d="M0 9H24V18H0z" fill={c} />,
  (c) => <path d="M0 6H24V12H0z" fill={c} />,
  (c) => <path d="M8 0H16V18H8z" fill={c} />,
  (c) => <path d="M9 0H15V6H24V12H15V18H9V12H0V6H9z" fill={c} />,
  (c) => <path d="M0 0L24 18M24 0L0 18" stroke={c} stroke-width="5" />,
  (c) => <path d="M6 4.500H18V13.500H6z" fill={c} />,
  (c) => <path d="M12 0H24V9H0V18H12z" fill={c} />,
  (c) => <path d="M0 18L24 0V18z" fill={c} />,
  (c) => <circle cx="12" cy="9" r="5.500" fill={c} />,
  (c) => <path d="M12 1L22 9L12 17L2 9z" fill={c} />,
  (c) => <path d="M0 0L12 9L0 18z" fill={c} />,
]

/** A signal flag made from a peer ID, to make a peer recognizable at a glance. */
export function Flag({ id, small = false }: { id: string; small?: boolean }) {
  const hash = fnv1a(id)
  const [field, charge] = PAIRS[hash % PAIRS.length]!
  const pattern = PATTERNS[Math.floor(hash / PAIRS.length) % PATTERNS.length]!
  return (
    <svg class={small ? 'flag small' : 'flag'} viewBox="0 0 24 18" width="24" height="18" aria-hidden="true">
      <path d="M0 0H24V18H0z" fill={field} />
      {pattern(charge)}
      <path class="flag-edge" d="M.5 .5H23.5V17.5H.5z" />
    </svg>
  )
}

function fnv1a(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0
  return (hash ^ (hash >>> 15)) >>> 0
}
