import { limits } from '../limits.ts'
import type { Base, Dialect } from './dialect.ts'
import { Failure } from './failure.ts'
import type {
  Annotation,
  ChatUsage,
  Chunk,
  Completion,
  Delta,
  FinishReason,
  Part,
  Reasoning,
  ToolCall,
} from './hub.ts'

/** A call that begins. */
interface Begun {
  readonly id: string
  readonly name: string
  readonly args?: string
  readonly extra?: ToolCall['extra_content']
  readonly choice?: number
}

/** The id of a call where its provider has none: of 40 characters at most, as OpenAI takes no longer ones. */
export const callId = (answer: string, number: number): string =>
  `call_${answer.replace(/[^a-z0-9]/gi, '').slice(-24)}_${number}`

/** How much of one answer may still be kept until its end. */
export class Room {
  #left: number = limits.answerLength

  /** @throws Failure over `limits.answerLength` */
  take(length: number): void {
    this.#left -= length
    if (this.#left < 0)
      throw new Failure(502, `An answer is over ${limits.answerLength} characters`, 'provider_failed')
  }
}

/** Makes the chunks of one answer; the first of each choice gets the role. */
export class Chunks {
  #base: Base
  readonly #begun = new Set<number>()
  /** So far, by choice. */
  readonly #calls = new Map<number, number>()

  constructor(base: Base) {
    this.#base = base
  }

