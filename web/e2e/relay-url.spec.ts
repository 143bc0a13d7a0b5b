import { rm } from 'node:fs/promises'
import { expect, test } from './support/fixtures.js'
import { Relay } from './support/peers.js'

test('a relay given by its URL is found once it is there, and again where it is another, with other certificates', async ({
  page,
  server,
}) => {
  const relay = await Relay.start()
  await relay.kill()
  const url = relay.url.replace(/\/$/, '')
  await page.goto(server.url)
  await page.evaluate(async (relay) => {
    const { createNode } = (await import(`${location.origin}/index.js`)) as typeof import('@tombolo/node')
    const node = await createNode({ relays: [relay] })
    const told: string[] = []
    for (const type of ['relay:reserved', 'relay:failed'] as const) {
      node.addEventListener(type, ({ detail }: CustomEvent<{ relay: string }>) => told.push(`${type} ${detail.relay}`))
    }
    Object.assign(globalThis, { told })
  }, url)
  const told = () => page.evaluate(() => (globalThis as unknown as { told: string[] }).told)
  await expect.poll(told).toContain(`relay:failed ${url}`)
  await relay.restart()
  await expect.poll(told).toContain(`relay:reserved ${relay.id}`)
  await relay.kill()
  await rm(relay.dir, { recursive: true, force: true })
  await relay.restart()
  const others = async () => (await told()).filter((what) => /reserved/.test(what) && !what.endsWith(relay.id))
  await expect.poll(others).toHaveLength(1)
  await relay.stop()
})
