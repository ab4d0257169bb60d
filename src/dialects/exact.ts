/** What JSON has beside what the compiler knows of it (ECMA-262, "JSON.parse source text access"). */
interface ExactJson {
  parse(
    text: string,
    revive: (name: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown
  rawJSON(text: string): unknown
}

/** No integer of fewer digits is too large for a number here. */
const mayBeInexact = /\d{16}/

function parse(text: string, found: () => void): unknown {
  const json = JSON as unknown as ExactJson // every runtime's
  return json.parse(text, (_, value, { source }) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || Number.isSafeInteger(value)) return value
    found()
    return source === undefined ? value : json.rawJSON(source)
  })
}

/** The value of a JSON text, whose large integers are written again as they were; undefined if it is none. */
export function parseExact(text: string): unknown {
  try {
    return mayBeInexact.test(text) ? parse(text, () => undefined) : JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Whether a JSON text holds integers that whoever reads it as JavaScript does would change. */
export function isInexact(text: string): boolean {
  if (!mayBeInexact.test(text)) return false
  let isFound = false
  try {
    parse(text, () => {
      isFound = true
    })
  } catch {
    return false // no JSON then
  }
  return isFound
}
