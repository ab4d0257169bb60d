import { Chunks, Room, toUsage } from '../chunks.ts'
import type { Base, StreamEvent, Translator } from '../dialect.ts'
import { brokenOff, readFailure } from '../failure.ts'
import type { Annotation, Chunk, FinishReason, Reasoning } from '../hub.ts'
import { compact } from '../parts.ts'

/** A content block, or a delta of one; every member may be missing. */
interface Block {
  readonly type?: string
  readonly id?: string
  readonly name?: string
  readonly text?: string
  readonly input?: object
  readonly partial_json?: string
  readonly thinking?: string
  readonly signature?: string
  readonly data?: string
  readonly citation?: Citation
  readonly citations?: readonly Citation[] | null
}
interface Citation {
  readonly url?: string
  readonly title?: string | null
  readonly document_title?: string | null
  readonly cited_text?: string
}
interface Usage {
  readonly input_tokens?: number | null
  readonly output_tokens?: number | null
  readonly cache_read_input_tokens?: number | null
  readonly cache_creation_input_tokens?: number | null
  readonly output_tokens_details?: { readonly thinking_tokens?: number } | null
}
interface Stop {
  readonly stop_reason?: string | null
  readonly stop_details?: { readonly explanation?: string | null } | null
}
interface Message extends Stop {
  readonly type?: string
  readonly id?: string
  readonly model?: string
  readonly content?: readonly Block[]
  readonly usage?: Usage
}
interface Event {
  readonly type?: string
  readonly index?: number
  readonly message?: Message
  readonly content_block?: Block
  readonly delta?: Block & Stop
  readonly usage?: Usage
}

const format = 'anthropic-claude-v1'
/** Anthropic pauses a turn to be asked to go on with it. */
const reasons: Readonly<Record<string, FinishReason>> = {
  end_turn: 'stop',
  stop_sequence: 'stop',
  pause_turn: 'length',
  max_tokens: 'length',
  model_context_window_exceeded: 'length',
  tool_use: 'tool_calls',
  refusal: 'content_filter',
}

/** A whole message as the events that would have streamed it. */
export function replay(body: unknown): StreamEvent[] {
  const message = body as Message // lenient: every member may be missing
  if (message.type === 'error') throw readFailure(body)
  const blocks = (message.content ?? []).flatMap((content_block, index): Event[] => [
    { type: 'content_block_start', index, content_block },
    { type: 'content_block_stop', index },
  ])
  const list: Event[] = [
    { type: 'message_start', message },
    ...blocks,
    { type: 'message_delta', delta: message },
    { type: 'message_stop' },
  ]
  return list.map((data) => ({ data }))
}

/** The block under way. */
interface Open {
  /** Number of the call that it is; -1 for what is none. */
  call: number
  /** Arguments of a call have come. */
  hasArgs: boolean
  /** Of the text before the block. */
  readonly start: number
  readonly thinking: string[]
  signature: string
  readonly citations: Citation[]
}

/** The events of one message. */
export const events = (base: Base): Translator<StreamEvent, Chunk> => new Answer(base)

class Answer implements Translator<StreamEvent, Chunk> {
  readonly #out: Chunks
  readonly #room = new Room()
  #usage: Usage = {}
  #open: Open | undefined
  #chars = 0
  #hasReason = false
  #isOver = false

  constructor(base: Base) {
    this.#out = new Chunks(base)
  }

  push({ data }: StreamEvent): Chunk[] {
    const event = data as Event // lenient: every member may be missing
    switch (event.type) {
      case 'message_start':
        this.#out.name(event.message ?? {})
        this.#usage = event.message?.usage ?? {}
        return []
      case 'content_block_start':
        return this.#start(event.content_block ?? {})
      case 'content_block_delta':
        return this.#open ? this.#add(event.delta ?? {}, this.#open) : []
      case 'content_block_stop':
        return this.#open ? this.#stop(this.#open) : []
      case 'message_delta':
        this.#usage = { ...this.#usage, ...compact(event.usage ?? {}) }
        return this.#finish(event.delta ?? {})
      case 'message_stop':
        this.#isOver = true
        return [this.#out.usage(fromUsage(this.#usage))]
      case 'error':
        throw readFailure(event)
      default:
        return []
    }
  }

  end(): Chunk[] {
    if (!this.#isOver || !this.#hasReason) throw brokenOff()
    return []
  }

  #start(block: Block): Chunk[] {
    const { type, id = '', name = '', input, data } = block
    const open: Open = {
      call: -1,
      hasArgs: false,
      start: this.#chars,
      thinking: [],
      signature: '',
      citations: [],
    }
    this.#open = open
    const chunks: Chunk[] = []
    if (type === 'tool_use') {
      const [chunk, call] = this.#out.call({ id, name })
      open.call = call
      chunks.push(chunk)
    }
    if (type === 'redacted_thinking' && data)
      chunks.push(this.#out.delta({ reasoning_details: [{ type: 'reasoning.encrypted', data, format }] }))
    const partial_json = input && Object.keys(input).length > 0 ? JSON.stringify(input) : ''
    return [...chunks, ...this.#add({ ...block, partial_json }, open)]
  }

  #add({ text, partial_json, thinking, signature, citation, citations }: Block, open: Open): Chunk[] {
    if (signature) {
      this.#room.take(signature.length)
      open.signature += signature
    }
    for (const one of citation ? [citation] : (citations ?? [])) {
      this.#room.take(JSON.stringify(one).length)
      open.citations.push(one)
    }
    if (partial_json && open.call >= 0) {
      open.hasArgs = true
      return [this.#out.args(open.call, partial_json)]
    }
    if (thinking) {
      this.#room.take(thinking.length)
      open.thinking.push(thinking)
      return [this.#out.delta({ reasoning_content: thinking })]
    }
    if (!text) return []
    this.#chars += text.length
    return [this.#out.delta({ content: text })]
  }

  #stop(open: Open): Chunk[] {
    if (open.call >= 0 && !open.hasArgs) return [this.#out.args(open.call, '{}')]
    if (open.signature) return [this.#out.delta({ reasoning_details: [toReasoning(open)] })]
    const annotations = open.citations.map((citation) => toAnnotation(citation, open.start, this.#chars))
    return annotations.length ? [this.#out.delta({ annotations })] : []
  }

  #finish({ stop_reason, stop_details }: Stop): Chunk[] {
    const refusal = stop_details?.explanation
    const said = refusal ? [this.#out.delta({ refusal })] : []
    if (!stop_reason) return said
    this.#hasReason = true
    return [...said, this.#out.finish(reasons[stop_reason] ?? 'length')] // an end that nobody knows may be none
  }
}

const toReasoning = ({ thinking, signature }: Open): Reasoning => ({
  type: 'reasoning.text',
  text: thinking.join(''),
  signature,
  format,
})

function toAnnotation(citation: Citation, start_index: number, end_index: number): Annotation {
  const { url, title, document_title, cited_text = '' } = citation
  const at = { title: title ?? document_title ?? '', start_index, end_index }
  return url
    ? { type: 'url_citation', url_citation: { url, ...at } }
    : { type: 'file_citation', file_citation: { ...at, cited_text } }
}

function fromUsage(usage: Usage): Chunk['usage'] & object {
  const { cache_read_input_tokens: cached, cache_creation_input_tokens: written } = usage
  const input = (usage.input_tokens ?? 0) + (cached ?? 0) + (written ?? 0)
  return toUsage(input, usage.output_tokens ?? 0, {
    cached: cached ?? undefined,
    written: written ?? undefined,
    reasoning: usage.output_tokens_details?.thinking_tokens ?? undefined,
  })
}
