/** Programs that encrypt with vector instructions: a module embedded in theirs does so, in their memory. See `wasm/internal/chachapoly`. */

const SECTION = 'tombolo.chachapoly'

interface Exports {
  xor(state: number, to: number, from: number, bytes: number): void
  mac(state: number, data: number, bytes: number): void
}

/** The cipher of a program. */
export class Cipher {
  #exports: Exports | undefined

  /** The imports that the program needs for this. Until the cipher is ready, the program does without. */
  readonly imports = {
    ready: () => (this.#exports === undefined ? 0 : 1),
    xor: (state: number, to: number, from: number, bytes: number) => this.#exports!.xor(state, to, from, bytes),
    mac: (state: number, data: number, bytes: number) => this.#exports!.mac(state, data, bytes),
  }

  /**
   * Joins an instance of the program. There is no cipher if the program was built without, or if the platform has no vector instructions.
   */
  join(program: WebAssembly.Module, instance: WebAssembly.Instance): void {
    const [bytes] = WebAssembly.Module.customSections(program, SECTION)
    if (bytes === undefined || !WebAssembly.validate(bytes)) return
    const imports = { program: instance.exports as WebAssembly.ModuleImports }
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), imports) // small enough to compile synchronously
    this.#exports = exports as unknown as Exports
  }
}
