import { parseJson } from '../json.ts'
import { limits } from '../limits.ts'
import { join } from '../streams.ts'
import type { StreamTranslation, Translated, WholeTranslated } from '../types.ts'
import { isQuiet } from './chunks.ts'
import type { StreamEvent } from './dialect.ts'
import { brokenOff, Failure, readFailure, toFailureBody } from './failure.ts'
import { toFault } from './fault.ts'
import { createSse } from './framing.ts'
import type { ApiName, Chunk } from './hub.ts'

/** Answers whose wire is the client's API. */

const nothing: Uint8Array = new Uint8Array(0)

/** What ends a stream, and what tells that it failed. Quotes are escaped inside of JSON's texts, and so are lines. */
const ends: Readonly<Record<ApiName, readonly [whole: RegExp, failed: RegExp]>> = {
  chat: [/[\r\n]data: ?\[DONE\]|"finish_reason":\s*"/, /"error":\s*\{\s*"/],
  messages: [/"type":\s*"message_stop"/, /"type":\s*"error"/],
  responses: [/"type":\s*"response\.(completed|incomplete)"/, /"type":\s*"(error|response\.failed)"/],
  embeddings: [/^$/, /^$/], // never streamed
}
const done = /[\r\n]data: ?\[DONE\]/
/** As much of a part is looked at again with the next, since a word may be cut. */
const tailLength = 64

/** Looks for the end of a stream while it passes, without cutting it into events. */
class Watch {
  readonly #whole: RegExp
  readonly #failed: RegExp
  readonly #decoder = new TextDecoder()
  #tail = ''
  #isWhole = false
  #hasFailed = false

  /** Of several choices each has an end, and only together they have one more. */
  constructor(api: ApiName, choices: number) {
    const [whole, failed] = ends[api]
    this.#whole = api === 'chat' && choices > 1 ? done : whole
    this.#failed = failed
  }

  read(bytes: Uint8Array): void {
    const text = this.#tail + this.#decoder.decode(bytes)
    this.#isWhole ||= this.#whole.test(text)
    this.#hasFailed ||= this.#failed.test(text)
    this.#tail = text.slice(-tailLength)
  }

  /** What a stream that ends here has missed. The client knows already what its provider told it. */
  end(api: ApiName): Translated {
    const isCut = !/[}\]\r\n]\s*$/.test(this.#tail)
    if (this.#isWhole && !this.#hasFailed && !isCut) return { bytes: nothing }
    const fault = toFault(api, brokenOff())
    return { bytes: nothing, fault: this.#hasFailed || isCut ? { ...fault, event: nothing } : fault }
  }
}

/**
 * Bytes as they are; but what comes before the first event that says something is held, so that another provider may
 * take the place of one that fails there, and what ends before its end is broken off.
 */
export function createPassage(api: ApiName, choices: number): StreamTranslation {
  const framing = createSse()
  const watch = new Watch(api, choices)
  let held: Uint8Array[] | undefined = []
  let [heldBytes, quietEvents] = [0, 0]
  const release = (): Translated => {
    const bytes = join(held ?? [], heldBytes)
    held = undefined
    return { bytes }
  }
  const isHeld = (events: readonly StreamEvent[]): boolean => {
    const loud = events.find((event) => !isSilent(api, event))
    if (loud && isError(loud)) throw readFailure(loud.data)
    quietEvents += events.length
    return !loud && quietEvents <= limits.quietEvents && heldBytes <= limits.eventBytes
  }
  const check = (work: () => Translated): Translated => {
    try {
      return work()
    } catch (error) {
      return { bytes: nothing, fault: toFault(api, error) }
    }
  }
  return {
    push(bytes) {
      watch.read(bytes)
      if (!held) return { bytes }
      held.push(bytes)
      heldBytes += bytes.byteLength
      return check(() => (isHeld(framing.push(bytes)) ? { bytes: nothing } : release()))
    },
    end() {
      if (!held) return watch.end(api)
      return check(() => {
        if (isHeld(framing.end())) throw brokenOff()
        return { ...watch.end(api), ...release() }
      })
    },
  }
}

const isError = ({ event, data }: StreamEvent): boolean => event === 'error' || hasError(data)

const hasError = (data: unknown): boolean =>
  typeof data === 'object' && data !== null && 'error' in data && !!data.error

/** Tells a client nothing but that somebody listens. */
function isSilent(api: ApiName, event: StreamEvent): boolean {
  if (isError(event)) return false
  if (event.event === 'done') return true
  const { type, choices } = event.data as { type?: string } & Partial<Chunk> // looked into only
  if (api === 'messages') return type === 'message_start' || type === 'ping'
  if (api === 'responses') return /^response\.(created|queued|in_progress)$/.test(type ?? '')
  return Array.isArray(choices) && isQuiet(choices)
}

/** A whole answer as it is; an error of another shape in the API's own. */
export function passWhole(api: ApiName, text: string, status: number): WholeTranslated {
  const body = parseJson(text) as { error?: { message?: unknown }; type?: unknown } | undefined // looked into only
  if (status < 400) {
    if (typeof body !== 'object' || body === null)
      throw new Failure(502, 'The provider sent an answer that is not JSON', 'provider_failed')
    // A response that failed tells it itself.
    if (api !== 'responses' && hasError(body)) throw readFailure(body)
    return { body: text }
  }
  if (typeof body?.error?.message === 'string') return { body: text }
  return { body: JSON.stringify(toFailureBody(api, readFailure(body ?? text, status))) }
}
