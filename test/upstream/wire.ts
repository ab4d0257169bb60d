import { createHash } from 'node:crypto'

/** One event of a stream, before framing. */
export interface Event {
  readonly event?: string
  readonly data: unknown
}

/** A JSON object a client sent; nothing in it is sure. */
export type Body = Readonly<Record<string, unknown>>

/** Tokens every prompt is said to have. */
export const promptTokens = 7

/** An id in a provider's manner, the same for the same answer. */
export function idOf(prefix: string, words: readonly string[], model: string): string {
  const text = JSON.stringify([prefix, model, words.join('')])
  return prefix + createHash('sha256').update(text).digest('hex').slice(0, 24)
}

/** Words with the spaces before them, so that joined they are the text again; as many as asked. */
export function toWords(text: string, count: number | undefined): readonly string[] {
  const words = text.match(/\s*\S+|\s+$/g) ?? []
  if (count === undefined) return words
  if (count < 1) return []
  const rest = words.slice(count - 1).join('')
  if (words.length >= count) return [...words.slice(0, count - 1), rest]
  return [...words, ...Array.from({ length: count - words.length }, (_, index) => ` ${index}`)]
}

/** What the user said last, in whichever shape. */
export function lastText(body: Body): string {
  const turns = body.messages ?? body.contents ?? body.input ?? body.prompt
  if (!Array.isArray(turns)) return textOf(turns)
  return textOf(turns.findLast(isUser))
}

const isUser = (turn: unknown): boolean =>
  typeof turn !== 'object' || turn === null || !('role' in turn) || turn.role === 'user'

/** The text of a string, a part, a list of parts or a message. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  if (Array.isArray(value)) return value.map(textOf).join('')
  if (typeof value !== 'object' || value === null) return ''
  const { text, content, parts } = value as Body
  return textOf(text ?? content ?? parts)
}
