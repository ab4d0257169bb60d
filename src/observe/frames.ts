import { join } from '../streams.ts'

/** A frame that is longer holds more than tokens. */
const frameBytes = 8_388_608
/** Total length, length of the headers, and a checksum of both. */
const preludeBytes = 12
const checksumBytes = 4

/**
 * Reads the events of Amazon's binary streams (`application/vnd.amazon.eventstream`) as JSON texts: of Converse as
 * they are, of InvokeModel what their base64 holds. Only looked at, never passed on, so no checksum is computed.
 */
export function createFrameReader(): (bytes: Uint8Array) => string[] {
  let held = new Uint8Array(0)
  let isLost = false
  return (bytes) => {
    const texts: string[] = []
    if (isLost) return texts
    held =
      held.byteLength === 0 ? new Uint8Array(bytes) : join([held, bytes], held.byteLength + bytes.byteLength)
    const view = new DataView(held.buffer)
    let at = 0
    while (held.byteLength - at >= preludeBytes) {
      const size = view.getUint32(at)
      const start = at + preludeBytes + view.getUint32(at + 4)
      const end = at + size - checksumBytes
      isLost = size > frameBytes || end < start
      if (isLost || held.byteLength - at < size) break
      texts.push(toText(held.subarray(start, end)))
      at += size
    }
    held = isLost ? new Uint8Array(0) : held.slice(at)
    return texts
  }
}

const decoder = new TextDecoder()
const packed = /^\{"bytes":"([A-Za-z0-9+/=]*)"/

function toText(payload: Uint8Array): string {
  const text = decoder.decode(payload)
  const inner = packed.exec(text)?.[1]
  return inner === undefined
    ? text
    : decoder.decode(Uint8Array.from(atob(inner), (char) => char.charCodeAt(0)))
}
