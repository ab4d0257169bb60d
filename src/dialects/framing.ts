import { createParser } from 'eventsource-parser'
import { createEventStream } from '../eventstream.ts'
import { limits } from '../limits.ts'
import type { StreamEvent } from './dialect.ts'
import { parseExact } from './exact.ts'
import { Failure } from './failure.ts'

/** Cuts a body into events, whatever its chunks. */
export interface Framing {
  /** @throws Failure for what is no event of this kind */
  push(bytes: Uint8Array): StreamEvent[]
  /** What came without its end, as some providers leave it out. */
  end(): StreamEvent[]
}

const unreadable = (what: string): Failure => new Failure(502, what, 'provider_failed')

/** Server-sent events whose data is JSON; `[DONE]` is an event `done`. */
export function createSse(): Framing {
  let events: StreamEvent[] = []
  const parser = createParser({
    maxBufferSize: limits.eventBytes,
    onEvent({ event, data }) {
      if (data.trim() === '[DONE]') return void events.push({ event: 'done', data: {} })
      const value = parseExact(data)
      if (value === undefined) throw unreadable('The provider sent an event that is not JSON')
      events.push({ event, data: value })
    },
    onError(error) {
      if (error.type === 'max-buffer-size-exceeded')
        throw unreadable(`An event is over ${limits.eventBytes} bytes`)
    },
  })
  const decoder = new TextDecoder()
  const take = (): StreamEvent[] => {
    const taken = events
    events = []
    return taken
  }
  return {
    push(bytes) {
      parser.feed(decoder.decode(bytes, { stream: true }))
      return take()
    },
    end() {
      parser.feed('\n\n')
      return take()
    },
  }
}

/** AWS's binary events, whose payload is JSON. */
export function createAws(): Framing {
  const stream = createEventStream()
  const decoder = new TextDecoder()
  return {
    push: (bytes) =>
      stream.push(bytes).map(({ headers, payload }) => {
        const code = headers[':exception-type'] ?? headers[':error-code']
        const text = decoder.decode(payload)
        if (code === undefined) return { event: headers[':event-type'], data: parseExact(text) ?? {} }
        const message = (parseExact(text) as { message?: unknown } | undefined)?.message // looked into only
        return { event: 'error', data: { type: code, message: message ?? headers[':error-message'] ?? text } }
      }),
    end() {
      if (!stream.isWhole) throw unreadable('The stream ended inside an event')
      return []
    },
  }
}

/** An event as text (HTML standard, 9.2.6). */
export const toSse = ({ event, data }: StreamEvent): string =>
  `${event === undefined ? '' : `event: ${event}\n`}data: ${JSON.stringify(data)}\n\n`
