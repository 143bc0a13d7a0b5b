import type { CDPSession, Page } from '@playwright/test'

export type Kind = 'dedicated' | 'shared'

/** Returns how many workers of a kind there are in the browser. A page has none of these kinds except its node's. */
export async function countWorkers(page: Page, kind: Kind): Promise<number> {
  if (kind === 'dedicated') return page.workers().length
  return (await sharedWorkers(await browserSession(page))).length
}

/**
 * Runs a function in the worker of a page's node, without waiting for it to return. The function must not use anything from its
 * surroundings.
 */
export async function runInWorker(page: Page, kind: Kind, f: () => void): Promise<void> {
  if (kind === 'dedicated') {
    await page.workers()[0]!.evaluate(f)
    return
  }
  const browser = await browserSession(page)
  const targetId = (await sharedWorkers(browser)).at(-1)!.targetId
  // Playwright has no handle for a shared worker.
  const { sessionId } = await browser.send('Target.attachToTarget', { targetId, flatten: false })
  const message = JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression: `(${String(f)})()` } })
  const answered = new Promise<string>((resolve) => {
    browser.on('Target.receivedMessageFromTarget', (event) => event.sessionId === sessionId && resolve(event.message))
  })
  await browser.send('Target.sendMessageToTarget', { sessionId, message })
  const answer = JSON.parse(await answered) as { result?: { exceptionDetails?: { text: string } } }
  if (answer.result?.exceptionDetails) throw new Error(answer.result.exceptionDetails.text)
}

function browserSession(page: Page): Promise<CDPSession> {
  return page.context().browser()!.newBrowserCDPSession()
}

async function sharedWorkers(browser: CDPSession) {
  const { targetInfos } = await browser.send('Target.getTargets')
  return targetInfos.filter(({ type }) => type === 'shared_worker')
}
