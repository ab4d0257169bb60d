/** A text up to so many bytes of UTF-8, between two characters. What is short enough is not looked at. */
export function cut(text: string, bytes: number): string {
  if (text.length * 3 <= bytes) return text
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(bytes))
  return read < text.length ? text.slice(0, read) : text
}
