import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createContext, runInContext } from 'node:vm'
import { TomboloError } from '../../src/errors.js'
import { Loan, type Wire } from '../../src/wire/wire.js'
import { wires } from './support/pair.js'

const echo = (_on: number, _method: string, args: unknown[]) => args[0]

async function across<T>(value: T, answer: (on: number, method: string, args: unknown[]) => unknown = echo) {
  const { page, close } = wires(answer)
  try {
    return (await page.call(0, 'f', [value])) as T
  } finally {
    close()
  }
}

/** Imitates the reactive lists and objects of frameworks: they cannot be cloned, and everything in them is a proxy, too. */
function reactive<T extends object>(value: T): T {
  return new Proxy(value, {
    get(target, key, receiver) {
      const inner = Reflect.get(target, key, receiver) as unknown
      return typeof inner === 'object' && inner !== null ? reactive(inner) : inner
    },
  })
}

test('options in proxies arrive as what they stand for', async () => {
  const options = { relays: ['/a', '/b'], deep: { list: [{ peer: 'x' }, 5, null, undefined, true] } }
  assert.deepEqual(await across(reactive(options)), options)
  assert.deepEqual(await across(reactive(['one', ['two']])), ['one', ['two']])
  assert.deepEqual(await across({ relays: reactive(['/a']) }), { relays: ['/a'] })
})

test('an argument without an end is refused, and what is not known crosses as nothing', async () => {
  const circle: Record<string, unknown> = {}
  circle['self'] = circle
  await assert.rejects(across(circle), { name: 'TomboloError', code: 'argument' })
  assert.deepEqual(await across({ date: new Date(), symbol: Symbol('a'), map: new Map() } as object), {
    date: {},
    symbol: {},
    map: {},
  })
})

test('bytes are copied, whatever they are a view of, and whose they are', async () => {
  const buffer = Buffer.from('a Buffer is a view of a buffer that others use')
  const got = await across<Uint8Array>(buffer)
  assert.deepEqual([...got], [...buffer])
  assert.ok(buffer.length > 0, 'it was not transferred')
  const whole = new Uint8Array([1, 2, 3])
  await across(whole)
  assert.equal(whole.length, 3)
  const foreign = runInContext('new Uint8Array([7, 8])', createContext()) as Uint8Array
  assert.deepEqual([...(await across(foreign))], [7, 8])
  assert.deepEqual([...(await across({ identity: foreign })).identity], [7, 8])
  const shared = new Uint8Array(new SharedArrayBuffer(2)).fill(9)
  assert.deepEqual([...(await across<Uint8Array>(shared))], [9, 9])
})

test('an error keeps its class, code, reason and causes', async () => {
  const fail = (error: unknown) => across(null, () => Promise.reject(error))
  const cause = new TypeError('inner', { cause: new RangeError('innermost') })
  await assert.rejects(
    fail(new TomboloError('stream', 'no', { reason: 'peer lost', cause })),
    (error: TomboloError) => {
      assert.ok(error instanceof TomboloError)
      assert.deepEqual([error.code, error.reason, error.message], ['stream', 'peer lost', 'no'])
      assert.ok(error.cause instanceof TypeError && error.cause.cause instanceof RangeError)
      return true
    },
  )
  await assert.rejects(fail(new DOMException('gone', 'AbortError')), (error: Error) => {
    return error instanceof DOMException && error.name === 'AbortError'
  })
  await assert.rejects(fail('just text'), { name: 'Error', message: 'just text' })
  const round: Error = new Error('round')
  round.cause = round
  await assert.rejects(fail(round), { message: 'round' })
})

test('a function that is given with a call can be called until the call is answered', async () => {
  let kept: ((n: number) => Promise<number>) | undefined
  const { page, close } = wires(async (_on, _method, [f]) => {
    kept = f as typeof kept
    return kept!(20)
  })
  assert.equal(await page.call(0, 'f', [(n: number) => n + 1]), 21)
  await assert.rejects(kept!(1), { code: 'closed' })
  close()
})

test('a function that is lent twice is two loans', async () => {
  const given: ((n: number) => Promise<number>)[] = []
  const { page, close } = wires((_on, _method, [f]) => void given.push(f as (typeof given)[0]))
  const f = (n: unknown) => (n as number) + 1
  const [one, two] = [new Loan(f), new Loan(f)]
  await page.call(0, 'respond', [one])
  await page.call(0, 'respond', [two])
  page.takeBack(two)
  assert.equal(await given[0]!(1), 2)
  await assert.rejects(given[1]!(1), { code: 'closed' })
  close()
})

test('a signal is followed until the call is answered', async () => {
  const controller = new AbortController()
  const reason = new TomboloError('timeout', 'enough')
  const { page, close } = wires((_on, _method, [options]) => {
    const { signal } = options as { signal: AbortSignal }
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
  })
  const call = page.call(0, 'f', [{ signal: controller.signal }])
  controller.abort(reason)
  await assert.rejects(call, { code: 'timeout', message: 'enough' })
  close()
})

test('what is pending rejects when the other end is gone, and so does what comes later', async () => {
  const { page, close } = wires(() => new Promise(() => {}))
  const pending = page.call(0, 'f', [])
  page.end(new TomboloError('restart', 'it crashed'))
  await assert.rejects(pending, { code: 'restart' })
  await assert.rejects((page as Wire).call(0, 'f', []), { code: 'restart' })
  close()
})
