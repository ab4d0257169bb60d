import type { Api, Base, StreamEvent, Translator } from '../dialect.ts'
import { parseExact } from '../exact.ts'
import { Failure } from '../failure.ts'
import type {
  Annotation,
  ChatUsage,
  Chunk,
  Delta,
  FinishReason,
  Json,
  Reasoning,
  ToolCallDelta,
} from '../hub.ts'

import { readMessages } from './request.ts'

/** Anthropic's Messages, as a client speaks them (API reference, "Create a Message"; @anthropic-ai/sdk). */
export const messages: Api = {
  name: 'messages',
  request: readMessages,
  response(chunks, _chat, base) {
    const translator = new Events(base)
    return toMessage([...chunks.flatMap((chunk) => translator.push(chunk)), ...translator.end()])
  },
  events: (_chat, base) => new Events(base),
}

const reasons: Readonly<Record<FinishReason, string>> = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  content_filter: 'refusal',
}

/** Chunks as the events of one message. Blocks follow one another, as Anthropic's own SDK reads only the last. */
class Events implements Translator<Chunk, StreamEvent> {
  readonly #base: Base
  #events: StreamEvent[] = []
  #hasBegun = false
  /** Of the block under way: its kind, and of a call its number. */
  #open: { readonly type: string; readonly call?: number } | undefined
  #index = -1
  #reason: FinishReason = 'stop'
  #usage: ChatUsage | undefined

  constructor(base: Base) {
    this.#base = base
  }

  push({ id, model, choices, usage }: Chunk): StreamEvent[] {
    if (!this.#hasBegun) {
      this.#hasBegun = true
      this.#say({
        type: 'message_start',
        message: { ...head(id || this.#base.id, model), usage: toUsage(undefined) },
      })
    }
    this.#usage = usage ?? this.#usage
    for (const { index, delta, finish_reason } of choices) {
      if (index > 0) continue // there is one choice only
      this.#add(delta)
      this.#reason = finish_reason ?? this.#reason
    }
    return this.#take()
  }

  end(): StreamEvent[] {
    this.#close()
    const delta = { stop_reason: reasons[this.#reason], stop_sequence: null }
    this.#say({ type: 'message_delta', delta, usage: toUsage(this.#usage) })
    this.#say({ type: 'message_stop' })
    return this.#take()
  }

  #add(delta: Delta): void {
    const { reasoning_content, reasoning_details, content, refusal, annotations, tool_calls, images } = delta
    if (images?.length) throw new Failure(502, 'The model made an image, which Messages have no word for')
    if (reasoning_content) this.#append('thinking', 'thinking', reasoning_content)
    for (const detail of reasoning_details ?? []) this.#keep(detail)
    const text = (content ?? '') + (refusal ?? '')
    if (text) this.#append('text', 'text', text)
    for (const annotation of annotations ?? []) {
      this.#need('text')
      this.#delta({ type: 'citations_delta', citation: toCitation(annotation) })
    }
    for (const call of tool_calls ?? []) this.#call(call)
  }

  /** What must come back in the next turn; other vendors' signatures with their names before them. */
  #keep({ type, signature, data, format }: Reasoning): void {
    const isOwn = !format || format === 'anthropic-claude-v1'
    const sealed = signature ?? data
    if (isOwn && type === 'reasoning.encrypted') this.#begin({ type: 'redacted_thinking', data })
    else if (sealed) this.#sign(isOwn ? sealed : `${format}#${sealed}`)
  }

