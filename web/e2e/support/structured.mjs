import { deserialize, serialize } from 'node:v8'

/** Text of a value, of which nothing is lost that Playwright passes between a test and a page, or that JSON has no words for. */
export function encode(value) {
  return serialize(withoutFunctions(value)).toString('base64')
}

export function decode(text) {
  return deserialize(Buffer.from(text, 'base64'))
}

/** A function passes as undefined, as Playwright has it: what a call of the API resolves to may well hold some. */
function withoutFunctions(value) {
  if (typeof value === 'function' || typeof value === 'symbol') return undefined
  if (Array.isArray(value)) return value.map(withoutFunctions)
  if (typeof value !== 'object' || value === null || isWhole(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutFunctions(inner)]))
}

function isWhole(object) {
  return ArrayBuffer.isView(object) || [ArrayBuffer, Date, RegExp, Error, Map, Set].some((T) => object instanceof T)
}
