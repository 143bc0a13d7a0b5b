import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Page } from '@playwright/test'
import { build as vite, createServer, type InlineConfig } from 'vite'
import { blocks } from '../scripts/blocks.mjs'
import { expect, test as base } from './support/fixtures.js'
import { natively, type NativeMessenger } from './support/messengers.js'
import { Program } from './support/process.js'
import { StaticServer } from './support/static-server.js'

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))

/** The READMEs with a whole program: one that sends a hello to a mesh, and prints the messages that it receives. */
const READMES = ['../../README.md', '../src/README.md']

interface Project {
  /** A folder with the package installed from its tarball, the README's snippet as main.js, and an empty page for it. */
  project: string
  /** A peer that is subscribed to the type in the snippet. */
  native: NativeMessenger
}

const test = base.extend<object, Project>({
  project: [
    async ({ relay }, use) => {
      const dir = await mkdtemp(`${tmpdir()}/tombolo-project-`)
      const run = (cwd: string, ...args: string[]) => execFileSync('npm', args, { cwd, encoding: 'utf8' })
      const packed = run(at('../dist/npm'), 'pack', '--json', '--pack-destination', dir)
      const [{ filename }] = JSON.parse(packed) as [{ filename: string }]
      await writeFile(`${dir}/package.json`, '{ "private": true, "type": "module" }')
      // The package has no dependencies, so a registry is not needed.
      run(dir, 'install', '--offline', '--no-audit', '--no-fund', `./${filename}`)
      await writeFile(`${dir}/main.js`, (await snippet(READMES[0]!)).replace('http://localhost:8080', relay.url))
      await writeFile(`${dir}/index.html`, page('/main.js'))
      await use(dir)
      await rm(dir, { recursive: true, force: true })
    },
    { scope: 'worker' },
  ],
  native: [
    async ({ relay }, use) => {
      const messenger = await natively(relay)
      await messenger.call('subscribe', 'chat')
      await use(messenger)
      await messenger.stop()
    },
    { scope: 'worker' },
  ],
})

test('the package brings its program and its types, and nothing that is only for building it', async ({ project }) => {
  const installed = `${project}/node_modules/@tombolo/node`
  const { devDependencies, scripts, dependencies } = JSON.parse(
    await readFile(`${installed}/package.json`, 'utf8'),
  ) as Record<string, unknown>
  expect([devDependencies, scripts, dependencies]).toEqual([undefined, undefined, undefined])
  await writeFile(`${project}/main.ts`, await snippet(READMES[0]!))
  for (const [module, moduleResolution] of [
    ['ESNext', 'Bundler'],
    ['NodeNext', 'NodeNext'],
  ]) {
    for (const { lib, ...with_ } of [
      { lib: ['ES2023', 'DOM'], types: [] },
      { lib: ['ES2022'], types: ['node'], typeRoots: [at('../node_modules/@types')] }, // no DOM
    ]) {
      const options = { target: 'ES2022', lib, module, moduleResolution, strict: true, ...with_ }
      const compilerOptions = { ...options, noEmit: true }
      await writeFile(`${project}/tsconfig.json`, JSON.stringify({ compilerOptions, files: ['main.ts'] }))
      execFileSync(process.execPath, [at('../node_modules/typescript/bin/tsc'), '-p', project], { stdio: 'inherit' })
    }
  }
})

test('both READMEs begin with the same program', async () => {
  const [first, second] = await Promise.all(READMES.map(snippet))
  expect(second).toBe(first)
})

