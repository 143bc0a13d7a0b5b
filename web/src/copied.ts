import { TomboloError } from './errors.js'
import { isBuffer, isBytes, isSignal, tagOf } from './values.js'
import { copyBytes } from './wire/bytes.js'

export type Key = string | number

/** How deep lists and objects may be nested. */
const MAX_DEPTH = 16

/** Returns a copy of an argument: its lists, plain objects and bytes. It stays as it is whatever the caller does with the argument. */
export function copied<T>(value: T, at: Key[] = []): T {
  if (typeof value !== 'object' || value === null || isSignal(value)) return value
  if (isBytes(value)) return copyBytes(value) as T
  if (isBuffer(value)) return value.slice(0) as T
  return (mapMembers(value, at, copied) ?? value) as T
}

/** Returns a list or a plain object with what `f` returns for each member; undefined for anything else. */
export function mapMembers(value: object, at: Key[], f: (member: unknown, at: Key[]) => unknown): object | undefined {
  const list = Array.isArray(value)
  if (!list && tagOf(value) !== 'Object') return undefined
  if (at.length > MAX_DEPTH) {
    throw new TomboloError('argument', `an argument has lists and objects that are more than ${MAX_DEPTH} deep`)
  }
  if (list) return value.map((member, i) => f(member, [...at, i]))
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, f(member, [...at, name])]))
}
