import { useEffect, useState } from 'preact/hooks'

/** Copies text, and confirms it. */
export function CopyButton({ text, what, label: name = 'Copy' }: { text: string; what: string; label?: string }) {
  const [result, setResult] = useState<'copied' | 'failed' | undefined>()
  useEffect(() => {
    if (result === undefined) return
    const timer = setTimeout(() => setResult(undefined), 2_000)
    return () => clearTimeout(timer)
  }, [result])
  const label = result === 'copied' ? 'Copied' : result === 'failed' ? 'Select it by hand' : name
  return (
    <button type="button" class="quiet" onClick={() => void copy(text).then(setResult)}>
      <span aria-live="polite">{label}</span>
      <span class="hidden"> {what}</span>
    </button>
  )
}

/** Falls back to a selection, because `navigator.clipboard` exists only in secure contexts. */
async function copy(text: string): Promise<'copied' | 'failed'> {
  try {
    await navigator.clipboard.writeText(text)
    return 'copied'
  } catch {
    const area = document.createElement('textarea')
    area.value = text
    document.body.append(area)
    area.select()
    const done = document.execCommand('copy')
    area.remove()
    return done ? 'copied' : 'failed'
  }
}
