import type { GatewayError } from '../errors.ts'
import { limits } from '../limits.ts'
import type { StreamTranslation, Translated, Translation, WholeTranslated } from '../types.ts'
import { isQuiet, toChunks } from './chunks.ts'
import type { Api, Base, Dialect, StreamEvent, Translator } from './dialect.ts'
import { parseExact } from './exact.ts'
import { brokenOff, Failure, readFailure, toFailureBody } from './failure.ts'
import { toFault } from './fault.ts'
import { createAws, createSse, type Framing, toSse } from './framing.ts'
import type { ApiName, Chat, Chunk } from './hub.ts'
import { createPassage, passWhole } from './passage.ts'

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
    whole: (text, status) =>
      toWhole(api.name, status, () => {
        const body = parseExact(text)
        if (status >= 400)
          return { body: JSON.stringify(toFailureBody(api.name, readFailure(body ?? text, status))) }
        if (typeof body !== 'object' || body === null)
          throw new Failure(502, 'The provider sent an answer that is not JSON', 'provider_failed')
        return { body: JSON.stringify(api.response(toChunks(dialect, body, base), chat, base)) }
      }),
    stream: () => {
      const [events, out] = [dialect.events(base), api.events(chat, base)]
      const framing = dialect.framing === 'aws' ? createAws() : createSse()
      return createStream({ api: api.name, framing, events, out, isDone: api.done === true })
    },
    failure: (error) => toFailureBody(api.name, toFailure(error)),
  }
}

/** What an identity passes. */
export interface Passing {
  readonly api: ApiName
  readonly stream: boolean
  /** Answers that are asked for; default: one. */
  readonly choices?: number
}

/** Where the provider's wire is the client's API: bytes pass as they are, but for errors of another shape. */
export function createIdentity({ api, stream, choices = 1 }: Passing): Untold {
  return {
    name: () => api,
    isStream: stream,
    whole: (text, status) => toWhole(api, status, () => passWhole(api, text, status)),
    stream: () => createPassage(api, choices),
    failure: (error) => toFailureBody(api, toFailure(error)),
  }
}

/** A whole answer, or the fault that there is none. */
export function toWhole(api: ApiName, status: number, make: () => WholeTranslated): WholeTranslated {
  try {
    if (status < 200 || (status >= 300 && status < 400))
      throw new Failure(502, `The provider answered with ${status}`, 'provider_failed')
    return make()
  } catch (error) {
    const fault = toFault(api, error)
    return { body: fault.body, fault }
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

/**
 * Every event is translated as it comes; but what comes before the first that says something is held, so that another
 * provider may take the place of one that fails there. What came before a later fault is told with it.
 */
function createStream({ api, framing, events, out, isDone }: Stream): StreamTranslation {
  let text = ''
  let [hasBegun, quietEvents] = [false, 0]
  const say = (chunks: readonly Chunk[]): void => {
    for (const chunk of chunks) {
      if (!hasBegun) {
        quietEvents += 1
        hasBegun = !isQuiet(chunk.choices) || quietEvents > limits.quietEvents
      }
      for (const event of out.push(chunk)) text += toSse(event)
    }
  }
  const take = (): Uint8Array => {
    if (text === '' || !hasBegun) return nothing
    const bytes = encoder.encode(text)
    text = ''
    return bytes
  }
  const run = (work: () => void): Translated => {
    try {
      work()
      return { bytes: take() }
    } catch (error) {
      return { bytes: take(), fault: toFault(api, error) }
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
        hasBegun = true
      }),
    broken: () => toFault(api, brokenOff()),
  }
}
