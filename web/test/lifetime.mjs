// For the programs here: manages what lives as long as the run. It is cleaned up after success, failure and Ctrl-C, and if go test has
// died.

const cleanups = []
let finishing
let name = 'test'

/** Registers `cleanup` to run at the end, before those that were registered earlier. */
export function atEnd(cleanup) {
  cleanups.push(cleanup)
}

/** Ends the run: cleans up, prints the reason on standard error if there is one, and exits. Only the first call counts. */
export function finish(code, why) {
  finishing ??= (async () => {
    if (why) process.stderr.write(`${name}: ${why}\n`)
    for (const cleanup of cleanups.reverse()) {
      try {
        await cleanup()
      } catch (err) {
        process.stderr.write(`${name}: clean up: ${err.message}\n`)
        code ||= 1
      }
    }
    process.exit(code)
  })()
  return finishing
}

/** Runs `main`, which calls finish. An error that it throws fails the run. Messages begin with `program`. */
export function runToEnd(program, main) {
  name = program
  for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 })) {
    process.on(signal, () => finish(128 + number, `ended by ${signal}`))
  }
  const parent = process.ppid
  setInterval(() => {
    if (process.ppid !== parent) finish(1, 'whoever started this is gone')
  }, 1000).unref()
  main().catch((err) => finish(1, err.message))
}
