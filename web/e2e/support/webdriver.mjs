// Drives a browser through a W3C standard: Firefox through WebDriver BiDi, WebKit through WebDriver. The tests only need to load a page,
// and to run text in it that resolves to a string.
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { launchFirefox } from '../../test/firefox.mjs'
import { launchWebKit } from '../../test/webkit.mjs'

const POLL_MS = 30

/**
 * @typedef {object} DrivenTab
 * @property {(url: string) => Promise<void>} goto resolves once the page is loaded
 * @property {() => Promise<void>} reload resolves as goto does
 * @property {(body: string) => Promise<string>} run calls an async function with that body in the page
 * @property {() => Promise<void>} close
 *
 * @typedef {object} Driven
 * @property {string} version of the browser
 * @property {() => Promise<DrivenTab>} newTab
 * @property {() => Promise<void>} close
 */

/** @returns {Promise<Driven>} */
export async function startFirefox() {
  const browser = await launchFirefox()
  const socket = new WebSocket(browser.url)
  const calls = new Map()
  let count = 0
  socket.on('message', (text) => {
    const { id, type, result, error, message } = JSON.parse(String(text))
    const call = calls.get(id)
    calls.delete(id)
    if (type === 'error') call?.reject(new Error(`${error}: ${message}`))
    else call?.resolve(result)
  })
  socket.on('close', () => calls.forEach(({ reject }) => reject(new Error(`Firefox has ended\n${browser.log()}`))))
  const send = (method, params) => {
    const id = ++count
    socket.send(JSON.stringify({ id, method, params }))
    return new Promise((resolve, reject) => calls.set(id, { resolve, reject }))
  }
  try {
    await once(socket, 'open')
    const { capabilities } = await send('session.new', { capabilities: {} })
    return {
      version: `Firefox ${capabilities.browserVersion}`,
      async newTab() {
        const { userContext } = await send('browser.createUserContext', {})
        const { context } = await send('browsingContext.create', { type: 'tab', userContext })
        return {
          goto: (url) => send('browsingContext.navigate', { context, url, wait: 'complete' }).then(() => {}),
          reload: () => send('browsingContext.reload', { context, wait: 'complete' }).then(() => {}),
          async run(body) {
            const functionDeclaration = `async () => { ${body} }`
            const called = { functionDeclaration, awaitPromise: true, target: { context } }
            const { type, result, exceptionDetails } = await send('script.callFunction', called)
            if (type === 'success') return result.value
            throw new Error(exceptionDetails.text)
          },
          close: () => send('browser.removeUserContext', { userContext }).then(() => {}),
        }
      },
      close: () => browser.close(),
    }
  } catch (error) {
    await browser.close()
    throw error
  }
}

/** @returns {Promise<Driven>} */
export async function startWebKit() {
  const driver = await launchWebKit()
  const send = async (method, path, body) => {
    const response = await fetch(driver.url + path, { method, ...(body && { body: JSON.stringify(body) }) })
    const { value } = await response.json()
    if (!response.ok) throw new Error(`${value.error}: ${value.message}`)
    return value
  }
  const options = { binary: driver.browser, args: ['--automation'] }
  try {
    const capabilities = { alwaysMatch: { 'webkitgtk:browserOptions': options } }
    const { sessionId, capabilities: granted } = await send('POST', '/session', { capabilities })
    const session = `/session/${sessionId}`
    const first = await send('GET', `${session}/window`)
    // There is one session, whose commands go to the window that was switched to: commands wait for each other.
    let turn = Promise.resolve()
    const inWindow = (handle, method, path, body) => {
      const done = turn.then(async () => {
        await send('POST', `${session}/window`, { handle })
        return send(method, session + path, body)
      })
      turn = done.catch(() => {})
      return done
    }
    return {
      version: `WebKitGTK ${granted.browserVersion}`,
      async newTab() {
        const { handle } = await inWindow(first, 'POST', '/window/new', { type: 'tab' })
        const script = (text) => inWindow(handle, 'POST', '/execute/sync', { script: text, args: [] })
        let count = 0
        return {
          goto: (url) => inWindow(handle, 'POST', '/url', { url }),
          reload: () => inWindow(handle, 'POST', '/refresh', {}),
          async run(body) {
            // A script that waits would block all others, so its result is polled.
            const at = `window[Symbol.for('run ${++count}')]`
            const settled = `(ended) => (${at} = { ended })`
            await script(
              `${at} = {}; (async () => { ${body} })().then(${settled}, (e) => (${at} = { failed: String(e) }))`,
            )
            for (;;) {
              const { ended, failed } = await script(`return ${at} ?? { failed: 'the page was left' }`)
              if (failed !== undefined) throw new Error(failed)
              if (ended !== undefined) return ended
              await sleep(POLL_MS)
            }
          },
          close: () => inWindow(handle, 'DELETE', '/window').then(() => {}),
        }
      },
      close: () => driver.close(),
    }
  } catch (error) {
    await driver.close()
    throw error
  }
}
