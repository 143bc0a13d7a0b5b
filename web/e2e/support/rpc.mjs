import { createInterface } from 'node:readline'

/** Serves methods to a parent process: each line `{n, method, args}` is answered by a line `{n, result}` or `{n, error}`. */
export function serve(methods) {
  const lines = createInterface(process.stdin)
  lines.on('line', (line) => {
    const { n, method, args } = JSON.parse(line)
    Promise.resolve()
      .then(() => methods[method](...args))
      .then(
        (result) => console.log(JSON.stringify({ n, result: result ?? null })),
        (error) => console.log(JSON.stringify({ n, error: String(error?.stack ?? error) })),
      )
  })
  lines.on('close', () => process.exit(0))
}
