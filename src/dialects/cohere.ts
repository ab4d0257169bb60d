import { Chunks, toUsage } from './chunks.ts'
import type { Base, Dialect, Embeddings, StreamEvent, Translator } from './dialect.ts'
import { brokenOff, Failure } from './failure.ts'
import type { Annotation, Chat, Chunk, FinishReason, Json, Message } from './hub.ts'
import type { Notes } from './notes.ts'
import { budgets, checkSingle, checkWords, compact, partsOf, schemaOf, stopsOf, textOf } from './parts.ts'

const embeddings: Embeddings = {
  request({ model, input, dimensions, input_type = 'search_document', ...rest }, notes) {
    notes.rest(rest)
    const body = { model, texts: input, input_type, embedding_types: ['float'], output_dimension: dimensions }
    return { path: 'v2/embed', body: compact(body) }
  },
  response(body) {
    const { embeddings, meta } = body as {
      embeddings?: { float?: number[][] }
      meta?: { billed_units?: { input_tokens?: number } }
    } // lenient: every member may be missing
    return { vectors: embeddings?.float ?? [], tokens: meta?.billed_units?.input_tokens ?? 0 }
  },
}

/** Cohere's Chat v2 and Embed v2 (API reference, "Chat", "Chat with Streaming", "Embed"; cohere-ai). */
export const cohere: Dialect = {
  name: 'cohere',
  request: (chat, notes) => ({ path: 'v2/chat', body: toRequest(chat, notes) }),
  replay,
  events: (base) => new Events(base),
  embeddings,
}

function toRequest(chat: Chat, notes: Notes): Json {
  const {
    model,
    messages,
    tools,
    tool_choice,
    response_format,
    reasoning_effort,
    reasoning_budget,
    ...more
  } = chat
  const { max_tokens, max_completion_tokens, stop, top_p, top_k, stream, stream_options, ...others } = more
  const { temperature, seed, frequency_penalty, presence_penalty, logprobs, ...last } = others
  const { parallel_tool_calls, ...rest } = last
  notes.rest(rest)
  checkWords(chat, notes, { detail: true, strict: true })
  checkSingle(chat, notes)
  const budget = reasoning_budget ?? (reasoning_effort && budgets[reasoning_effort])
  const schema = schemaOf(response_format)
  return compact({
    model,
    messages: messages.filter(saysAny).map((message) => toMessage(message, notes)),
    tools: tools?.map(({ type, function: { name, description, parameters } }) => ({
      type,
      function: compact({ name, description, parameters: parameters ?? { type: 'object', properties: {} } }),
    })),
    strict_tools: tools?.some((tool) => tool.function.strict) || undefined,
    tool_choice: toToolChoice(chat, notes),
    response_format:
      response_format && response_format.type !== 'text'
        ? compact({ type: 'json_object', json_schema: schema })
        : undefined,
    thinking:
      budget == null
        ? undefined
        : budget > 0
          ? { type: 'enabled', token_budget: budget }
          : { type: 'disabled' },
    max_tokens: max_completion_tokens ?? max_tokens,
    stop_sequences: stopsOf(stop),
    temperature,
    p: top_p,
    k: top_k,
    seed,
    frequency_penalty,
    presence_penalty,
    logprobs: logprobs || undefined,
    stream: stream || undefined,
  })
}

function toToolChoice({ tool_choice: choice, tools }: Chat, notes: Notes): string | undefined {
  if (choice == null || choice === 'auto') return undefined
  if (typeof choice === 'string') return choice.toUpperCase()
  if (tools?.length === 1) return 'REQUIRED'
  notes.refuse('tool_choice', 'Cohere can be told to use some tool, but not which')
  return undefined
}

/** Turns in which a model said nothing are refused. */
const saysAny = ({ role, content, tool_calls, reasoning_content }: Message): boolean =>
  role !== 'assistant' || partsOf(content).length > 0 || !!tool_calls?.length || !!reasoning_content

