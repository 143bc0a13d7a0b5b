// The flags that go test passes to a test binary.

/** Returns the value of -test.NAME, or undefined. */
export function testFlag(args, name) {
  const prefix = `-test.${name}=`
  return args.findLast((arg) => arg.startsWith(prefix))?.slice(prefix.length)
}

// Flags that write a file, which a page cannot do.
const files = [
  'coverprofile',
  'cpuprofile',
  'memprofile',
  'blockprofile',
  'mutexprofile',
  'trace',
  'gocoverdir',
  'artifacts',
]

/** Returns the arguments for a test in a page. Throws if they ask for a file. */
export function withoutFiles(args) {
  for (const name of files) {
    if (testFlag(args, name)) throw new Error(`-test.${name}: a browser has no file system to write it to; try "node"`)
  }
  return args.filter((arg) => !/^-test\.(testlogfile|outputdir)=/.test(arg)) // one is for go's cache, the other has no use here
}

const units = { h: 3_600_000, m: 60_000, s: 1000, ms: 1, us: 1e-3, µs: 1e-3, ns: 1e-6 }

/** Converts a Go duration such as 1m30s to milliseconds. */
export function parseDuration(text) {
  let ms = 0
  for (const [, number, unit] of text.matchAll(/([\d.]+)(h|ms|m|us|µs|ns|s)/g)) ms += Number(number) * units[unit]
  return ms
}
