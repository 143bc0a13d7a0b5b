// The measurements in a page, the same for both sides. Each side provides a driver:
//
//   start(): Promise<void>                              creates a node
//   reserved(): Promise<void>                           resolves when the node has a reservation, if start() asked for one
//   connect(addr): Promise<peer>                        dials; resolves to a peer, as open takes it
//   address(peer): Promise<string>                      the address that it is connected to
//   open(peer, protocol): Promise<Stream>
//   messages(type, heard): Promise<string>              calls heard() for each message of the type; resolves to its own ID
//   serve(protocol, f): Promise<string>                 calls f(stream) for each stream of the protocol; resolves to its own ID
//
// and a Stream is
//
//   send(bytes): Promise<void>       resolves when more may be sent
//   receive(): Promise<{ byteLength } | null>           null at the end
//   end(): Promise<void>             ends the sending half

const ECHO = '/tombolo/echo/1.0.0'
const CHUNK = 64 << 10

/** Runs the plan of this page and reports each figure when it is known. */
export async function run(driver) {
  const { plan } = globalThis.bench
  const { messages, tunnel, soak } = plan
  try {
    if (plan.start) return await starting(driver, plan)
    await driver.start()
    const relay = await driver.connect(plan.relay)
    await check(driver, relay, plan.relay)
    for (const { area, address, bytes, rounds, opens } of plan.targets) {
      const peer = await driver.connect(address)
      await check(driver, peer, address)
      if (rounds > 0) await echo(driver, peer, area, rounds)
      if (opens > 0) await opening(driver, peer, area, opens)
      const stall = watchStalls()
      // Download first. An upload that fills the line raises its delay, from which quic-go's slow start concludes that its own sending has
      // filled the line (hybrid_slow_start.go). It then adds one packet a round trip for the rest of the connection.
      await download(driver, peer, area, bytes)
      await upload(driver, peer, area, bytes)
      await report(`${area}/longest-stall`, stall())
    }
    if (messages) await receiving(driver, messages)
    if (tunnel) await serving(driver, tunnel)
    if (soak) await soaking(driver, soak)
    await post('/done', {})
  } catch (err) {
    await post('/failed', { error: String(err?.stack ?? err) })
  }
}

export const post = (path, body) => fetch(path, { method: 'POST', body: JSON.stringify(body) })
export const report = (figure, value, more) => post('/figure', { figure, value, ...more })

/** Reports the time from the start of the navigation until the node was created and connected, and reloads as long as it is told to. */
async function starting(driver, plan) {
  const figures = {}
  await driver.start()
  figures['node-made'] = performance.now()
  if (plan.start === 'app') {
    await driver.reserved()
    figures.reserved = performance.now()
  } else {
    const relay = await driver.connect(plan.relay)
    figures.connected = performance.now()
    await check(driver, relay, plan.relay)
  }
  const { again } = await (await post('/loaded', { figures })).json()
  await post('/linear', { bytes: await linearMemory() })
  if (again) location.reload()
  else await post('/done', {})
}

/** Returns the size of the programs' memories in bytes, wherever they run; see memory.js. */
function linearMemory() {
  const here = globalThis.benchMemory?.() ?? 0
  if (here > 0) return here
  const channel = new BroadcastChannel('bench memory')
  const answered = new Promise((resolve) => {
    channel.onmessage = ({ data }) => resolve(data)
    setTimeout(() => resolve(0), 1000) // there is no program
  })
  channel.postMessage('how much?')
  return answered
}

/** Throws unless the connection uses the transport that was asked for. */
async function check(driver, peer, wanted) {
  const got = await driver.address(peer)
  const kind = (addr) => ['p2p-circuit', 'webtransport', 'ws'].find((name) => addr.includes(`/${name}`))
  if (kind(got) !== kind(wanted)) throw new Error(`asked for ${wanted}, connected over ${got}`)
}

/** Reads exactly `size` bytes. */
export async function receive(stream, size) {
  for (let got = 0; got < size;) {
    const data = await stream.receive()
    if (data === null) throw new Error(`the stream ended after ${got} of ${size} bytes`)
    got += data.byteLength
  }
}

async function end(stream) {
  await stream.end()
  while ((await stream.receive()) !== null);
}

/** Measures round trips of 64 bytes over one stream, in microseconds. */
async function echo(driver, peer, area, rounds) {
  const stream = await driver.open(peer, ECHO)
  const bytes = new Uint8Array(64).fill(7)
  const times = []
  for (let i = -100; i < rounds; i++) {
    const start = performance.now()
    await stream.send(bytes)
    await receive(stream, bytes.length)
    if (i >= 0) times.push((performance.now() - start) * 1000)
  }
  await end(stream)
  times.sort((a, b) => a - b)
  await report(`${area}/echo-p50`, groupedMedian(times))
  await report(`${area}/echo-p99`, times[Math.floor(times.length * 0.99)])
}

