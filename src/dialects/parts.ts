import { parseExact } from './exact.ts'
import { malformed } from './failure.ts'
import type { Chat, Effort, Json, Message, Part, Reasoning, ToolCall } from './hub.ts'
import type { Notes } from './notes.ts'

/** Where a part's bytes are: here in base64, or at an address. */
export type Source =
  | { readonly data: string; readonly mediaType: string; readonly url?: undefined }
  | { readonly url: string; readonly data?: undefined; readonly mediaType?: undefined }

/** Read a `data:` URL in base64, or any other URL as it is. */
export function readUrl(url: string): Source {
  if (!url.startsWith('data:')) return { url }
  const comma = url.indexOf(',')
  const [mediaType = '', ...attributes] = url.slice(5, comma).split(';')
  if (comma < 0 || !attributes.includes('base64')) throw malformed('messages', 'a data: URL must hold base64')
  return { data: url.slice(comma + 1), mediaType: mediaType || 'application/octet-stream' }
}

/** Content as parts; a text is one. Texts of nothing are none, as most providers refuse them. */
export function partsOf(content: Message['content']): readonly Part[] {
  const parts: readonly Part[] =
    typeof content === 'string' ? [{ type: 'text', text: content }] : (content ?? [])
  return parts.filter((part) => part.type !== 'text' || part.text !== '')
}

/** The texts of a content, one a line. */
export function textOf(content: Message['content']): string {
  const texts = partsOf(content).flatMap((part) => {
    if (part.type === 'refusal') return [part.refusal]
    return part.type === 'text' ? [part.text] : []
  })
  return texts.join('\n')
}

/** The arguments of a call, which models write as JSON. @throws Failure */
export function readArguments(text: string): Json {
  const value = parseExact(text === '' ? '{}' : text)
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw malformed('messages', `the arguments of a tool call are no JSON object: ${text.slice(0, 80)}`)
  return value as Json // just made sure
}

/** Google signs each call by itself; other APIs have a signature of its own before it. */
export function signCall(call: ToolCall, before: Reasoning | undefined): ToolCall {
  const thought_signature = before?.signature ?? before?.data
  return isGoogles(before) && thought_signature
    ? { ...call, extra_content: { google: { thought_signature } } }
    : call
}

/** Whether a seal is one of Google's. */
export const isGoogles = (one: Reasoning | undefined): boolean => one?.format === 'google-gemini-v1'

/** What some dialects have words for, and others have not. */
export interface Words {
  /** Marks of what to cache. Without them a provider decides for itself. */
  readonly caching?: true
  /** How closely to look at an image. */
  readonly detail?: true
  /** Images that the model has made. */
  readonly images?: true
  /** That arguments must fit their schema. */
  readonly strict?: true
}

/** Leaves out what a dialect has no word for. @throws Failure for what cannot be left out in strict mode */
export function checkWords({ messages, tools }: Chat, notes: Notes, has: Words): void {
  const parts = messages.flatMap(({ content }) => partsOf(content))
  const marked = [...parts, ...(tools ?? [])]
  if (!has.caching && marked.some(({ cache_control }) => cache_control)) notes.leave('cache_control')
  const isClose = (part: Part) => part.type === 'image_url' && !/^(auto)?$/.test(part.image_url.detail ?? '')
  if (!has.detail && parts.some(isClose)) notes.leave('image_url.detail')
  if (!has.images && messages.some(({ images }) => images?.length)) notes.refuse('messages.images')
  if (!has.strict && tools?.some((tool) => tool.function.strict)) notes.leave('tools.strict')
}

/** An id of a call where only some are legal: letters, digits, _ and -, so many at most. Its end tells most. */
export const fitId = (id: string, max: number = id.length): string => id.replace(/[^\w-]/g, '_').slice(-max)

/** One call at a time, where the provider has no word for it: a matter of course where there is one tool to call. */
export function checkSingle({ tools, tool_choice, parallel_tool_calls }: Chat, notes: Notes): void {
  if (parallel_tool_calls !== false || !tools?.length) return
  if (tools.length === 1 || typeof tool_choice === 'object') notes.leave('parallel_tool_calls')
  else notes.refuse('parallel_tool_calls')
}

/** Split leading system and developer messages from the conversation. */
export function splitSystem(
  messages: readonly Message[],
): [system: readonly Message[], rest: readonly Message[]] {
  const start = messages.findIndex(({ role }) => role !== 'system' && role !== 'developer')
  return start < 0 ? [messages, []] : [messages.slice(0, start), messages.slice(start)]
}

/** Join neighbours that belong to the same side into one turn; turns in which a model said nothing are none. */
export function mergeTurns<T extends { readonly role: string; readonly [name: string]: unknown }>(
  turns: readonly T[],
  list: keyof T & string,
): T[] {
  const merged: { readonly turn: T; readonly parts: unknown[] }[] = []
  for (const turn of turns) {
    const parts = turn[list] as unknown[] // a list of parts
    if (turn.role !== 'user' && parts.length === 0) continue
    const last = merged.at(-1)
    if (last?.turn.role !== turn.role) merged.push({ turn, parts: [...parts] })
    else for (const part of parts) last.parts.push(part)
  }
  return merged.map(({ turn, parts }) => ({ ...turn, [list]: parts }))
}

/** Efforts as tokens of thought, for models that count them (Google's own table for its OpenAI wire). */
export const budgets: Readonly<Record<Effort, number>> = {
  none: 0,
  minimal: 1_024,
  low: 1_024,
  medium: 8_192,
  high: 24_576,
  xhigh: 24_576,
  max: 24_576,
}

/** The effort that comes closest to a number of tokens, for models that are told in words. */
export function toEffort(budget: number): Effort {
  if (budget <= 0) return 'none'
  return budget < 4_096 ? 'low' : budget < 16_384 ? 'medium' : 'high'
}

/** The schema of an answer, with its description in it, where that has no place of its own. */
export function schemaOf(format: Chat['response_format']): Json | undefined {
  if (format?.type !== 'json_schema') return undefined
  const { description, schema } = format.json_schema
  return { ...(description !== undefined && { description }), ...schema }
}

/** `stop` as a list. */
export const stopsOf = (
  stop: string | readonly string[] | null | undefined,
): readonly string[] | undefined => (typeof stop === 'string' ? [stop] : (stop ?? undefined))

/** Members of other names than these, which are parted by spaces. */
export function without(value: Json, names: string): Json {
  const known = new Set(names.split(' '))
  return Object.fromEntries(Object.entries(value).filter(([name]) => !known.has(name)))
}

/** Members that have a value. */
export function compact<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], null | undefined> } {
  const kept = Object.entries(value).filter(([, member]) => member !== undefined && member !== null)
  return Object.fromEntries(kept) as { [K in keyof T]?: Exclude<T[K], null | undefined> } // the same members
}
