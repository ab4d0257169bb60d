import { Chunks, toUsage } from '../chunks.ts'
import type { Base, StreamEvent, Translator } from '../dialect.ts'
import { brokenOff, readFailure } from '../failure.ts'
import type { Annotation, Chunk, FinishReason } from '../hub.ts'

/** An output item; every member may be missing. */
interface Item {
  readonly type?: string
  readonly id?: string
  readonly call_id?: string
  readonly name?: string
  readonly arguments?: string
  readonly content?: readonly Part[]
  readonly summary?: readonly { readonly text?: string }[]
  readonly encrypted_content?: string | null
}
interface Part {
  readonly type?: string
  readonly text?: string
  readonly refusal?: string
  readonly annotations?: readonly Source[]
  readonly logprobs?: readonly unknown[]
}
interface Source {
  readonly type?: string
  readonly url?: string
  readonly title?: string
  readonly filename?: string
  readonly start_index?: number
  readonly end_index?: number
}
interface Answer {
  readonly id?: string
  readonly model?: string
  readonly status?: string
  readonly output?: readonly Item[]
  readonly error?: { readonly code?: string; readonly message?: string } | null
  readonly incomplete_details?: { readonly reason?: string } | null
  readonly usage?: Usage | null
}
interface Usage {
  readonly input_tokens?: number
  readonly output_tokens?: number
  readonly input_tokens_details?: { readonly cached_tokens?: number }
  readonly output_tokens_details?: { readonly reasoning_tokens?: number }
}
interface Event {
  readonly type?: string
  readonly response?: Answer
  readonly item?: Item
  readonly output_index?: number
  readonly summary_index?: number
  readonly delta?: string
  readonly annotation?: Source
  readonly logprobs?: readonly unknown[]
}

const reasons: Readonly<Record<string, FinishReason>> = {
  content_filter: 'content_filter',
}

/** A whole response as the events that would have streamed it. */
export function replay(body: unknown): StreamEvent[] {
  const response = body as Answer // lenient: every member may be missing
  const list: Event[] = [
    { type: 'response.created', response },
    ...(response.output ?? []).flatMap((item, output_index) => [
      { type: 'response.output_item.added', item, output_index },
      ...piecesOf(item, output_index),
      { type: 'response.output_item.done', item, output_index },
    ]),
    { type: `response.${response.error ? 'failed' : response.status}`, response },
  ]
  return list.map((data) => ({ data }))
}

function piecesOf({ arguments: args, content, summary }: Item, output_index: number): Event[] {
  const pieces = (content ?? []).flatMap(({ type, text, refusal, annotations, logprobs }): Event[] => [
    type === 'refusal'
      ? { type: 'response.refusal.delta', delta: refusal ?? '' }
      : { type: 'response.output_text.delta', delta: text ?? '', logprobs: logprobs ?? [] },
    ...(annotations ?? []).map((annotation) => ({
      type: 'response.output_text.annotation.added',
      annotation,
    })),
  ])
  const thought = (summary ?? []).flatMap(({ text = '' }, summary_index): Event[] => [
    { type: 'response.reasoning_summary_part.added', summary_index },
    { type: 'response.reasoning_summary_text.delta', delta: text },
  ])
  const called = args ? [{ type: 'response.function_call_arguments.delta', delta: args, output_index }] : []
  return [...thought, ...pieces, ...called]
}

/** The events of one response. */
export const events = (base: Base): Translator<StreamEvent, Chunk> => new Events(base)

class Events implements Translator<StreamEvent, Chunk> {
  readonly #out: Chunks
  readonly #calls = new Map<number, number>()
  #isOver = false

  constructor(base: Base) {
    this.#out = new Chunks(base)
  }

  push({ data }: StreamEvent): Chunk[] {
    const out = this.#out
    const event = data as Event // lenient: every member may be missing
    const { delta = '', output_index = 0, item, response } = event
    switch (event.type) {
      case 'response.created':
        out.name({ id: response?.id, model: response?.model })
        return []
      case 'response.output_item.added':
        return item?.type === 'function_call' ? this.#call(item, output_index) : []
      case 'response.function_call_arguments.delta':
        return [out.args(this.#calls.get(output_index) ?? 0, delta)]
      case 'response.output_text.delta': {
        const logprobs = event.logprobs?.length ? { content: event.logprobs, refusal: null } : undefined
        return delta ? [out.delta({ content: delta }, 0, null, logprobs)] : []
      }
      case 'response.refusal.delta':
        return [out.delta({ refusal: delta })]
      case 'response.reasoning_summary_part.added':
        return event.summary_index ? [out.delta({ reasoning_content: '\n\n' })] : []
      case 'response.reasoning_summary_text.delta':
      case 'response.reasoning_text.delta':
        return delta ? [out.delta({ reasoning_content: delta })] : []
      case 'response.output_text.annotation.added':
        return [out.delta({ annotations: [toAnnotation(event.annotation ?? {})] })]
      case 'response.output_item.done':
        return item?.type === 'reasoning' ? this.#keep(item) : []
      case 'response.completed':
      case 'response.incomplete':
        return this.#finish(response ?? {}, event.type === 'response.completed')
      case 'response.failed':
        throw readFailure({ error: response?.error ?? {} })
      case 'error':
        throw readFailure({ error: event })
      default:
        return []
    }
  }

  end(): Chunk[] {
    if (!this.#isOver) throw brokenOff()
    return []
  }

  #call({ call_id = '', name = '' }: Item, output_index: number): Chunk[] {
    const [chunk, index] = this.#out.call({ id: call_id, name })
    this.#calls.set(output_index, index)
    return [chunk]
  }

  #keep({ id, encrypted_content: data }: Item): Chunk[] {
    if (!data) return []
    const detail = {
      type: 'reasoning.encrypted',
      data,
      ...(id && { id }),
      format: 'openai-responses-v1',
    } as const
    return [this.#out.delta({ reasoning_details: [detail] })]
  }

  /** Whatever an answer is incomplete for, it is. */
  #finish({ incomplete_details, usage }: Answer, isComplete: boolean): Chunk[] {
    this.#isOver = true
    const { input_tokens, output_tokens, input_tokens_details, output_tokens_details } = usage ?? {}
    const parts = {
      cached: input_tokens_details?.cached_tokens,
      reasoning: output_tokens_details?.reasoning_tokens,
    }
    const reason = isComplete ? 'stop' : (reasons[incomplete_details?.reason ?? ''] ?? 'length')
    return [this.#out.finish(reason), this.#out.usage(toUsage(input_tokens, output_tokens, parts))]
  }
}

function toAnnotation({ url, title, filename = '', start_index = 0, end_index = 0 }: Source): Annotation {
  if (url === undefined)
    return {
      type: 'file_citation',
      file_citation: { title: filename, cited_text: '', start_index, end_index },
    }
  return { type: 'url_citation', url_citation: { url, title: title ?? '', start_index, end_index } }
}
