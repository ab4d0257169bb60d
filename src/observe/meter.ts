import { join } from '../streams.ts'
import { createFrameReader } from './frames.ts'
import { createTally, known, modelIn, parseUsage, type Reading } from './tally.ts'
import { readBedrockHeaders, readTold } from './usage.ts'

/** Bytes of a stream that are looked at together: one event at a time would cost five times as much. */
const blockBytes = 16_384
/** Of a single answer that is longer, as pictures and vectors are, the end is kept. */
const bodyBytes = 1_048_576
const tailBytes = 65_536

const isBinaryStream = (type: string): boolean => /^application\/vnd\.amazon\.eventstream\b/i.test(type)
/** Server-sent events, and lines of JSON (Cohere's first version, Ollama). */
const isStream = (type: string): boolean =>
  /^text\/event-stream\b|\b(?:x-ndjson|jsonl|stream\+json)\b/i.test(type)

/** Counts the tokens of one answer while it passes. Never throws. */
export interface Meter {
  /** The next bytes of the answer, in pieces of any size. */
  read(bytes: Uint8Array): void
  /** What is known so far; not for every event. */
  reading(): Reading
}

/** Make a meter for an answer. `asked` tells the tokens of its request, where the provider does not. */
export function createMeter(headers: Headers, asked: () => number): Meter {
  const type = headers.get('content-type') ?? ''
  if (isBinaryStream(type)) return streamMeter(asked, true)
  return isStream(type) ? streamMeter(asked, false) : bodyMeter(headers, /[/+]json\b/i.test(type))
}

function streamMeter(asked: () => number, isBinary: boolean): Meter {
  const decoder = new TextDecoder()
  const readFrames = isBinary ? createFrameReader() : undefined
  const tally = createTally()
  let text = ''
  let size = 0

  const settle = (): void => {
    tally.read(text, isBinary ? text.length : size)
    text = ''
    size = 0
  }

  return {
    read(bytes) {
      if (readFrames) for (const json of readFrames(bytes)) text += `${json}\n`
      else text += decoder.decode(bytes, { stream: true })
      size += bytes.byteLength
      if (size >= blockBytes) settle()
    },
    reading() {
      settle()
      return tally.reading(asked)
    },
  }
}

function bodyMeter(headers: Headers, isJson: boolean): Meter {
  let parts: Uint8Array[] = []
  let size = 0
  let isWhole = true
  const shorten = (): void => {
    isWhole = false
    while (parts[0] && size - parts[0].byteLength >= tailBytes) size -= parts.shift()!.byteLength
  }
  return {
    read(bytes) {
      if (!isJson) return
      parts.push(bytes)
      size += bytes.byteLength
      if (size > bodyBytes || !isWhole) shorten()
    },
    reading() {
      const bytes = join(parts, size)
      parts = [bytes]
      const text = new TextDecoder().decode(bytes)
      const usage = parseUsage(text)
      const { counts, dollars } = usage ? readTold(usage) : { counts: readBedrockHeaders(headers) }
      const { inputTokens, outputTokens = 0, audioSeconds } = counts ?? {}
      const isTold = inputTokens !== undefined || audioSeconds !== undefined
      const whole = { ...counts, inputTokens: inputTokens ?? 0, outputTokens, basis: 'reported' } as const
      const model = isWhole ? modelIn(text) : undefined
      return { ...(isTold && { usage: whole }), ...known({ dollars, model }) }
    },
  }
}
