// The measurements between two tabs, each in its own browser, that meet through a relay. Each side provides a driver:
//
//   start(): Promise<void>                       creates a peer
//   serve(name, f): Promise<void>                calls f(stream) for each stream with this name
//   address(): Promise<string>                   the address for the other tab's meet, once this tab is reachable
//   meet(address): Promise<number | undefined>   makes the connection to be measured; resolves to the time from the circuit to it, in ms
//   open(name): Promise<Stream>                  a stream, as in measure.js
import { groupedMedian, post, receive, report } from './measure.js'

const CHUNK = 64 << 10
const BYTES = 32 << 20
const ROUNDS = 500
const OPENS = 200

/** Runs this tab: the one that is connected to, or the one that connects and measures. */
export async function run(driver) {
  try {
    await driver.start()
    if (location.search === '?called') await answer(driver)
    else await measure(driver)
  } catch (err) {
    await post('/failed', { error: String(err?.stack ?? err) })
  }
}

async function answer(driver) {
  await driver.serve('echo', async (stream) => {
    for (let data; (data = await stream.receive()) !== null;) await stream.send(data)
    await stream.end()
  })
  await driver.serve('source', async (stream) => {
    await stream.receive()
    const chunk = new Uint8Array(CHUNK).fill(3)
    for (let sent = 0; sent < BYTES; sent += CHUNK) await stream.send(chunk)
    await stream.end()
  })
  await driver.serve('sink', async (stream) => {
    let count = 0
    for (let data; (data = await stream.receive()) !== null;) count += data.byteLength
    await stream.send(new TextEncoder().encode(String(count)))
    await stream.end()
  })
  await put('address', await driver.address())
}

async function measure(driver) {
  const direct = await driver.meet(await take('address'))
  if (direct !== undefined) await report('tabs/direct-after', direct)
  await echo(driver)
  await opens(driver)
  await pull(driver)
  await push(driver)
  await post('/done', {})
}

async function echo(driver) {
  const stream = await driver.open('echo')
  const bytes = new Uint8Array(64).fill(7)
  const times = []
  for (let i = -100; i < ROUNDS; i++) {
    const start = performance.now()
    await stream.send(bytes)
    await receive(stream, bytes.length)
    if (i >= 0) times.push((performance.now() - start) * 1000)
  }
  await end(stream)
  times.sort((a, b) => a - b)
  await report('tabs/echo-p50', groupedMedian(times))
  await report('tabs/echo-p99', times[Math.floor(times.length * 0.99)])
}

async function opens(driver) {
  const bytes = new Uint8Array(16).fill(9)
  const start = performance.now()
  for (let i = 0; i < OPENS; i++) {
    const stream = await driver.open('echo')
    await stream.send(bytes)
    await receive(stream, bytes.length)
    await end(stream)
  }
  await report('tabs/streams-in-turn', (OPENS * 1000) / (performance.now() - start))
}

async function pull(driver) {
  const stream = await driver.open('source')
  const start = performance.now()
  await stream.send(new Uint8Array(1))
  await receive(stream, BYTES)
  await report('tabs/pull', mibPerSecond(start))
  await end(stream)
}

async function push(driver) {
  const stream = await driver.open('sink')
  const chunk = new Uint8Array(CHUNK).fill(5)
  const start = performance.now()
  for (let sent = 0; sent < BYTES; sent += CHUNK) await stream.send(chunk)
  await stream.end()
  let told = ''
  for (let data; (data = await stream.receive()) !== null;) told += new TextDecoder().decode(data.subarray())
  if (told !== String(BYTES)) throw new Error(`${told} of ${BYTES} bytes arrived`)
  await report('tabs/push', mibPerSecond(start))
}

const mibPerSecond = (start) => BYTES / (1 << 20) / ((performance.now() - start) / 1000)

async function end(stream) {
  await stream.end()
  while ((await stream.receive()) !== null);
}

/** Exchanges messages between the two tabs through the server of the pages. */
export const put = (key, value) => post('/put', { key, value })
export const take = async (key) => (await (await post('/take', { key })).json()).value
