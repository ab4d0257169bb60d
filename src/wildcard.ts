/** Whether a text is the parts in their order, the first at its start, the last at its end: a pattern split at `*`. */
export function fits(text: string, parts: readonly string[]): boolean {
  const [first = '', ...rest] = parts
  const last = rest.pop()
  if (last === undefined) return text === first
  if (!text.startsWith(first)) return false
  let at = first.length
  for (const part of rest) {
    at = text.indexOf(part, at)
    if (at < 0) return false
    at += part.length
  }
  return text.length - last.length >= at && text.endsWith(last)
}
