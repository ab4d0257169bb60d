import { createParser } from 'eventsource-parser'
import { createFrameReader } from '../frames.ts'
import { isObject, type Json } from '../usage.ts'
import { anthropic } from './anthropic.ts'
import { chat, completions } from './chat.ts'
import { cohere, cohereLines } from './cohere.ts'
import { converse } from './converse.ts'
import { gemini } from './gemini.ts'
import { responses } from './responses.ts'
import { workersAi } from './workers-ai.ts'

/** Makes one body of a streamed one, which may be cut; undefined for what is no stream, or one that is not known. */
export type Assemble = (contentType: string, body: Uint8Array) => string | undefined

/** Makes one answer of the events of a stream, as far as they came. */
type Assembler = (events: readonly Json[]) => Json

/** Whose a stream is, by one of its first events. */
const dialects: readonly (readonly [isOf: (event: Json) => boolean, Assembler])[] = [
  [({ type }) => /^response\./.test(String(type)), responses],
  [({ type }) => /^(message_start|content_block_\w+|message_delta)$/.test(String(type)), anthropic],
  [({ type }) => /^(message-start|content-\w+|tool-\w+(-\w+)?|message-end)$/.test(String(type)), cohere],
  [({ object, choices }) => object === 'text_completion' || hasTexts(choices), completions],
  [({ object, choices }) => object === 'chat.completion.chunk' || Array.isArray(choices), chat],
  [({ candidates, usageMetadata }) => Array.isArray(candidates) || isObject(usageMetadata), gemini],
  [({ event_type }) => typeof event_type === 'string', cohereLines],
  [
    ({ contentBlockIndex, stopReason }) => contentBlockIndex !== undefined || stopReason !== undefined,
    converse,
  ],
  [({ response }) => typeof response === 'string', workersAi],
]

const hasTexts = (choices: unknown): boolean =>
  Array.isArray(choices) && isObject(choices[0]) && typeof choices[0].text === 'string'

/**
 * The body of a streamed answer as its dialect has it without streaming, from the events that came, in JSON. Undefined
 * for what is no stream, or one that is not known.
 */
export function assemble(contentType: string, body: Uint8Array): string | undefined {
  const events = readEvents(contentType, body)
  const found = events && dialectOf(events)
  if (found) return JSON.stringify(found(events))
  return isBinary(contentType) && events
    ? events.map((event) => `${JSON.stringify(event)}\n`).join('')
    : undefined
}

/** Events before one that says whose they are, as pings and starts do not. */
const unknownMax = 20

function dialectOf(events: readonly Json[]): Assembler | undefined {
  for (const event of events.slice(0, unknownMax)) {
    const found = dialects.find(([isOf]) => isOf(event))
    if (found) return found[1]
  }
  return undefined
}

const isBinary = (contentType: string): boolean =>
  /^application\/vnd\.amazon\.eventstream\b/i.test(contentType)

/** The JSON objects among the events; what is cut in its middle is left out. */
function readEvents(contentType: string, body: Uint8Array): Json[] | undefined {
  if (isBinary(contentType)) return toObjects(createFrameReader()(body))
  const text = new TextDecoder().decode(body)
  if (/\b(?:x-ndjson|jsonl|stream\+json)\b/i.test(contentType)) return toObjects(text.split('\n'))
  if (!/^text\/event-stream\b/i.test(contentType)) return undefined
  const data: string[] = []
  const parser = createParser({ onEvent: (event) => data.push(event.data) })
  parser.feed(text)
  parser.feed('\n\n') // the last event may come without its blank line
  return toObjects(data)
}

function toObjects(texts: readonly string[]): Json[] {
  return texts.flatMap((text) => {
    try {
      const value: unknown = JSON.parse(text)
      return isObject(value) ? [value] : []
    } catch {
      return [] // `[DONE]`, or cut
    }
  })
}
