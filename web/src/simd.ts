/** Programs that encrypt with vectors: a module within theirs does that, in their memory. See `wasm/internal/chachapoly`. */

const SECTION = 'tombolo.chachapoly'

interface Exports {
  xor(state: number, to: number, from: number, bytes: number): void
  mac(state: number, data: number, bytes: number): void
}

/** The cipher of a program. */
export class Cipher {
  #exports: Exports | undefined

  /** What the program imports for it. It does without while that is not ready. */
  readonly imports = {
    ready: () => (this.#exports === undefined ? 0 : 1),
    xor: (state: number, to: number, from: number, bytes: number) => this.#exports!.xor(state, to, from, bytes),
    mac: (state: number, data: number, bytes: number) => this.#exports!.mac(state, data, bytes),
  }

  /** The program is there. It has no cipher of its own if it was built without, or if the platform has no vectors. */
  join(program: WebAssembly.Module, instance: WebAssembly.Instance): void {
    const [bytes] = WebAssembly.Module.customSections(program, SECTION)
    if (bytes === undefined || !WebAssembly.validate(bytes)) return
    const imports = { program: instance.exports as WebAssembly.ModuleImports }
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), imports) // a few KB: compiled at once
    this.#exports = exports as unknown as Exports
  }
}
