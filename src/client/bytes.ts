const strict = { fatal: true, ignoreBOM: true }
const encoder = new TextEncoder()

/** Text of bytes, or undefined where they are not UTF-8. Encoded again it is the same bytes. */
export function toText(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', strict).decode(bytes)
  } catch {
    return undefined
  }
}

/** Bytes of text, in UTF-8. */
export const toBytes = (text: string): Uint8Array<ArrayBuffer> => encoder.encode(text)

/** Length of text in UTF-8. */
export function lengthOf(text: string): number {
  let length = text.length
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at)
    // Both halves of a surrogate pair make two bytes each.
    if (unit > 0x7f) length += unit > 0x7ff && (unit < 0xd800 || unit > 0xdfff) ? 2 : 1
  }
  return length
}

/** In slices, since a spread of megabytes overflows the stack. A multiple of three keeps the slices joinable. */
export function toBase64(bytes: Uint8Array): string {
  const slice = 3 << 13
  let text = ''
  for (let at = 0; at < bytes.length; at += slice)
    text += btoa(String.fromCharCode(...bytes.subarray(at, at + slice)))
  return text
}

/** @throws DOMException for what is not base64 */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0))
}
