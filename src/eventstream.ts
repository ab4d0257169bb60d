import { GatewayError } from './errors.ts'
import { limits } from './limits.ts'
import { join } from './streams.ts'

/** One message of AWS's binary event stream. */
export interface EventMessage {
  /** Those whose value is a text; AWS's own begin with a colon. */
  readonly headers: Readonly<Record<string, string>>
  readonly payload: Uint8Array
}

/** Of total length, headers' length, and a checksum of both. */
const preludeBytes = 12
const checksumBytes = 4
/** Header values of types 0 to 9, by their length; those of 6 and 7 say theirs themselves. */
const valueBytes = [0, 0, 1, 2, 4, 8, -1, -1, 8, 16] as const
const textType = 7

const broken = (what: string): GatewayError => new GatewayError('provider_failed', `An event ${what}`)

/**
 * Cuts a body into messages (Smithy, "Amazon Event Stream specification"), whatever its chunks; both checksums are
 * looked at. AWS's own library cannot be had without a runtime's modules.
 */
export function createEventStream(): { push(chunk: Uint8Array): EventMessage[]; readonly isWhole: boolean } {
  let parts: Uint8Array[] = []
  let heldBytes = 0
  /** Bytes without which nothing can be said. */
  let neededBytes = preludeBytes
  return {
    push(chunk) {
      parts.push(chunk)
      heldBytes += chunk.byteLength
      if (heldBytes < neededBytes) return []
      let held: Uint8Array = parts.length === 1 ? chunk : join(parts, heldBytes)
      const messages: EventMessage[] = []
      neededBytes = sizeOf(held)
      while (held.byteLength >= neededBytes) {
        messages.push(toMessage(held.subarray(0, neededBytes)))
        held = held.subarray(neededBytes)
        neededBytes = sizeOf(held)
      }
      parts = held.byteLength > 0 ? [held] : []
      heldBytes = held.byteLength
      return messages
    },
    get isWhole() {
      return heldBytes === 0
    },
  }
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Bytes of the first message, or those that tell of it. @throws GatewayError provider_failed */
function sizeOf(bytes: Uint8Array): number {
  if (bytes.byteLength < preludeBytes) return preludeBytes
  const view = viewOf(bytes)
  if (view.getUint32(8) !== crc32(bytes.subarray(0, 8))) throw broken('has a broken prelude')
  const size = view.getUint32(0)
  if (size > limits.eventBytes) throw broken(`is over ${limits.eventBytes} bytes`)
  return Math.max(size, preludeBytes + checksumBytes)
}

function toMessage(bytes: Uint8Array): EventMessage {
  const view = viewOf(bytes)
  const end = bytes.byteLength - checksumBytes
  if (view.getUint32(end) !== crc32(bytes.subarray(0, end))) throw broken('does not fit its checksum')
  const start = preludeBytes + view.getUint32(4)
  return { headers: readHeaders(bytes.subarray(preludeBytes, start)), payload: bytes.subarray(start, end) }
}

function readHeaders(bytes: Uint8Array): Record<string, string> {
  const view = viewOf(bytes)
  const decoder = new TextDecoder()
  const headers: Record<string, string> = {}
  let at = 0
  const take = (size: number): Uint8Array => {
    at += size
    return bytes.subarray(at - size, at)
  }
  while (at < bytes.byteLength) {
    const name = decoder.decode(take(view.getUint8(at++)))
    const type = view.getUint8(at++)
    const fixed = valueBytes[type] ?? 0
    const size = fixed < 0 ? viewOf(take(2)).getUint16(0) : fixed
    const value = take(size)
    if (type === textType) headers[name] = decoder.decode(value)
  }
  return headers
}

/** Of CRC-32 as in Ethernet (ISO 3309). */
const polynomial = 0xedb88320
const table = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1
  return value
})

function crc32(bytes: Uint8Array): number {
  let value = 0xffffffff
  for (const byte of bytes) value = (value >>> 8) ^ table[(value ^ byte) & 0xff]!
  return (value ^ 0xffffffff) >>> 0
}
