// Runs in the page, or in a worker of it if that was asked for: loads the test, forwards its output, and reports how it ended.
'use strict'
;(async () => {
  const inPage = typeof document !== 'undefined'

  // Synchronous, so that the output of a test that hangs or crashes is complete and in order.
  function post(path, body) {
    const xhr = new XMLHttpRequest()
    xhr.open('POST', path, false)
    xhr.send(body)
  }
  const print = (fd, text) => post(`/out?fd=${fd}`, text)
  function die(err) {
    print(2, `${err?.stack ?? err}\n`)
    post('/exit?code=2')
  }
  addEventListener('error', (event) => die(event.error ?? event.message))
  addEventListener('unhandledrejection', (event) => die(event.reason))
  for (const level of ['log', 'info', 'warn', 'error', 'debug']) {
    console[level] = (...args) => print(2, `[console.${level}] ${args.map(String).join(' ')}\n`)
  }

  if (inPage) fetch('/alive').catch(() => {})
  const { argv, env, where } = await (await fetch('/config')).json()
  if (inPage && where === 'worker') {
    const worker = new Worker('/browser.js')
    worker.onerror = (event) => die(event.message ?? 'the worker did not start')
    return
  }

  await load('/wasm_exec.js')
  // wasm_exec.js has put a stand-in for Node's fs here. A test only needs its writing.
  fs.writeSync = (fd, bytes) => {
    print(fd, bytes.slice()) // a copy: the memory of a program cannot be sent
    return bytes.length
  }
  const go = new Go()
  go.argv = argv
  go.env = env
  let code = 0
  go.exit = (status) => (code = status)
  const { instance } = await WebAssembly.instantiateStreaming(fetch('/test.wasm'), go.importObject)
  await go.run(instance)
  post(`/exit?code=${code}`)

  function load(src) {
    if (!inPage) return importScripts(src)
    return new Promise((resolve, reject) => {
      const script = document.createElement('script')
      script.src = src
      script.onload = resolve
      script.onerror = () => reject(new Error(`${src} did not load`))
      document.head.append(script)
    })
  }
})()
