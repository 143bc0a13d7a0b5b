import { deserialize, serialize } from 'node:v8'

/** Encodes a value as text, without losing anything that Playwright can pass between a test and a page, or that JSON cannot express. */
export function encode(value) {
  return serialize(withoutFunctions(value)).toString('base64')
}

export function decode(text) {
  return deserialize(Buffer.from(text, 'base64'))
}

/** A function is passed as undefined, as in Playwright: the result of an API call may contain some. */
function withoutFunctions(value) {
  if (typeof value === 'function' || typeof value === 'symbol') return undefined
  if (Array.isArray(value)) return value.map(withoutFunctions)
  if (typeof value !== 'object' || value === null || isWhole(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutFunctions(inner)]))
}

function isWhole(object) {
  return ArrayBuffer.isView(object) || [ArrayBuffer, Date, RegExp, Error, Map, Set].some((T) => object instanceof T)
}
