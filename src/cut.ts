/** A text up to so many bytes of UTF-8, between two characters. What is short enough is not looked at. */
export function cut(text: string, bytes: number): string {
  if (text.length * 3 <= bytes) return text
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(bytes))
  return read < text.length ? text.slice(0, read) : text
}

/** Bytes encoded in one go, so that a large text is not held twice. */
const pieceBytes = 65_536

/** Bytes that a text has in UTF-8. */
export function byteLength(text: string): number {
  const encoder = new TextEncoder()
  const piece = new Uint8Array(Math.min(pieceBytes, text.length * 3))
  let bytes = 0
  for (let at = 0; at < text.length; ) {
    const isCut = /[\ud800-\udbff]/.test(text.charAt(at + pieceBytes - 1)) // a character of two is not
    const { read, written } = encoder.encodeInto(text.slice(at, at + pieceBytes - Number(isCut)), piece)
    at += read
    bytes += written
  }
  return bytes
}
