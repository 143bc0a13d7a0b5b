/**
 * Programs in two files: what a program begins with, and the rest of its functions, which come when it has begun, or when it calls one of
 * them. See `wasm/internal/link`.
 */
import { TomboloError } from './errors.js'
import type { Platform } from './load.js'

/** Where the second file of a program is, and how it is had. */
export interface RestFile extends Platform {
  readonly url: URL
}

const SECTION = 'tombolo.rest'

/** What the two files of a build have in common. A program in one file has none. */
function mark(module: WebAssembly.Module): string | undefined {
  const [section] = WebAssembly.Module.customSections(module, SECTION)
  return section && new TextDecoder().decode(section)
}

/** The rest of a program. */
export class Rest {
  readonly #file: RestFile | undefined
  readonly #mark: string | undefined
  #imports: WebAssembly.Imports | undefined
  #there = false
  #coming: Promise<void> | undefined

  constructor(program: WebAssembly.Module, file: RestFile | undefined) {
    this.#mark = mark(program)
    this.#file = this.#mark === undefined ? undefined : file
    this.#there = this.#mark === undefined
  }

  /** What the program imports for it, beside Go's. */
  readonly imports = { load: () => this.#now() }

  /** The program is there. Resolves when it may begin. */
  async join(instance: WebAssembly.Instance, imports: WebAssembly.Imports): Promise<void> {
    this.#imports = { ...imports, program: instance.exports as WebAssembly.ModuleImports }
    if (this.#file?.compileNow === undefined) await this.load()
  }

  /** Has it come before it is wanted, where that costs nobody anything. If it fails, the first call that needs it tries again. */
  ahead(): void {
    if (this.#file?.ahead === true) void this.load().catch(() => {})
  }

  /** Has the rest come, unless it is there. May be called again after it failed. */
  load(): Promise<void> {
    this.#coming ??= this.#load().catch((error: unknown) => {
      this.#coming = undefined
      throw error
    })
    return this.#coming
  }

  async #load(): Promise<void> {
    if (this.#there) return
    const { url, compile } = this.#required()
    const module = this.#checked(await compile(url, undefined))
    if (!this.#there) await WebAssembly.instantiate(module, this.#imports)
    this.#there = true
  }

  #now(): void {
    const { url, compileNow } = this.#required()
    new WebAssembly.Instance(this.#checked(compileNow!(url)), this.#imports)
    this.#there = true
  }

  #required(): RestFile {
    if (this.#file !== undefined) return this.#file
    throw new TomboloError(
      'wasm-invalid',
      'the program is in two files, and was made without the address of the second',
    )
  }

  #checked(rest: WebAssembly.Module): WebAssembly.Module {
    if (mark(rest) === this.#mark) return rest
    const why = 'is not of the same build as the program: serve the files of one version of the package'
    throw new TomboloError('wasm-invalid', `${this.#required().url.href} ${why}`)
  }
}