function toMessage(message: Message, notes: Notes): Json {
  const { role, content, tool_calls, tool_call_id, reasoning_content, is_error } = message
  if (is_error) notes.leave('is_error')
  if (role === 'user') return { role, content: toContent(content, notes) }
  for (const part of partsOf(content))
    if (!/^(text|refusal)$/.test(part.type)) notes.refuse(`${role}.${part.type}`)
  const text = textOf(content)
  if (role === 'tool') return { role, tool_call_id, content: text }
  if (role === 'system' || role === 'developer') return { role: 'system', content: text }
  if (tool_calls?.length) {
    // What it thought before a call is its plan.
    const calls = tool_calls.map(({ extra_content, ...call }) => call)
    return compact({ role, tool_calls: calls, tool_plan: reasoning_content, content: text || undefined })
  }
  const thought = reasoning_content ? [{ type: 'thinking', thinking: reasoning_content }] : []
  return { role, content: thought.length ? [...thought, { type: 'text', text }] : text }
}

function toContent(content: Message['content'], notes: Notes): unknown {
  if (typeof content === 'string') return content
  return partsOf(content).flatMap((part): Json[] => {
    if (part.type === 'text') return [{ type: 'text', text: part.text }]
    if (part.type === 'image_url') return [{ type: 'image_url', image_url: part.image_url }]
    notes.refuse(part.type)
    return []
  })
}

/** A citation; every member may be missing. */
interface Citation {
  /** Of what it is: `TEXT_CONTENT`, or of a plan or a thought, whose places are none of the text's. */
  readonly type?: string
  readonly start?: number
  readonly end?: number
  readonly text?: string
  readonly sources?: readonly { readonly id?: string; readonly document?: { title?: string; url?: string } }[]
}
interface Call {
  readonly id?: string
  readonly function?: { readonly name?: string; readonly arguments?: string }
}
interface Piece {
  readonly text?: string
  readonly thinking?: string
}
interface Usage {
  readonly tokens?: { readonly input_tokens?: number; readonly output_tokens?: number }
  readonly cached_tokens?: number
}
interface Logprobs {
  readonly text?: string
  readonly logprobs?: readonly number[]
}
interface Answer {
  readonly id?: string
  readonly finish_reason?: string
  readonly usage?: Usage
  readonly logprobs?: readonly Logprobs[] | null
  readonly message?: {
    readonly content?: readonly Piece[]
    readonly tool_plan?: string
    readonly tool_calls?: readonly Call[]
    readonly citations?: readonly Citation[]
  }
}
interface Event {
  readonly type?: string
  readonly id?: string
  readonly index?: number
  readonly logprobs?: Logprobs
  readonly delta?: {
    readonly finish_reason?: string
    readonly error?: string
    readonly usage?: Usage
    readonly message?: {
      readonly content?: Piece
      readonly tool_plan?: string
      readonly tool_calls?: Call
      readonly citations?: Citation
    }
  }
}

const reasons: Readonly<Record<string, FinishReason>> = {
  COMPLETE: 'stop',
  STOP_SEQUENCE: 'stop',
  MAX_TOKENS: 'length',
  TOOL_CALL: 'tool_calls',
  ERROR_TOXIC: 'content_filter',
}

/** A whole answer as the events that would have streamed it. */
function replay(body: unknown): StreamEvent[] {
  const { id, finish_reason, usage, logprobs, message = {} } = body as Answer // lenient
  const { content = [], tool_plan, tool_calls = [], citations = [] } = message
  const list: Event[] = [
    { type: 'message-start', ...(id && { id }) },
    ...(tool_plan ? [{ type: 'tool-plan-delta', delta: { message: { tool_plan } } }] : []),
    ...content.map((piece) => ({ type: 'content-delta', delta: { message: { content: piece } } })),
    ...(logprobs ?? []).map((one) => ({ type: 'content-delta', logprobs: one })),
    ...tool_calls.map((call, index) => ({
      type: 'tool-call-start',
      index,
      delta: { message: { tool_calls: call } },
    })),
    ...citations.map((one) => ({ type: 'citation-start', delta: { message: { citations: one } } })),
    { type: 'message-end', delta: { ...(finish_reason && { finish_reason }), ...(usage && { usage }) } },
  ]
  return list.map((data) => ({ data }))
}

