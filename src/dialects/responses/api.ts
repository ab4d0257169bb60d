import { Room } from '../chunks.ts'
import type { Api, Base, StreamEvent, Translator } from '../dialect.ts'
import { Failure } from '../failure.ts'
import type {
  Annotation,
  Chat,
  ChatUsage,
  Chunk,
  Delta,
  FinishReason,
  Json,
  Reasoning,
  ToolCallDelta,
} from '../hub.ts'
import { readResponses } from './request.ts'

/** OpenAI's Responses, as a client speaks them (API reference, "Responses" and "Streaming events"; openai-node). */
export const answerResponses: Api = {
  name: 'responses',
  request: readResponses,
  response(chunks, chat, base) {
    const translator = new Events(chat, base)
    for (const chunk of chunks) translator.push(chunk)
    const { data } = translator.end().at(-1)!
    return (data as { response: Json }).response // made here
  },
  events: (chat, base) => new Events(chat, base),
  echo: toEcho,
}

/** What an item is beside its texts, roughly. */
const itemLength = 200

/** An output item under way. */
interface Item {
  readonly type: 'message' | 'reasoning' | 'function_call'
  readonly id: string
  /** The text of its only part, its summary, or its arguments. */
  text: string[]
  annotations: Json[]
  logprobs: unknown[]
  readonly call?: { readonly index: number; readonly call_id: string; readonly name: string }
  encrypted_content?: string
  isRefusal?: boolean
}

/** Chunks as the events of one response. Its last event has all of it, so all of it is kept. */
class Events implements Translator<Chunk, StreamEvent> {
  readonly #echo: Json
  readonly #base: Base
  #events: StreamEvent[] = []
  #id = ''
  #model = ''
  #number = 0
  readonly #output: Json[] = []
  readonly #room = new Room()
  #open: Item | undefined
  #reason: FinishReason = 'stop'
  #usage: ChatUsage | undefined

  constructor(chat: Chat, base: Base) {
    this.#echo = toEcho(chat)
    this.#base = base
  }

  push({ id, model, choices, usage }: Chunk): StreamEvent[] {
    if (this.#id === '') {
      this.#id = id || this.#base.id
      this.#model = model
      const response = this.#response('in_progress')
      this.#say('response.created', { response })
      this.#say('response.in_progress', { response })
    }
    this.#usage = usage ?? this.#usage
    for (const { index, delta, finish_reason, logprobs } of choices) {
      if (index > 0) continue // there is one choice only
      this.#add(delta, logprobs)
      this.#reason = finish_reason ?? this.#reason
    }
    return this.#take()
  }

  end(): StreamEvent[] {
    this.#close()
    const isWhole = this.#reason === 'stop' || this.#reason === 'tool_calls'
    const status = isWhole ? 'completed' : 'incomplete'
    this.#say(`response.${status}`, { response: this.#response(status) })
    return this.#take()
  }

