import { callId } from '../chunks.ts'
import type { Base, StreamEvent, Translator } from '../dialect.ts'
import { brokenOff, Failure, readFailure } from '../failure.ts'
import type { ChatUsage, Chunk, Delta, FinishReason, ToolCallDelta } from '../hub.ts'

/** What is said, in the words of OpenAI and of its followers. */
type Said = Omit<Delta, 'content' | 'tool_calls' | 'role'> & {
  /** Mistral's is a list where it has thought. */
  readonly content?: string | null | readonly Piece[]
  /** Groq's and OpenRouter's word. */
  readonly reasoning?: string | null
  readonly tool_calls?: readonly (Omit<ToolCallDelta, 'index'> & { readonly index?: number })[] | null
}
interface Piece {
  readonly type?: string
  readonly text?: string
  readonly thinking?: readonly Piece[]
}
interface Choice {
  readonly index?: number
  readonly delta?: Said
  readonly message?: Said
  readonly logprobs?: unknown
  readonly finish_reason?: string | null
}
/** A chunk, or a whole answer; every member may be missing. */
interface Answer {
  readonly id?: string
  readonly created?: number
  readonly model?: string
  readonly choices?: readonly Choice[]
  readonly usage?: (ChatUsage & { readonly prompt_cache_hit_tokens?: number }) | null
  readonly error?: unknown
  readonly errors?: unknown
}

/** OpenAI's words, and those of its older functions, Mistral, vLLM, TGI, Together and Cohere's and Google's own. */
const reasons: Readonly<Record<string, FinishReason>> = {
  stop: 'stop',
  eos: 'stop',
  eos_token: 'stop',
  stop_sequence: 'stop',
  end_turn: 'stop',
  complete: 'stop',
  length: 'length',
  model_length: 'length',
  max_tokens: 'length',
  tool_calls: 'tool_calls',
  tool_use: 'tool_calls',
  function_call: 'tool_calls',
  content_filter: 'content_filter',
  safety: 'content_filter',
}
/** After which there is no answer; DeepSeek's and vLLM's among them. */
const isFault = /^(error|abort|insufficient_system_resource)$/

/** The events of one answer, or a whole one as a single event. */
export const events = (base: Base): Translator<StreamEvent, Chunk> => new Events(base)

class Events implements Translator<StreamEvent, Chunk> {
  readonly #base: Base
  readonly #begun = new Map<number, Calls>()
  constructor(base: Base) {
    this.#base = base
  }

  push({ data }: StreamEvent): Chunk[] {
    const answer = data as Answer // lenient: every member may be missing
    if (answer.error || answer.errors) throw readFailure(answer)
    const choices = (answer.choices ?? []).map((choice) => this.#choice(choice))
    const { id = this.#base.id, created = this.#base.created, model = this.#base.model, usage } = answer
    if (choices.length === 0 && !usage) return []
    const head = { id, object: 'chat.completion.chunk', created, model, choices } as const
    return [{ ...head, ...(usage && { usage: toUsage(usage) }) }]
  }

  end(): Chunk[] {
    const choices = [...this.#begun.values()]
    if (choices.length === 0 || choices.some(({ isOver }) => !isOver)) throw brokenOff()
    return []
  }

  #choice({ index = 0, delta, message, finish_reason, logprobs }: Choice): Chunk['choices'][number] {
    const found = this.#begun.get(index)
    const calls = found ?? new Calls(`${this.#base.id}${index || ''}`)
    if (!found) this.#begun.set(index, calls)
    const { tool_calls, content, reasoning, ...said } = delta ?? toSaid(message)
    const { reasoning_content = reasoning, ...rest } = said
    const read = readContent(content)
    const thought = reasoning_content || read.reasoning_content
    return {
      index,
      delta: {
        ...(!found && { role: 'assistant' }),
        ...rest,
        ...(read.content !== undefined && { content: read.content }),
        ...(thought && { reasoning_content: thought }),
        ...(tool_calls?.length && { tool_calls: tool_calls.map((call) => calls.place(call)) }),
      },
      ...(logprobs != null && { logprobs }),
      finish_reason: finish_reason ? this.#finish(finish_reason, calls) : null,
    }
  }

  /** Whoever is made to call a function ends with `stop` all the same; an end that nobody knows may be none. */
  #finish(named: string, calls: Calls): FinishReason {
    if (isFault.test(named)) throw new Failure(502, `The model failed: ${named}`, named)
    calls.isOver = true
    const reason = reasons[named.toLowerCase()] ?? 'length'
    return reason === 'stop' && calls.count > 0 ? 'tool_calls' : reason
  }
}

/** The calls of one choice. Some vendors give all of them the same place, or none; but each has an id of its own. */
class Calls {
  count = 0
  /** The choice has ended. */
  isOver = false
  /** By the place that the vendor gives: id and number of the last one there. */
  readonly #open = new Map<number, { readonly id: string; readonly number: number }>()
  /** What the calls of who gives them no ids are called after. */
  readonly #answer: string

  constructor(answer: string) {
    this.#answer = answer
  }

  place({ index = -1, id, ...call }: NonNullable<Said['tool_calls']>[number]): ToolCallDelta {
    const open = this.#open.get(index)
    const isNew = !open || (id !== undefined && id !== '' && id !== open.id)
    if (!isNew) return { index: open.number, ...call }
    const number = this.count
    this.count += 1
    this.#open.set(index, { id: id ?? '', number })
    return { index: number, id: id || callId(this.#answer, number), ...call }
  }
}

/** A whole message as one delta. */
const toSaid = ({ role: _, tool_calls, ...message }: Said & { role?: unknown } = {}): Said => ({
  ...message,
  ...(tool_calls && { tool_calls: tool_calls.map((call, index) => ({ index, ...call })) }),
})

function readContent(content: Said['content']): Pick<Delta, 'content' | 'reasoning_content'> {
  if (!Array.isArray(content)) return content === undefined ? {} : { content: content as string | null } // no list
  const pieces = content as readonly Piece[] // just made sure
  const thought = pieces.flatMap(({ thinking }) => thinking ?? []).map(({ text = '' }) => text)
  const texts = pieces.map(({ text = '' }) => text)
  return { content: texts.join(''), ...(thought.length > 0 && { reasoning_content: thought.join('') }) }
}

/** DeepSeek tells what it had cached in a word of its own. */
function toUsage({
  prompt_cache_hit_tokens: cached_tokens,
  ...usage
}: NonNullable<Answer['usage']>): ChatUsage {
  if (cached_tokens === undefined || usage.prompt_tokens_details) return usage
  return { ...usage, prompt_tokens_details: { cached_tokens } }
}