test.describe('the program of the README runs as it stands', () => {
  test('under Node.js', async ({ project, native }) => {
    const flags = 'WebSocket' in globalThis ? [] : ['--experimental-websocket']
    const program = new Program(process.execPath, [...flags, `${project}/main.js`])
    const [line] = await program.lines(/hello, all$/)
    await heardBy(native, line!)
    await program.stop()
  })

  test('under Node.js, and the process ends once the node is closed', async ({ project, relay }) => {
    await writeFile(
      `${project}/close.js`,
      `import { createNode } from '@tombolo/node'
      const node = await createNode({ relays: ['${relay.url}'] })
      await new Promise((resolve) => node.addEventListener('relay:reserved', resolve))
      await node.close()
      // Sockets end when the far end has answered; nothing else may be waited for.
      console.log(process.getActiveResourcesInfo().filter((what) => !/TCP|TLS|Pipe|Shutdown/.test(what)).join() || 'nothing')`,
    )
    const flags = 'WebSocket' in globalThis ? [] : ['--experimental-websocket']
    const options = { encoding: 'utf8', timeout: 60_000 } as const
    expect(execFileSync(process.execPath, [...flags, `${project}/close.js`], options)).toBe('nothing\n')
  })

  test('as a script of a page, without a bundler', async ({ page: tab, project, native }) => {
    await writeFile(
      `${project}/bare.html`,
      page('./main.js', '{"imports": {"@tombolo/node": "/node_modules/@tombolo/node/index.js"}}'),
    )
    await runs(tab, project, native, 'bare.html')
  })

  test('built by Vite', async ({ page: tab, project, native }) => {
    await vite(viteConfig(project))
    await runs(tab, `${project}/dist-vite`, native)
  })

  test("on Vite's development server", async ({ page: tab, project, native }) => {
    const server = await createServer({ ...viteConfig(project), optimizeDeps: { exclude: ['@tombolo/node'] } })
    await server.listen()
    await says(tab, native, server.resolvedUrls!.local[0]!)
    await server.close()
  })

  test('built by esbuild, by the command of docs/typescript.md', async ({ page: tab, project, native }) => {
    const text = await readFile(at('../../docs/typescript.md'), 'utf8')
    const [, command, copied] = /^\| esbuild \| `esbuild (.*?)`, and copy `(.*?)` into `dist` \|$/m.exec(text)!
    execFileSync(at('../node_modules/.bin/esbuild'), command!.split(' '), { cwd: project, stdio: 'inherit' })
    execFileSync('sh', ['-c', `cp ${copied} dist`], { cwd: project, stdio: 'inherit' })
    await writeFile(`${project}/dist/index.html`, page('./main.js'))
    await runs(tab, `${project}/dist`, native)
  })
})

/** Returns the first TypeScript block of a document. */
async function snippet(document: string): Promise<string> {
  return blocks(await readFile(at(document), 'utf8')).find(({ language }) => language === 'ts')!.code
}

function page(script: string, imports?: string): string {
  const map = imports === undefined ? '' : `<script type="importmap">${imports}</script>`
  return `<!doctype html><title>empty</title>${map}<script type="module" src="${script}"></script>`
}

function viteConfig(root: string): InlineConfig {
  const server = { port: 0, host: '127.0.0.1' }
  return {
    root,
    configFile: false,
    logLevel: 'warn',
    server,
    build: { outDir: 'dist-vite', reportCompressedSize: false },
  }
}

async function runs(tab: Page, root: string, native: NativeMessenger, path = ''): Promise<void> {
  await mkdir(root, { recursive: true })
  const server = await StaticServer.start(root)
  await says(tab, native, server.url + path)
  server.stop()
}

/**
 * Waits until the program prints its own message, which it does once another peer has received it. If it does not, the error quotes the
 * page.
 */
async function says(tab: Page, native: NativeMessenger, url: string): Promise<void> {
  const told: string[] = []
  tab.on('console', (message) => told.push(message.text()))
  tab.on('pageerror', (error) => told.push(String(error)))
  tab.on('requestfailed', (request) => told.push(`${request.url()}: ${request.failure()?.errorText}`))
  await tab.goto(url)
  const printed = /hello, all$/
  await expect.poll(() => told).toContainEqual(expect.stringMatching(printed))
  await heardBy(
    native,
    told.find((line) => printed.test(line))!,
  )
}

async function heardBy(native: NativeMessenger, line: string): Promise<void> {
  const [id] = line.split(' ')
  await expect
    .poll(async () => (await native.call<{ from: string }[]>('received', 'chat', 1)).map(({ from }) => from))
    .toContain(id)
}
