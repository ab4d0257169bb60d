import type { Api, Base, StreamEvent, Translator } from '../dialect.ts'
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
    for (const chunk of chunks) translator.push(chunk)
    translator.end()
    return translator.message
  },
  events: (_chat, base) => new Events(base),
}

const reasons: Readonly<Record<FinishReason, string>> = {
  stop: 'end_turn',
  length: 'max_tokens',
  tool_calls: 'tool_use',
  content_filter: 'refusal',
}

/** The block under way: of which kind, and of a call its number. */
interface Open {
  readonly type: string
  readonly call?: number
}

/** Chunks as the events of one message. Blocks follow one another, as Anthropic's own SDK reads only the last. */
class Events implements Translator<Chunk, StreamEvent> {
  readonly #base: Base
  #events: StreamEvent[] = []
  #hasBegun = false
  #open: Open | undefined
  /** What has come so far, for an answer that is told whole. */
  readonly #content: { [name: string]: unknown }[] = []
  #args = ''
  #reason: FinishReason = 'stop'
  #usage: ChatUsage | undefined
  #names: { id: string; model: string }

  constructor(base: Base) {
    this.#base = base
    this.#names = base
  }

  get message(): Json {
    const { id, model } = this.#names
    return {
      ...head(id, model),
      content: this.#content,
      stop_reason: reasons[this.#reason],
      usage: toUsage(this.#usage),
    }
  }

  push({ id, model, choices, usage }: Chunk): StreamEvent[] {
    this.#names = { id: id || this.#base.id, model }
    if (!this.#hasBegun) {
      this.#hasBegun = true
      this.#say({
        type: 'message_start',
        message: { ...head(this.#names.id, model), usage: toUsage(undefined) },
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

  #add({
    reasoning_content,
    reasoning_details,
    content,
    refusal,
    annotations,
    tool_calls,
    images,
  }: Delta): void {
    if (images?.length) throw new Failure(502, 'The model made an image, which Messages have no word for')
    if (reasoning_content) this.#append('thinking', 'thinking', reasoning_content)
    for (const detail of reasoning_details ?? []) this.#keep(detail)
    const text = (content ?? '') + (refusal ?? '')
    if (text) this.#append('text', 'text', text)
    for (const annotation of annotations ?? []) this.#cite(annotation)
    for (const call of tool_calls ?? []) this.#call(call)
  }

  /** What must come back in the next turn; other vendors' signatures with their names before them. */
  #keep({ type, signature, data, format }: Reasoning): void {
    const isOwn = !format || format === 'anthropic-claude-v1'
    if (isOwn && type === 'reasoning.encrypted') return this.#begin({ type: 'redacted_thinking', data }, {})
    const sealed = signature ?? data
    if (sealed) this.#sign(isOwn ? sealed : `${format}#${sealed}`)
  }

  #sign(signature: string): void {
    this.#append('thinking', 'signature', signature)
    this.#close()
  }

  #call({ index, id, function: piece, extra_content }: ToolCallDelta): void {
    if (id !== undefined && this.#open?.call !== index) {
      const signature = extra_content?.google?.thought_signature
      if (signature) this.#sign(`google-gemini-v1#${signature}`)
      this.#begin({ type: 'tool_use', id, name: piece?.name ?? '', input: {} }, { call: index })
    }
    if (this.#open?.call !== index) throw new Failure(502, 'The provider mixed the calls of its answer')
    if (piece?.arguments) this.#append('tool_use', 'partial_json', piece.arguments)
  }

  #cite(annotation: Annotation): void {
    const citation =
      annotation.type === 'url_citation'
        ? {
            type: 'web_search_result_location',
            ...toSource(annotation.url_citation),
            cited_text: '',
            encrypted_index: '',
          }
        : { type: 'char_location', ...toPassage(annotation.file_citation) }
    const block = this.#block('text')
    block.citations = [...((block.citations as Json[] | null) ?? []), citation] // a list, if anything
    this.#delta({ type: 'citations_delta', citation })
  }

  #append(type: string, member: 'text' | 'thinking' | 'signature' | 'partial_json', piece: string): void {
    const block = this.#block(type)
    if (member === 'partial_json') this.#args += piece
    else block[member] = String(block[member] ?? '') + piece
    this.#delta({ type: member === 'partial_json' ? 'input_json_delta' : `${member}_delta`, [member]: piece })
  }

  /** The block under way, if it is of this kind, else a new one. */
  #block(type: string): { [name: string]: unknown } {
    if (this.#open?.type !== type) {
      this.#begin(
        type === 'text' ? { type, text: '', citations: null } : { type, thinking: '', signature: '' },
        {},
      )
    }
    return this.#content.at(-1)!
  }

  #begin(
    content_block: { readonly type: string; readonly [name: string]: unknown },
    of: Omit<Open, 'type'>,
  ): void {
    this.#close()
    this.#open = { type: content_block.type, ...of }
    this.#content.push({ ...content_block })
    this.#say({ type: 'content_block_start', index: this.#content.length - 1, content_block })
  }

  #close(): void {
    if (!this.#open) return
    const block = this.#content.at(-1)!
    if (this.#open.type === 'tool_use') block.input = JSON.parse(this.#args || '{}')
    this.#args = ''
    this.#open = undefined
    this.#say({ type: 'content_block_stop', index: this.#content.length - 1 })
  }

  #delta(delta: Json): void {
    this.#say({ type: 'content_block_delta', index: this.#content.length - 1, delta })
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

const head = (id: string, model: string): Json => ({
  id,
  type: 'message',
  role: 'assistant',
  model,
  content: [],
  stop_reason: null,
  stop_sequence: null,
})

const toSource = ({ url, title }: { url: string; title: string }) => ({ url, title })

const toPassage = (at: (Annotation & { type: 'file_citation' })['file_citation']) => ({
  cited_text: at.cited_text,
  document_index: 0,
  document_title: at.title,
  start_char_index: at.start_index,
  end_char_index: at.end_index,
})

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
