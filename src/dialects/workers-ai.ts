import { Chunks, callId } from './chunks.ts'
import type { Base, Dialect, Embeddings, StreamEvent, Translator } from './dialect.ts'
import { brokenOff } from './failure.ts'
import type { Chat, ChatUsage, Chunk, Json, Message } from './hub.ts'
import type { Notes } from './notes.ts'
import { likeOpenai } from './openai/dialect.ts'
import { checkSingle, checkWords, compact, partsOf, schemaOf, textOf } from './parts.ts'

const openai = likeOpenai()
/** Tokens of an answer at most, where no maximum is asked for. */
const maxTokensDefault = 256

const embeddings: Embeddings = {
  request({ model, input, ...rest }, notes) {
    notes.rest(rest)
    return { path: model, body: { text: input } }
  },
  response(body) {
    const { result } = body as { result?: { data?: number[][] } } // lenient: every member may be missing
    return { vectors: result?.data ?? [], tokens: 0 }
  },
}

/** Workers AI's text generation and embeddings (models' own schemas; workers-ai-provider). */
export const workersAi: Dialect = {
  name: 'workers-ai',
  request: (chat, notes) => ({ path: chat.model, body: toRequest(chat, notes) }),
  // An answer comes in an envelope, which its stream has not.
  replay: (body) => [{ data: (body as { result?: unknown }).result ?? body }, { event: 'done', data: {} }],
  events: (base) => new Events(base),
  embeddings,
}

function toRequest(chat: Chat, notes: Notes): Json {
  const {
    model: _,
    messages,
    tools,
    response_format,
    max_tokens,
    max_completion_tokens,
    tool_choice,
    ...more
  } = chat
  const { temperature, top_p, top_k, seed, frequency_penalty, presence_penalty, stream, ...others } = more
  const { stream_options, parallel_tool_calls, ...rest } = others
  notes.rest(rest)
  checkSingle(chat, notes)
  checkWords(chat, notes, { detail: true })
  if (tool_choice && tool_choice !== 'auto') notes.refuse('tool_choice')
  const schema = schemaOf(response_format)
  return compact({
    messages: messages.map((message) => toMessage(message, notes)),
    tools: tools?.map(({ type, function: { name, description, parameters } }) => ({
      type,
      function: compact({ name, description, parameters: parameters ?? { type: 'object', properties: {} } }),
    })),
    response_format:
      response_format && response_format.type !== 'text'
        ? compact({ type: response_format.type, json_schema: schema })
        : undefined,
    max_tokens: max_completion_tokens ?? max_tokens,
    temperature,
    top_p,
    top_k,
    seed,
    frequency_penalty,
    presence_penalty,
    stream: stream || undefined,
  })
}

function toMessage(message: Message, notes: Notes): Json {
  const { role, content, tool_calls, tool_call_id, reasoning_content, reasoning_details, is_error } = message
  if (reasoning_content || reasoning_details?.length) notes.leave('reasoning_content')
  if (is_error) notes.leave('is_error')
  const own = role === 'developer' ? 'system' : role
  const parts = partsOf(content).filter((part) => {
    if (part.type === 'text' || part.type === 'refusal') return false
    const isHere = part.type === 'image_url' && part.image_url.url.startsWith('data:')
    if (isHere && role === 'user') return true
    notes.refuse(part.type, 'Workers AI takes texts, and images in base64')
    return false
  })
  const text = textOf(content)
  const mixed = [
    ...(text ? [{ type: 'text', text }] : []),
    ...parts.map(({ cache_control, ...part }) => part),
  ]
  const calls = tool_calls?.map(({ extra_content, ...call }) => call)
  return compact({ role: own, content: parts.length ? mixed : text, tool_calls: calls, tool_call_id })
}

/** A piece of an answer, or all of it; every member may be missing. Newer models speak OpenAI's wire. */
interface Piece {
  /** A token of digits alone comes as a number. */
  readonly response?: string | number | object | null
  readonly tool_calls?: readonly {
    readonly id?: string
    readonly name?: string
    readonly arguments?: unknown
    readonly function?: { readonly name?: string; readonly arguments?: string }
  }[]
  readonly usage?: ChatUsage
  readonly choices?: unknown
  readonly errors?: unknown
  readonly error?: unknown
}

class Events implements Translator<StreamEvent, Chunk> {
  readonly #out: Chunks
  readonly #id: string
  readonly #maxTokens: number | undefined
  readonly #openai: Translator<StreamEvent, Chunk>
  #isOpenai = false
  #isOver = false
  #hasAnswered = false
  #calls = 0
  #usage: ChatUsage | undefined

  constructor(base: Base) {
    this.#out = new Chunks(base)
    this.#id = base.id
    this.#maxTokens = base.maxTokens
    this.#openai = openai.events(base)
  }

  push(event: StreamEvent): Chunk[] {
    const piece = event.data as Piece // lenient: every member may be missing
    this.#isOpenai ||= piece.choices !== undefined
    if (this.#isOpenai || piece.error || piece.errors) return this.#openai.push(event)
    this.#usage = piece.usage ?? this.#usage
    this.#isOver ||= event.event === 'done'
    const { response } = piece
    this.#hasAnswered ||= response !== undefined || piece.tool_calls !== undefined
    // In JSON mode the whole is an object, not its text.
    const content =
      typeof response === 'object' && response ? JSON.stringify(response) : String(response ?? '')
    const calls = (piece.tool_calls ?? []).map(({ id = callId(this.#id, this.#calls++), ...call }) => {
      const { name = call.name ?? '', arguments: args = call.arguments ?? {} } = call.function ?? {}
      return this.#out.call({ id, name, args: typeof args === 'string' ? args : JSON.stringify(args) })[0]
    })
    return [...(content ? [this.#out.delta({ content })] : []), ...calls]
  }

  end(): Chunk[] {
    if (this.#isOpenai) return this.#openai.end()
    if (!this.#isOver || !this.#hasAnswered) throw brokenOff()
    return [
      this.#out.finish(this.#isCut ? 'length' : 'stop'),
      ...(this.#usage ? [this.#out.usage(this.#usage)] : []),
    ]
  }

  /** Why an answer ended is told by its length alone. */
  get #isCut(): boolean {
    const { completion_tokens: count = 0 } = this.#usage ?? {}
    return this.#maxTokens === undefined ? count === maxTokensDefault : count >= this.#maxTokens
  }
}
