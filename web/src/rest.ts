/**
 * Programs in two files: the part that a program needs to start, and the rest of its functions, which are loaded after the start or when
 * the program calls one of them. See `wasm/internal/link`.
 */
import { TomboloError } from './errors.js'
import type { Platform } from './load.js'

/** The address of the second file of a program, and the means to load it. */
export interface RestFile extends Platform {
  readonly url: URL
}

const SECTION = 'tombolo.rest'

/** Returns the mark that the two files of one build have in common. A program in a single file has none. */
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

  /** The imports that the program needs for this, beside Go's. */
  readonly imports = { load: () => this.#now() }

  /** Joins an instance of the program. Resolves when the program may start. */
  async join(instance: WebAssembly.Instance, imports: WebAssembly.Imports): Promise<void> {
    this.#imports = { ...imports, program: instance.exports as WebAssembly.ModuleImports }
    if (this.#file?.compileNow === undefined) await this.load()
  }

  /** Loads the rest before it is needed, on platforms where that is worthwhile. If it fails, the first call that needs it tries again. */
  ahead(): void {
    if (this.#file?.ahead === true) void this.load().catch(() => {})
  }

  /** Loads the rest, unless it is loaded. May be called again after a failure. */
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