class Events implements Translator<StreamEvent, Chunk> {
  readonly #out: Chunks
  readonly #calls = new Map<number, number>()
  #isOver = false

  constructor(base: Base) {
    this.#out = new Chunks(base)
  }

  push({ data }: StreamEvent): Chunk[] {
    const { type, id, index = 0, logprobs, delta = {} } = data as Event // lenient: every member may be missing
    const { content, tool_plan, tool_calls, citations } = delta.message ?? {}
    switch (type) {
      case 'message-start':
        this.#out.name({ id })
        return []
      case 'tool-plan-delta':
        return tool_plan ? [this.#out.delta({ reasoning_content: tool_plan })] : []
      case 'content-start':
      case 'content-delta':
        return this.#write(content ?? {}, logprobs)
      case 'tool-call-start':
        return this.#call(tool_calls ?? {}, index)
      case 'tool-call-delta':
        return [this.#out.args(this.#calls.get(index) ?? 0, tool_calls?.function?.arguments ?? '')]
      case 'citation-start':
        return this.#cite(citations ?? {})
      case 'message-end':
        return this.#finish(delta)
      default:
        return []
    }
  }

  end(): Chunk[] {
    if (!this.#isOver) throw brokenOff()
    return []
  }

  #write({ text, thinking }: Piece, logprobs: Logprobs | undefined): Chunk[] {
    if (thinking) return [this.#out.delta({ reasoning_content: thinking })]
    const told = logprobs && { content: [toLogprob(logprobs)], refusal: null }
    return text || told ? [this.#out.delta(text ? { content: text } : {}, 0, null, told)] : []
  }

  #call({ id = '', function: { name = '', arguments: args = '' } = {} }: Call, at: number): Chunk[] {
    const [chunk, index] = this.#out.call({ id, name, args })
    this.#calls.set(at, index)
    return [chunk]
  }

  #cite(citation: Citation): Chunk[] {
    const annotations = (citation.type ?? 'TEXT_CONTENT') === 'TEXT_CONTENT' ? toAnnotations(citation) : []
    return annotations.length > 0 ? [this.#out.delta({ annotations })] : []
  }

  #finish({ finish_reason, error, usage = {} }: NonNullable<Event['delta']>): Chunk[] {
    if (error || /^(ERROR|TIMEOUT)$/.test(finish_reason ?? ''))
      throw new Failure(500, error ?? finish_reason ?? '', finish_reason)
    if (!finish_reason) throw brokenOff()
    this.#isOver = true
    const { tokens = {}, cached_tokens: cached } = usage
    const used = toUsage(tokens.input_tokens, tokens.output_tokens, { cached })
    return [this.#out.finish(reasons[finish_reason] ?? 'length'), this.#out.usage(used)]
  }
}

const toLogprob = ({ text: token = '', logprobs = [] }: Logprobs): Json => ({
  token,
  logprob: logprobs.reduce((sum, one) => sum + one, 0),
  bytes: null,
  top_logprobs: [],
})

function toAnnotations({ start = 0, end = 0, text = '', sources = [] }: Citation): Annotation[] {
  return sources.map(({ id = '', document }): Annotation => {
    const at = { title: document?.title ?? id, start_index: start, end_index: end }
    return document?.url
      ? { type: 'url_citation', url_citation: { url: document.url, ...at } }
      : { type: 'file_citation', file_citation: { ...at, cited_text: text } }
  })
}