/** The resolution of a page's clock, in microseconds. */
const STEP = 100

/**
 * Returns the median of sorted times that were rounded to steps. Its position within its step follows from how many times are below that
 * step.
 */
export function groupedMedian(times) {
  const middle = Math.round(times[times.length >> 1] / STEP)
  const below = times.filter((time) => Math.round(time / STEP) < middle).length
  const within = times.filter((time) => Math.round(time / STEP) === middle).length
  return (middle - 0.5 + (times.length / 2 - below) / within) * STEP
}

/** Opens a stream, has a few bytes echoed, and closes it. */
async function visit(driver, peer) {
  const stream = await driver.open(peer, ECHO)
  const bytes = new Uint8Array(16).fill(9)
  await stream.send(bytes)
  await receive(stream, bytes.length)
  await end(stream)
}

async function opening(driver, peer, area, count) {
  for (let i = 0; i < 30; i++) await visit(driver, peer)
  let start = performance.now()
  for (let i = 0; i < count; i++) await visit(driver, peer)
  await report(`${area}/streams-in-turn`, (count * 1000) / (performance.now() - start))

  const at = []
  for (let round = 0; round < 5; round++) {
    start = performance.now()
    await Promise.all(Array.from({ length: 100 }, () => visit(driver, peer)))
    at.push(performance.now() - start)
  }
  await report(`${area}/streams-100-at-once`, at.sort((a, b) => a - b)[2])
}

/** Measures from the first byte until the far side confirms that it has all of them, in MiB per second. */
async function upload(driver, peer, area, size) {
  const stream = await driver.open(peer, '/test/sink/1')
  const chunk = new Uint8Array(CHUNK).fill(5)
  const start = performance.now()
  for (let sent = 0; sent < size; sent += CHUNK) await stream.send(chunk)
  await stream.end()
  const answer = []
  for (let data; (data = await stream.receive()) !== null;) answer.push(...data.subarray())
  const took = performance.now() - start
  const hex = answer.map((byte) => byte.toString(16).padStart(2, '0')).join('')
  await report(`${area}/upload`, size / (1 << 20) / (took / 1000), {
    count: parseInt(hex.slice(0, 16), 16),
    sha256: hex.slice(16),
  })
}

/** Measures from the request to the last byte, in MiB per second. */
async function download(driver, peer, area, size) {
  const stream = await driver.open(peer, '/test/source/1')
  const request = new Uint8Array(8)
  new DataView(request.buffer).setBigUint64(0, BigInt(size))
  const start = performance.now()
  await stream.send(request)
  await receive(stream, size)
  const took = performance.now() - start
  await end(stream)
  await report(`${area}/download`, size / (1 << 20) / (took / 1000))
}

/** Measures messages that another peer sends as fast as they are read. None may be lost: the page waits for all of them. */
async function receiving(driver, { area, address, type, count, size }) {
  let got = 0
  let first
  let all
  const done = new Promise((resolve) => (all = resolve))
  const peer = await driver.messages(type, () => {
    first ??= performance.now()
    if (++got === count) all(performance.now())
  })
  await driver.connect(address)
  const stall = watchStalls()
  await post('/flood', { peer, type, count, size })
  const last = await done
  await report(`${area}/longest-stall`, stall())
  await report(`${area}/received`, (count * 1000) / (last - first))
}

/** Watches for the longest time between two turns of the page's thread. The returned function gives it in milliseconds. */
export function watchStalls() {
  let longest = 0
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
  }, 1)
  return () => {
    clearInterval(timer)
    return Math.max(longest, performance.now() - last)
  }
}

/** Serves what a TCP client measures through a native node. */
async function serving(driver, { area, address, bytes }) {
  await driver.serve('/x/bench/pull', async (stream) => {
    const chunk = new Uint8Array(CHUNK)
    for (let sent = 0; sent < bytes; sent += CHUNK) await stream.send(chunk)
    await stream.end()
  })
  const peer = await driver.serve('/x/bench/push', async (stream) => {
    while ((await stream.receive()) !== null);
    await stream.send(new Uint8Array(8))
    await stream.end()
  })
  await driver.connect(address)
  await post('/tunnel', { area, peer, bytes })
}

/** Receives messages and opens streams in every minute, and has the memory measured after each. */
async function soaking(driver, { address, minutes, streams, messages }) {
  let got = 0
  let wanted = 0
  let all
  const peer = await driver.messages(messages.type, () => ++got === wanted && all())
  const host = await driver.connect(address)
  await driver.connect(messages.address)
  for (let minute = 0; minute < minutes; minute++) {
    const over = new Promise((resolve) => setTimeout(resolve, 60_000))
    wanted += messages.count
    const received = new Promise((resolve) => (all = resolve))
    await post('/flood', { peer, ...messages })
    for (let i = 0; i < streams; i++) await visit(driver, host)
    await received
    await over
    await post('/memory', { bytes: await linearMemory() })
  }
}