  /** What the provider calls its answer, as far as it does. */
  name(names: { readonly id?: string | undefined; readonly model?: string | undefined }): void {
    const { id = this.#base.id, model = this.#base.model } = names
    this.#base = { ...this.#base, id, model }
  }

  /** What is added to a choice. */
  delta(delta: Delta, index = 0, finish_reason: FinishReason | null = null, logprobs?: unknown): Chunk {
    const isFirst = !this.#begun.has(index)
    if (isFirst) this.#begun.add(index)
    const said: Delta = isFirst ? { role: 'assistant', content: '', ...delta } : delta
    return this.#chunk([{ index, delta: said, ...(logprobs != null && { logprobs }), finish_reason }])
  }

  /** A call begins; returns its number with it. */
  call({ id, name, args = '', extra, choice = 0 }: Begun): [Chunk, number] {
    const index = this.#calls.get(choice) ?? 0
    this.#calls.set(choice, index + 1)
    const own = id || callId(this.#base.id, index)
    const call = { index, id: own, type: 'function', function: { name, arguments: args } } as const
    return [this.delta({ tool_calls: [{ ...call, ...(extra && { extra_content: extra }) }] }, choice), index]
  }

  /** More of a call's arguments. */
  args(index: number, args: string): Chunk {
    return this.delta({ tool_calls: [{ index, function: { arguments: args } }] })
  }

  /** A choice ends; one that called functions ends for that, whatever its provider calls it. */
  finish(reason: FinishReason, index = 0): Chunk {
    return this.delta({}, index, reason === 'stop' && this.#calls.has(index) ? 'tool_calls' : reason)
  }

  /** All that the answer used. */
  usage(usage: ChatUsage): Chunk {
    return this.#chunk([], usage)
  }

  #chunk(choices: Chunk['choices'], usage?: ChatUsage): Chunk {
    const { id, created, model } = this.#base
    return { id, object: 'chat.completion.chunk', created, model, choices, ...(usage && { usage }) }
  }
}

/** Whether choices tell nothing yet: a role, and empty texts. */
export const isQuiet = (choices: Chunk['choices']): boolean =>
  choices.every(({ delta, finish_reason }) => {
    if (finish_reason || typeof delta !== 'object') return false
    for (const [name, value] of Object.entries(delta ?? {})) {
      const isEmpty = !value || (Array.isArray(value) && value.length === 0)
      if (!isEmpty && name !== 'role') return false
    }
    return true
  })

/** Usage as OpenAI has it; cached and written tokens are parts of the prompt's, reasoning one of the completion's. */
export function toUsage(
  prompt_tokens = 0,
  completion_tokens = 0,
  parts: { cached?: number | undefined; written?: number | undefined; reasoning?: number | undefined } = {},
): ChatUsage {
  const { cached, written, reasoning } = parts
  const details = {
    ...(cached != null && { cached_tokens: cached }),
    ...(written && { cache_write_tokens: written }),
  }
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: prompt_tokens + completion_tokens,
    ...((cached != null || written) && { prompt_tokens_details: details }),
    ...(reasoning != null && { completion_tokens_details: { reasoning_tokens: reasoning } }),
  }
}

/** A whole answer as the chunks that would have streamed it. @throws Failure */
export function toChunks(dialect: Dialect, body: unknown, base: Base): Chunk[] {
  const translator = dialect.events(base)
  return [...dialect.replay(body).flatMap((event) => translator.push(event)), ...translator.end()]
}

interface Choice {
  content: string | null
  refusal: string | null
  reasoning_content?: string
  reasoning_details: Reasoning[]
  annotations: Annotation[]
  images: Part[]
  tool_calls: (ToolCall & { function: { name: string; arguments: string } })[]
  logprobs: unknown
  finish_reason: FinishReason
}

/** The chunks of one answer as the whole that they add up to. */
export function toCompletion(chunks: readonly Chunk[], base: Base): Completion {
  const { id, created, model } = chunks[0] ?? base
  const choices = new Map<number, Choice>()
  for (const { index, delta, logprobs, finish_reason } of chunks.flatMap((chunk) => chunk.choices)) {
    const found = choices.get(index)
    const choice = found ?? newChoice()
    if (!found) choices.set(index, choice)
    add(choice, delta)
    if (logprobs != null) choice.logprobs = mergeLogprobs(choice.logprobs, logprobs)
    if (finish_reason) choice.finish_reason = finish_reason
  }
  const usage = chunks.findLast((chunk) => chunk.usage)?.usage
  return {
    id,
    object: 'chat.completion',
    created,
    model,
    choices: [...choices].sort(([a], [b]) => a - b).map(([index, choice]) => toChoice(index, choice)),
    ...(usage && { usage }),
  }
}

const newChoice = (): Choice => ({
  content: null,
  refusal: null,
  reasoning_details: [],
  annotations: [],
  images: [],
  tool_calls: [],
  logprobs: null,
  finish_reason: 'stop',
})

function add(choice: Choice, delta: Delta): void {
  if (delta.content) choice.content = (choice.content ?? '') + delta.content
  if (delta.refusal) choice.refusal = (choice.refusal ?? '') + delta.refusal
  if (delta.reasoning_content)
    choice.reasoning_content = (choice.reasoning_content ?? '') + delta.reasoning_content
  choice.reasoning_details.push(...(delta.reasoning_details ?? []))
  choice.annotations.push(...(delta.annotations ?? []))
  choice.images.push(...(delta.images ?? []))
  for (const { index, id, function: piece, extra_content } of delta.tool_calls ?? []) {
    const call = choice.tool_calls[index]
    if (call) call.function.arguments += piece?.arguments ?? ''
    else {
      const { name = '', arguments: args = '' } = piece ?? {}
      const extra = extra_content && { extra_content }
      choice.tool_calls[index] = {
        id: id ?? '',
        type: 'function',
        function: { name, arguments: args },
        ...extra,
      }
    }
  }
}

function mergeLogprobs(before: unknown, more: unknown): unknown {
  const lists = [before, more] as ({ content?: unknown[] } | null)[] // OpenAI's own shape, made by the dialects
  return { content: lists.flatMap((list) => list?.content ?? []), refusal: null }
}

function toChoice(index: number, choice: Choice): Completion['choices'][number] {
  const { logprobs, finish_reason, content, refusal, ...rest } = choice
  // Lists that stayed empty are left out.
  const extra = Object.fromEntries(Object.entries(rest).filter(([, value]) => value && value.length > 0))
  return { index, message: { role: 'assistant', content, refusal, ...extra }, logprobs, finish_reason }
}
