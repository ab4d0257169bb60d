import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { EventStreamCodec } from '@smithy/eventstream-codec'
import type { MessageHeaders } from '@smithy/types'
import { fromUtf8, toUtf8 } from '@smithy/util-utf8'
import { messages } from '../../src/dialects/anthropic/messages.ts'
import { chat } from '../../src/dialects/chat.ts'
import type { Api, Base, Dialect } from '../../src/dialects/dialect.ts'
import type { Chat, Completion, Json } from '../../src/dialects/hub.ts'
import { Notes } from '../../src/dialects/notes.ts'
import { answerResponses } from '../../src/dialects/responses/api.ts'
import type { ProviderRow } from '../../src/providers/row.ts'
import { table } from '../../src/providers/table.ts'

/** Where the fixtures are. */
export const fixtures: string = join(import.meta.dirname, '../fixtures')

const ofRow = ({ dialect, variants = [] }: ProviderRow) => [
  ...(dialect ? [dialect] : []),
  ...variants.map(([, variant]) => variant),
]

/** Every dialect that a row of the provider table speaks, by its name; rows that share one are one. */
export const dialects: ReadonlyMap<string, Dialect> = new Map(
  Object.values(table)
    .flatMap(ofRow)
    .reverse()
    .map((dialect) => [dialect.name, dialect]),
)

/** The APIs of `compat`. */
export const apis: readonly Api[] = [chat, messages, answerResponses]

/** What answers are called in tests. */
export const base: Base = { id: 'id-1', created: 1_700_000_000, model: 'm-1' }

/** What a request becomes, or the field for which it is refused. */
export interface RequestCase {
  readonly path?: string
  readonly body?: Json
  /** The body of `text`, with these members. */
  readonly add?: Json
  /** The body of `tools`, with these members. */
  readonly addTools?: Json
  readonly refused?: string
  readonly dropped?: readonly string[]
}
/** `requests.json` of a dialect. */
export interface RequestFixture {
  readonly source: string
  readonly model: string
  readonly path: string
  readonly headers?: Json
  readonly cases: Readonly<Record<string, RequestCase>>
}
/** `answers.json` of a dialect. A case is a whole answer; a stream of the same beside it has its name. */
export interface AnswerFixture {
  readonly source: string
  readonly cases: Readonly<Record<string, AnswerCase>>
  readonly errors: readonly { readonly status: number; readonly body: unknown; readonly failure: object }[]
}
/** A whole answer and the completion that it is, or why there is none of this kind. */
export interface AnswerCase {
  readonly response?: unknown
  /** `choices`, or what is in its only choice. */
  readonly completion?: Partial<Completion> & Partial<Completion['choices'][number]>
  readonly none?: string
}

/** A fixture, parsed. */
export const readFixture = <T>(dialect: string, file: string): T =>
  JSON.parse(readFileSync(join(fixtures, dialect, file), 'utf8')) as T

/** The streams written for a dialect, as bytes, by the name of their answer. */
export function streamsOf(dialect: string): ReadonlyMap<string, Uint8Array> {
  const files = readdirSync(join(fixtures, dialect)).filter((file) => /\.(sse|jsonl)$/.test(file))
  return new Map(
    files.map((file) => [file.replace(/\.\w+$/, ''), Buffer.concat(eventsIn(dialect, file).map(toBytes))]),
  )
}

/** What the text of a fixture begins with, in one event. */
const firstWord = '"Hello"'

/** The stream `text` of a dialect, one piece an event, with so many words in the place of its first: `w0 w1 …`. */
export function sampleStream(dialect: string, count: number): readonly Uint8Array[] {
  const file = readdirSync(join(fixtures, dialect)).find((name) => /^text\.(sse|jsonl)$/.test(name))
  const events = eventsIn(dialect, file ?? 'text.sse')
  const words = Array.from({ length: count }, (_, index) => `"w${index} "`)
  const told = events.findIndex(({ text }) => text.includes(firstWord))
  if (told < 0) throw new Error(`fixtures/${dialect}/${file} has no event that says ${firstWord}`)
  const many = words.map((word) => {
    const { text, isAws } = events[told]!
    return { text: text.replace(firstWord, word), isAws }
  })
  return events.toSpliced(told, 1, ...many).map(toBytes)
}

interface Written {
  readonly text: string
  /** One line of JSON, in place of a binary frame. */
  readonly isAws: boolean
}

/** The events that a file tells, one by one. */
function eventsIn(dialect: string, file: string): Written[] {
  const text = readFileSync(join(fixtures, dialect, file), 'utf8')
  const isAws = file.endsWith('.jsonl')
  const events = isAws ? text.trim().split('\n') : text.split(/(?<=\n\n)/)
  return events.map((event) => ({ text: event, isAws }))
}

const toBytes = ({ text, isAws }: Written): Uint8Array => (isAws ? toFrames(text) : Buffer.from(text))

const codec = new EventStreamCodec(toUtf8, fromUtf8)

/** AWS's binary events, by AWS's own library: `{type, payload}`, one a line. */
export function toFrames(lines: string): Uint8Array {
  const frames = lines
    .trim()
    .split('\n')
    .map((line) => {
      const { type, payload } = JSON.parse(line) as { type: string; payload: unknown }
      const isException = type.endsWith('Exception')
      const headers: MessageHeaders = {
        [isException ? ':exception-type' : ':event-type']: { type: 'string', value: type },
        ':content-type': { type: 'string', value: 'application/json' },
        ':message-type': { type: 'string', value: isException ? 'exception' : 'event' },
      }
      return codec.encode({ headers, body: fromUtf8(JSON.stringify(payload)) })
    })
  return Buffer.concat(frames)
}

/** What a fixture expects, whole. */
export function toExpected({ completion = {} }: AnswerCase): object {
  const { message, finish_reason, logprobs = null, choices, ...rest } = completion
  return { ...rest, choices: choices ?? [{ index: 0, message, logprobs, finish_reason }] }
}

type HubCase = Partial<Chat> & { readonly $text?: true; readonly $tools?: true }

/** What all dialects are asked, by name; the model is each one's own. */
export function readHubRequests(model: string): ReadonlyMap<string, Chat> {
  const { cases } = readFixture<{ cases: Record<string, HubCase> }>('hub', 'requests.json')
  return new Map(
    Object.entries(cases).map(([name, { $text, $tools, ...more }]) => {
      const { messages: said = [] } = cases.text ?? {}
      const tools = $tools ? { tools: cases.tools?.tools ?? [] } : {}
      const whole = { model, messages: said, ...tools, ...more }
      return [name, chat.request(whole, new Notes('hub', false))]
    }),
  )
}