  #add(delta: Delta, logprobs: unknown): void {
    const { reasoning_content, reasoning_details, content, refusal, annotations, tool_calls, images } = delta
    if (images?.length) throw new Failure(502, 'The model made an image, which is not asked for in this way')
    if (reasoning_content) this.#think(reasoning_content)
    for (const detail of reasoning_details ?? []) this.#keep(detail)
    if (content) this.#write(content, (logprobs as { content?: unknown[] } | null)?.content ?? []) // OpenAI's own shape
    if (refusal) this.#refuse(refusal)
    for (const annotation of annotations ?? []) this.#cite(annotation)
    for (const call of tool_calls ?? []) this.#call(call)
  }

  #think(delta: string): void {
    if (this.#open?.type !== 'reasoning') {
      this.#begin('reasoning')
      const part = { type: 'summary_text', text: '' }
      this.#tell('response.reasoning_summary_part.added', { summary_index: 0, part })
    }
    this.#room.take(delta.length)
    this.#open?.text.push(delta)
    this.#tell('response.reasoning_summary_text.delta', { summary_index: 0, delta })
  }

  /** What must come back in the next turn; other vendors' seals with their names before them. */
  #keep({ signature, data, format }: Reasoning): void {
    const isOwn = format === 'openai-responses-v1'
    const sealed = signature ?? data
    if (!sealed) return
    const member = signature ? 'signature' : 'data'
    this.#seal(isOwn ? sealed : `${format ?? 'anthropic-claude-v1'}/${member}#${sealed}`)
  }

  #seal(encrypted_content: string): void {
    const open = this.#open?.type === 'reasoning' ? this.#open : this.#begin('reasoning')
    this.#room.take(encrypted_content.length)
    open.encrypted_content = encrypted_content
    this.#close()
  }

  #write(delta: string, logprobs: readonly unknown[]): void {
    const open = this.#message(false)
    this.#room.take(delta.length)
    open.text.push(delta)
    for (const one of logprobs) {
      this.#room.take(JSON.stringify(one).length)
      open.logprobs.push(one)
    }
    this.#tell('response.output_text.delta', { content_index: 0, delta, logprobs })
  }

  #refuse(delta: string): void {
    this.#room.take(delta.length)
    this.#message(true).text.push(delta)
    this.#tell('response.refusal.delta', { content_index: 0, delta })
  }

  #cite(annotation: Annotation): void {
    const { annotations } = this.#message(false)
    const told = toAnnotation(annotation)
    this.#room.take(JSON.stringify(told).length)
    const annotation_index = annotations.push(told) - 1
    const at = { content_index: 0, annotation_index, annotation: told }
    this.#tell('response.output_text.annotation.added', at)
  }

  #call({ index, id, function: piece, extra_content }: ToolCallDelta): void {
    if (id !== undefined && this.#open?.call?.index !== index) {
      const signature = extra_content?.google?.thought_signature
      if (signature) this.#seal(`google-gemini-v1/signature#${signature}`)
      this.#begin('function_call', { index, call_id: id, name: piece?.name ?? '' })
    }
    if (this.#open?.call?.index !== index)
      throw new Failure(502, 'The provider mixed the calls of its answer')
    if (!piece?.arguments) return
    this.#room.take(piece.arguments.length)
    this.#open.text.push(piece.arguments)
    this.#tell('response.function_call_arguments.delta', { delta: piece.arguments })
  }

  /** The message under way, if it is of this kind, else a new one. */
  #message(isRefusal: boolean): Item {
    if (this.#open?.type === 'message' && this.#open.isRefusal === isRefusal) return this.#open
    const open = this.#begin('message')
    open.isRefusal = isRefusal
    this.#tell('response.content_part.added', { content_index: 0, part: toPart({ ...open, text: [] }) })
    return open
  }

  #begin(type: Item['type'], call?: Item['call']): Item {
    this.#close()
    const prefix = { message: 'msg', reasoning: 'rs', function_call: 'fc' }[type]
    const id = `${prefix}_${this.#output.length}_${this.#id}`
    this.#room.take(itemLength)
    const open: Item = { type, id, text: [], annotations: [], logprobs: [], ...(call && { call }) }
    this.#open = open
    this.#say('response.output_item.added', { output_index: this.#output.length, item: toItem(open, false) })
    return open
  }

  #close(): void {
    const open = this.#open
    if (!open) return
    const text = open.text.join('')
    const part = toPart(open)
    if (open.type === 'message') {
      const { isRefusal, logprobs } = open
      if (isRefusal) this.#tell('response.refusal.done', { content_index: 0, refusal: text })
      else this.#tell('response.output_text.done', { content_index: 0, text, logprobs })
      this.#tell('response.content_part.done', { content_index: 0, part })
    } else if (open.type === 'function_call') {
      this.#tell('response.function_call_arguments.done', { name: open.call?.name, arguments: text })
    } else if (text) {
      this.#tell('response.reasoning_summary_text.done', { summary_index: 0, text })
      this.#tell('response.reasoning_summary_part.done', { summary_index: 0, part })
    }
    const item = toItem(open, true)
    this.#say('response.output_item.done', { output_index: this.#output.length, item })
    this.#output.push(item)
    this.#open = undefined
  }

  #response(status: string): Json {
    const reason = this.#reason === 'length' ? 'max_output_tokens' : 'content_filter'
    return {
      id: this.#id,
      object: 'response',
      created_at: this.#base.created,
      status,
      model: this.#model,
      output: [...this.#output],
      error: null,
      incomplete_details: status === 'incomplete' ? { reason } : null,
      instructions: null,
      metadata: {},
      ...this.#echo,
      previous_response_id: null,
      usage: this.#usage ? toUsage(this.#usage) : null,
    }
  }

  /** Of the item under way. */
  #tell(type: string, more: Json): void {
    this.#say(type, { item_id: this.#open?.id, output_index: this.#output.length, ...more })
  }

  #say(type: string, more: Json): void {
    this.#events.push({ event: type, data: { type, sequence_number: this.#number, ...more } })
    this.#number += 1
  }

  #take(): StreamEvent[] {
    const taken = this.#events
    this.#events = []
    return taken
  }
}

/** What a response repeats of its request. */
function toEcho(chat: Chat): Json {
  const { tools, tool_choice, parallel_tool_calls, temperature, top_p, max_completion_tokens } = chat
  return {
    tools: (tools ?? []).map(({ type, function: own }) => ({ type, ...own, strict: own.strict ?? null })),
    tool_choice:
      typeof tool_choice === 'object' && tool_choice
        ? { type: 'function', name: tool_choice.function.name }
        : (tool_choice ?? 'auto'),
    parallel_tool_calls: parallel_tool_calls ?? true,
    temperature: temperature ?? null,
    top_p: top_p ?? null,
    max_output_tokens: max_completion_tokens ?? null,
  }
}

function toPart({ type, text, annotations, logprobs, isRefusal }: Item): Json {
  const said = text.join('')
  if (type === 'reasoning') return { type: 'summary_text', text: said }
  return isRefusal
    ? { type: 'refusal', refusal: said }
    : { type: 'output_text', text: said, annotations, logprobs }
}

function toItem(open: Item, isDone: boolean): Json {
  const { type, id, text, call, encrypted_content } = open
  const status = isDone ? 'completed' : 'in_progress'
  if (type === 'message')
    return { id, type, role: 'assistant', status, content: isDone ? [toPart(open)] : [] }
  if (type === 'reasoning') {
    const summary = text.length > 0 ? [toPart(open)] : []
    return { id, type, summary, encrypted_content: encrypted_content ?? null }
  }
  return { id, type, status, call_id: call?.call_id, name: call?.name, arguments: text.join('') }
}

function toAnnotation(annotation: Annotation): Json {
  if (annotation.type === 'url_citation') return { type: 'url_citation', ...annotation.url_citation }
  const { title, end_index } = annotation.file_citation
  return { type: 'file_citation', file_id: '', filename: title, index: end_index }
}

function toUsage(usage: ChatUsage): Json {
  const { prompt_tokens_details: input, completion_tokens_details: output } = usage
  return {
    input_tokens: usage.prompt_tokens,
    input_tokens_details: { cached_tokens: input?.cached_tokens ?? 0 },
    output_tokens: usage.completion_tokens,
    output_tokens_details: { reasoning_tokens: output?.reasoning_tokens ?? 0 },
    total_tokens: usage.total_tokens,
  }
}
