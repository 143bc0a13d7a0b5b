import type { Spot } from './scene.js'

/** How far a finger moves the stick for full speed, in CSS pixels. */
export const STICK = 48
/** A pointer closer to the boat than this gives no direction, in CSS pixels. */
const NEAR = 10
/** The dead zone of a gamepad's stick. */
const DEAD = 0.2

const KEYS: Record<string, Spot> = {
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  KeyW: { x: 0, y: -1 },
  KeyS: { x: 0, y: 1 },
  KeyA: { x: -1, y: 0 },
  KeyD: { x: 1, y: 0 },
}

/** A pointer that is down. A finger works as a stick, from where it touched; the boat follows a mouse. */
export interface Held extends Spot {
  id: number
  from: Spot | undefined
}

/** The direction in which a person steers: with keys, with a pointer or a finger on the canvas, or with a gamepad. */
export class Helm {
  readonly #keys = new Set<string>()
  #held: Held | undefined

  /** The pointer that is down, in CSS pixels of the canvas. */
  get held(): Held | undefined {
    return this.#held
  }

  /** Listens to a canvas until the signal aborts. */
  attach(canvas: HTMLCanvasElement, signal: AbortSignal): void {
    const on = <K extends keyof HTMLElementEventMap>(type: K, f: (event: HTMLElementEventMap[K]) => void) =>
      canvas.addEventListener(type, f, { signal })
    on('keydown', (event) => {
      // By key position, so that the letters are together on every keyboard layout.
      if (!(event.code in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return
      event.preventDefault()
      this.#keys.add(event.code)
    })
    on('keyup', ({ code }) => this.#keys.delete(code))
    on('blur', () => this.#keys.clear())
    on('pointerdown', (event) => {
      if (event.button !== 0 || this.#held !== undefined) return
      canvas.focus({ preventScroll: true })
      canvas.setPointerCapture(event.pointerId)
      const at = { x: event.offsetX, y: event.offsetY }
      this.#held = { ...at, id: event.pointerId, from: event.pointerType === 'mouse' ? undefined : at }
    })
    on('pointermove', (event) => {
      if (event.pointerId !== this.#held?.id) return
      this.#held = { ...this.#held, x: event.offsetX, y: event.offsetY }
    })
    const release = ({ pointerId }: PointerEvent) => {
      if (pointerId === this.#held?.id) this.#held = undefined
    }
    on('pointerup', release)
    on('pointercancel', release)
    on('lostpointercapture', release)
  }

  /** Releases all keys and the pointer. */
  release(): void {
    this.#keys.clear()
    this.#held = undefined
  }

  /** Returns the direction, with a length of at most 1. `boat` is the own boat's position on the canvas, in CSS pixels. */
  direction(boat: Spot): Spot {
    return this.#byKeys() ?? this.#byPointer(boat) ?? byGamepad() ?? { x: 0, y: 0 }
  }

  #byKeys(): Spot | undefined {
    if (this.#keys.size === 0) return undefined
    const sum = { x: 0, y: 0 }
    for (const key of this.#keys) {
      sum.x += KEYS[key]!.x
      sum.y += KEYS[key]!.y
    }
    return bounded(sum.x, sum.y)
  }

  #byPointer(boat: Spot): Spot | undefined {
    if (this.#held === undefined) return undefined
    const { x, y, from } = this.#held
    if (from !== undefined) return bounded((x - from.x) / STICK, (y - from.y) / STICK)
    const [dx, dy] = [x - boat.x, y - boat.y]
    return Math.hypot(dx, dy) < NEAR ? { x: 0, y: 0 } : bounded(dx / STICK, dy / STICK)
  }
}

function byGamepad(): Spot | undefined {
  for (const pad of gamepads()) {
    if (pad === null || !pad.connected) continue
    const pressed = (button: number) => Number(pad.buttons[button]?.pressed ?? false)
    const cross = { x: pressed(15) - pressed(14), y: pressed(13) - pressed(12) }
    const [x = 0, y = 0] = pad.axes
    if (Math.hypot(x, y) > DEAD) return bounded(x, y)
    if (cross.x !== 0 || cross.y !== 0) return bounded(cross.x, cross.y)
  }
  return undefined
}

/** Returns the gamepads; none if the page's policy forbids them. */
function gamepads(): (Gamepad | null)[] {
  try {
    return navigator.getGamepads?.() ?? []
  } catch {
    return []
  }
}

function bounded(x: number, y: number): Spot {
  const length = Math.max(1, Math.hypot(x, y))
  return { x: x / length, y: y / length }
}
