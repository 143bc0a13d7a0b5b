import type { Problem } from '../problems.js'
import { Detail } from './detail.js'

interface Props {
  problem: Problem
  /** Whether it means that there is no node. */
  grave?: boolean
  onRetry?: () => void
}

export function ProblemBox({ problem, grave = false, onRetry }: Props) {
  return (
    <section class={grave ? 'problem grave' : 'problem'} role={grave ? 'alert' : 'status'} data-kind={problem.kind}>
      <h2>{problem.title}</h2>
      <p>{problem.advice}</p>
      <Detail text={problem.detail} />
      {onRetry && <button onClick={onRetry}>Try again</button>}
    </section>
  )
}
