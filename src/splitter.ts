import { GatewayError } from './errors.ts'
import { limits } from './limits.ts'
import { join } from './streams.ts'

const lineFeed = 10
const carriageReturn = 13

/** Cuts a body into the events of a run; their bytes, one after the other, are the body's. */
export interface Splitter {
  /** The events that end within this chunk. @throws GatewayError provider_failed over `limits.eventBytes` */
  push(chunk: Uint8Array): Uint8Array[]
  /** What came after the last event's end; empty for a body that is whole. */
  rest(): Uint8Array
}

/**
 * Blocks of an event stream (HTML standard, 9.2.5), each up to and with its blank line, comments included; line ends
 * may be LF, CRLF or CR. Chunks may be cut anywhere.
 */
export function createSplitter(): Splitter {
  let held: Uint8Array[] = []
  let heldBytes = 0
  let inLine = false // the line has a byte already
  let inBlock = false // the block has a line already
  let afterReturn = false // a LF here would belong to the CR before it
  let closing = false // that CR ended the block

  const take = (part: Uint8Array): Uint8Array => {
    const event = held.length === 0 ? part : join([...held, part], heldBytes + part.byteLength)
    held = []
    heldBytes = 0
    inBlock = false
    closing = false
    return event
  }

  return {
    push(chunk) {
      const events: Uint8Array[] = []
      const hasReturns = chunk.indexOf(carriageReturn) >= 0
      let start = 0
      let at = 0
      const cut = (end: number): void => {
        events.push(take(chunk.subarray(start, end)))
        start = end
      }
      while (at < chunk.length) {
        const joinsReturn = afterReturn && chunk[at] === lineFeed
        afterReturn = false
        if (joinsReturn) at += 1
        if (closing) cut(at)
        if (joinsReturn) continue
        const end = endOfLine(chunk, at, hasReturns)
        if (end > at || end < 0) {
          inLine = true
          inBlock = true
        }
        if (end < 0) break
        const endsBlock = inBlock && !inLine
        inLine = false
        at = end + 1
        afterReturn = chunk[end] === carriageReturn
        if (!endsBlock) continue
        if (afterReturn) closing = true
        else cut(at)
      }
      hold(chunk.subarray(start))
      return events
    },
    rest: () => take(new Uint8Array(0)),
  }

  function hold(part: Uint8Array): void {
    if (part.byteLength === 0) return
    held.push(part)
    heldBytes += part.byteLength
    if (heldBytes > limits.eventBytes)
      throw new GatewayError('provider_failed', `An event is over ${limits.eventBytes} bytes`)
  }
}

/** Any other body: its chunks are its events. */
export function createChunker(): Splitter {
  return { push: (chunk) => (chunk.byteLength > 0 ? [chunk] : []), rest: () => new Uint8Array(0) }
}

function endOfLine(chunk: Uint8Array, from: number, hasReturns: boolean): number {
  const feed = chunk.indexOf(lineFeed, from)
  if (!hasReturns) return feed
  const back = chunk.indexOf(carriageReturn, from)
  if (feed < 0 || back < 0) return Math.max(feed, back)
  return Math.min(feed, back)
}
