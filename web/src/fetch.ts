import { TomboloError } from './errors.js'
import { compiled, compiledNow, type OnProgress, type Platform } from './load.js'

/** Fetches and compiles programs in a page or in a worker. Only a worker may block while it does. */
export const FETCHING: Platform = {
  compile: compileFetched,
  ...('WorkerGlobalScope' in globalThis && { compileNow: compileFetchedNow }),
  ahead: true,
}

/** How long after a failure of the network the program is fetched again, in milliseconds. */
const RETRY_MS = 500

/**
 * Fetches the program and compiles it while it arrives. If the network fails, it tries once more: a browser breaks off every request when the
 * network changes.
 */
export async function compileFetched(url: URL, onProgress: OnProgress | undefined): Promise<WebAssembly.Module> {
  try {
    return await compileOnce(url, onProgress)
  } catch (error) {
    const { code } = error as Partial<TomboloError>
    if (code !== 'wasm-unreachable' && code !== 'wasm-truncated') throw error
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    return compileOnce(url, onProgress)
  }
}

async function compileOnce(url: URL, onProgress: OnProgress | undefined): Promise<WebAssembly.Module> {
  const response = await get(url)
  assertUsable(response, url)
  // Reading a second copy costs time, so this is done only if somebody wants the progress.
  const counting = onProgress && count(response.clone(), onProgress)
  const module = compiled(WebAssembly.compileStreaming(response), url.href)
  const [download, compile] = await Promise.allSettled([counting, module])
  const failed = [download, compile].find((result) => result.status === 'rejected')
  if (failed === undefined) return module
  const cause: unknown = failed.reason
  if (cause instanceof TomboloError) throw cause
  throw new TomboloError('wasm-truncated', `${url.href} broke off while it was loading: ${String(cause)}`, { cause })
}

/** Fetches and compiles the program while the caller blocks, which only a worker may do. */
export function compileFetchedNow(url: URL): WebAssembly.Module {
  const request = new XMLHttpRequest()
  request.open('GET', url, false)
  request.responseType = 'arraybuffer'
  try {
    request.send()
  } catch (cause) {
    throw new TomboloError('wasm-unreachable', `${url.href} could not be fetched: ${String(cause)}`, { cause })
  }
  const { status } = request
  const headers = new Headers({ 'content-type': request.getResponseHeader('content-type') ?? 'none' })
  assertUsable({ status, ok: status >= 200 && status < 300, headers }, url)
  return compiledNow(() => new WebAssembly.Module(request.response as ArrayBuffer), url.href)
}

async function get(url: URL): Promise<Response> {
  try {
    return await fetch(url, { credentials: 'same-origin' })
  } catch (cause) {
    throw new TomboloError('wasm-unreachable', `${url.href} could not be fetched: ${String(cause)}`, { cause })
  }
}

/** Throws an error that says what is wrong with a response. Compiling would fail, too, but its error would not say why. */
function assertUsable(response: Pick<Response, 'status' | 'ok' | 'headers'>, url: URL): void {
  if (response.status === 404 || response.status === 410) {
    throw new TomboloError('wasm-not-found', `${url.href} does not exist (HTTP ${response.status})`)
  }
  if (!response.ok) {
    throw new TomboloError('wasm-refused', `${url.href} was answered with HTTP ${response.status}`)
  }
  const type = response.headers.get('content-type') ?? 'none'
  if (type.split(';', 1)[0]?.trim().toLowerCase() !== 'application/wasm') {
    throw new TomboloError(
      'wasm-type',
      `${url.href} must be served as application/wasm, but its content type is ${type}`,
    )
  }
}

/** Reads a copy of the response to its end, for the progress. The original goes to the compiler unchanged. */
async function count(copy: Response, onProgress: OnProgress): Promise<void> {
  const encoding = copy.headers.get('content-encoding') ?? ''
  const reader = copy.body!.getReader()
  let loaded = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return
    loaded += value.byteLength
    onProgress({ loaded, encoding })
  }
}