  #sign(signature: string): void {
    this.#append('thinking', 'signature', signature)
    this.#close()
  }

  #call({ index, id, function: piece, extra_content }: ToolCallDelta): void {
    if (id !== undefined && this.#open?.call !== index) {
      const signature = extra_content?.google?.thought_signature
      if (signature) this.#sign(`google-gemini-v1#${signature}`)
      this.#begin({ type: 'tool_use', id, name: piece?.name ?? '', input: {} }, index)
    }
    if (this.#open?.call !== index) throw new Failure(502, 'The provider mixed the calls of its answer')
    if (piece?.arguments) this.#delta({ type: 'input_json_delta', partial_json: piece.arguments })
  }

  #append(type: string, member: 'text' | 'thinking' | 'signature', piece: string): void {
    this.#need(type)
    this.#delta({ type: `${member}_delta`, [member]: piece })
  }

  /** A new block, unless the one under way is of this kind. */
  #need(type: string): void {
    if (this.#open?.type === type) return
    const empty = type === 'text' ? { text: '', citations: null } : { thinking: '', signature: '' }
    this.#begin({ type, ...empty })
  }

  #begin(content_block: Json & { readonly type: string }, call?: number): void {
    this.#close()
    this.#open = { type: content_block.type, ...(call !== undefined && { call }) }
    this.#index += 1
    this.#say({ type: 'content_block_start', index: this.#index, content_block })
  }

  #close(): void {
    if (!this.#open) return
    this.#open = undefined
    this.#say({ type: 'content_block_stop', index: this.#index })
  }

  #delta(delta: Json): void {
    this.#say({ type: 'content_block_delta', index: this.#index, delta })
  }

  #say(data: Json & { readonly type: string }): void {
    this.#events.push({ event: data.type, data })
  }

  #take(): StreamEvent[] {
    const taken = this.#events
    this.#events = []
    return taken
  }
}

interface Told {
  readonly type?: string
  readonly message?: Json
  readonly content_block?: Json
  readonly delta?: { readonly type?: string; readonly [member: string]: unknown }
  readonly usage?: Json
}

/** The events of a message as the whole that they add up to. */
function toMessage(events: readonly StreamEvent[]): Json {
  let message: Json = {}
  const content: Record<string, unknown>[] = []
  let args = ''
  for (const { data } of events) {
    const { type, message: begun, content_block, delta, usage } = data as Told // made here
    const block = content.at(-1)
    if (begun) message = begun
    else if (content_block) content.push({ ...content_block })
    else if (delta && type === 'message_delta') message = { ...message, ...delta, usage }
    else if (delta?.partial_json) args += String(delta.partial_json)
    else if (delta && block) add(block, delta)
    else if (type === 'content_block_stop' && block?.type === 'tool_use') {
      block.input = toInput(args)
      args = ''
    }
  }
  return { ...message, content }
}

/** @throws Failure for what no tool could be called with */
function toInput(args: string): unknown {
  const input = parseExact(args === '' ? '{}' : args)
  if (typeof input === 'object' && input !== null && !Array.isArray(input)) return input
  throw new Failure(502, 'The model called a tool with what is no JSON object', 'invalid_tool_call')
}

function add(
  block: Record<string, unknown>,
  { type: _, citation, ...pieces }: NonNullable<Told['delta']>,
): void {
  if (citation) {
    block.citations ??= []
    ;(block.citations as unknown[]).push(citation) // a list, if anything
  }
  for (const [member, piece] of Object.entries(pieces))
    block[member] = String(block[member] ?? '') + String(piece)
}

const head = (id: string, model: string): Json => ({
  id,
  type: 'message',
  role: 'assistant',
  model,
  content: [],
  stop_reason: null,
  stop_sequence: null,
})

function toCitation(annotation: Annotation): Json {
  if (annotation.type === 'url_citation') {
    const { url, title } = annotation.url_citation
    return { type: 'web_search_result_location', url, title, cited_text: '', encrypted_index: '' }
  }
  const { cited_text, title, start_index, end_index } = annotation.file_citation
  return {
    type: 'char_location',
    cited_text,
    document_index: 0,
    document_title: title,
    start_char_index: start_index,
    end_char_index: end_index,
  }
}

/** Anthropic counts what was cached beside the input. */
function toUsage(usage: ChatUsage | undefined): Json {
  const { cached_tokens: read = 0, cache_write_tokens: written = 0 } = usage?.prompt_tokens_details ?? {}
  const thinking_tokens = usage?.completion_tokens_details?.reasoning_tokens
  return {
    input_tokens: Math.max((usage?.prompt_tokens ?? 0) - read - written, 0),
    cache_creation_input_tokens: written,
    cache_read_input_tokens: read,
    output_tokens: usage?.completion_tokens ?? 0,
    ...(thinking_tokens !== undefined && { output_tokens_details: { thinking_tokens } }),
  }
}
