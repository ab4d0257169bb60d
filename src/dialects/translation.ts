import type { GatewayError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { limits } from '../limits.ts'
import { join } from '../streams.ts'
import type { StreamTranslation, Translated, Translation } from '../types.ts'
import { toChunks } from './chunks.ts'
import type { Api, Base, Dialect, StreamEvent, Translator } from './dialect.ts'
import { brokenOff, Failure, readFailure, toFailureBody } from './failure.ts'
import { createAws, createSse, type Framing, toSse } from './framing.ts'
import type { ApiName, Chat, Chunk } from './hub.ts'

/** From whom to whom one answer is translated. */
export interface Translating {
  readonly api: Api
  readonly dialect: Dialect
  readonly chat: Chat
  readonly base: Base
}

/** A translation, before it is known what there is to tell of it. */
export type Untold = Omit<Translation, 'headers'>

const encoder = new TextEncoder()
const nothing: Uint8Array = new Uint8Array(0)

/** What turns a provider's answer into the one that the client's API has. */
export function createTranslation({ api, dialect, chat, base }: Translating): Untold {
  return {
    name: () => [dialect.name, api.name, JSON.stringify(api.echo?.(chat))].join('>'),
    isStream: chat.stream === true,
    whole: (text, status) => {
      const body = parseJson(text)
      if (status >= 400) return JSON.stringify(toFailureBody(api.name, readFailure(body ?? text, status)))
      if (body === undefined) throw new Failure(502, 'The provider sent an answer that is not JSON')
      return JSON.stringify(api.response(toChunks(dialect, body, base), chat, base))
    },
    stream: () => {
      const [events, out] = [dialect.events(base), api.events(chat, base)]
      const framing = dialect.framing === 'aws' ? createAws() : createSse()
      return createStream({ api: api.name, framing, events, out, isDone: api.done === true })
    },
    failure: (error) => toFailureBody(api.name, toFailure(error)),
  }
}

/** Where the provider's wire is the client's API: bytes pass as they are, but for errors of another shape. */
export function createIdentity({ api, stream }: { api: ApiName; stream: boolean }): Untold {
  return {
    name: () => api,
    isStream: stream,
    whole(text, status) {
      if (status < 400) return text
      const body = parseJson(text) as { error?: { message?: unknown } } | undefined // looked into only
      if (typeof body?.error?.message === 'string') return text
      return JSON.stringify(toFailureBody(api, readFailure(body ?? text, status)))
    },
    stream: () => createPassage(api),
    failure: (error) => toFailureBody(api, toFailure(error)),
  }
}

const toFailure = ({ status, message, code }: GatewayError): Failure => new Failure(status, message, code)

interface Stream {
  readonly api: ApiName
  readonly isDone: boolean
  readonly framing: Framing
  readonly events: Translator<StreamEvent, Chunk>
  readonly out: Translator<Chunk, StreamEvent>
}

/** Every event is translated as it comes. What came before a fault is told with it. */
function createStream({ api, framing, events, out, isDone }: Stream): StreamTranslation {
  let text = ''
  const say = (chunks: readonly Chunk[]): void => {
    for (const chunk of chunks) for (const event of out.push(chunk)) text += toSse(event)
  }
  const run = (work: () => void): Translated => {
    text = ''
    try {
      work()
      return { bytes: text === '' ? nothing : encoder.encode(text) }
    } catch (error) {
      return { bytes: encoder.encode(text), fault: toFault(api, error) }
    }
  }
  return {
    push: (bytes) =>
      run(() => {
        for (const event of framing.push(bytes)) say(events.push(event))
      }),
    end: () =>
      run(() => {
        for (const event of framing.end()) say(events.push(event))
        say(events.end())
        for (const event of out.end()) text += toSse(event)
        if (isDone) text += 'data: [DONE]\n\n'
      }),
    broken: () => toFault(api, brokenOff()),
  }
}

/** Bytes as they are; but the first event is held until it is whole, and is no error. */
function createPassage(api: ApiName): StreamTranslation {
  const framing = createSse()
  let held: Uint8Array[] | undefined = []
  let heldBytes = 0
  const check = (read: () => StreamEvent[]): Translated => {
    try {
      const [first] = read()
      const error = first && isError(first) ? readFailure(first.data) : undefined
      if (error) throw error
      if (!first && heldBytes <= limits.eventBytes) return { bytes: nothing } // comments, so far
    } catch (error) {
      return { bytes: nothing, fault: toFault(api, error) }
    }
    const parts = held ?? []
    held = undefined
    return { bytes: join(parts, heldBytes) }
  }
  return {
    push(bytes) {
      if (!held) return { bytes }
      held.push(bytes)
      heldBytes += bytes.byteLength
      return check(() => framing.push(bytes))
    },
    end() {
      if (!held) return { bytes: nothing }
      return check(() => {
        const events = framing.end()
        if (events.length === 0) throw brokenOff()
        return events
      })
    },
  }
}

const isError = ({ event, data }: StreamEvent): boolean =>
  event === 'error' || (typeof data === 'object' && data !== null && 'error' in data && !!data.error)

/** What broke, as the client's API tells it: alone as a body, and as an event in a stream that has begun. */
function toFault(api: ApiName, error: unknown): NonNullable<Translated['fault']> {
  const failure =
    error instanceof Failure ? error : new Failure(502, 'The provider sent an answer that cannot be read')
  const body = toFailureBody(api, failure)
  const { code, param, message } = failure
  const data = api === 'responses' ? { type: 'error', code, message, param } : body
  const event = toSse({ ...(api !== 'chat' && { event: 'error' }), data })
  return { status: failure.status, message, body: JSON.stringify(body), event: encoder.encode(event) }
}
