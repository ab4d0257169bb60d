import { events as anthropicEvents, replay as replayMessage } from '../anthropic/answer.ts'
import type { Base, StreamEvent, Translator } from '../dialect.ts'
import { Failure, readFailure } from '../failure.ts'
import type { Chunk, Json } from '../hub.ts'
import { compact } from '../parts.ts'

/** A content block, or a delta of one; every member may be missing. */
interface Block {
  readonly text?: string
  readonly toolUse?: { readonly toolUseId?: string; readonly name?: string; readonly input?: unknown }
  readonly reasoningContent?: {
    readonly text?: string
    readonly signature?: string
    readonly reasoningText?: { readonly text?: string; readonly signature?: string }
    readonly redactedContent?: string
  }
  readonly citation?: Citation
  readonly citationsContent?: {
    readonly content?: readonly { readonly text?: string }[]
    readonly citations?: readonly Citation[]
  }
}
interface Citation {
  readonly title?: string
  readonly sourceContent?: readonly { readonly text?: string }[]
  readonly location?: { readonly web?: { readonly url?: string } }
}
interface Usage {
  readonly inputTokens?: number
  readonly outputTokens?: number
  readonly cacheReadInputTokens?: number
  readonly cacheWriteInputTokens?: number
}
interface Data {
  readonly contentBlockIndex?: number
  readonly start?: Block
  readonly delta?: Block
  readonly stopReason?: string
  readonly usage?: Usage
  readonly output?: { readonly message?: { readonly content?: readonly Block[] } }
}

/** Where AWS has other words than Anthropic for the same end. */
const reasons: Readonly<Record<string, string>> = {
  guardrail_intervened: 'refusal',
  content_filtered: 'refusal',
}

/** Converse tells its answer as Anthropic does, in other words; so it is read as one of Anthropic's. */
export function replay(body: unknown): readonly StreamEvent[] {
  const { output, stopReason, usage } = body as Data // lenient: every member may be missing
  const content = (output?.message?.content ?? []).map(toBlock)
  return [{ data: replayMessage({ content, stop_reason: toReason(stopReason), usage: toUsage(usage) }) }]
}

/** The events of one answer. */
export function events(base: Base): Translator<StreamEvent, Chunk> {
  const inner = anthropicEvents(base)
  const open = new Set<number>()
  const say = (...told: Json[]): Chunk[] => told.flatMap((data) => inner.push({ data }))

  const start = (index: number, content_block: Json): Json[] => {
    if (open.has(index)) return []
    open.add(index)
    return [{ type: 'content_block_start', index, content_block }]
  }

  return {
    push({ event, data }) {
      if (Array.isArray(data)) return (data as StreamEvent[]).flatMap((one) => inner.push(one)) // of `replay`
      const { contentBlockIndex: index = 0, ...told } = data as Data // lenient: every member may be missing
      switch (event) {
        case 'messageStart':
          return say({ type: 'message_start' })
        case 'contentBlockStart':
          return say(...start(index, toBlock(told.start ?? {})))
        case 'contentBlockDelta': {
          const delta = toDelta(told.delta ?? {})
          // Only calls have a start of their own.
          return say(...start(index, { type: delta.type, ...(delta.data ? { data: delta.data } : {}) }), {
            type: 'content_block_delta',
            index,
            delta,
          })
        }
        case 'contentBlockStop':
          return say({ type: 'content_block_stop', index })
        case 'messageStop':
          return say({ type: 'message_delta', delta: { stop_reason: toReason(told.stopReason) } })
        case 'metadata':
          return say({ type: 'message_delta', usage: toUsage(told.usage) }, { type: 'message_stop' })
        case 'error':
          throw readFailure({ error: data })
        default:
          return []
      }
    },
    end: () => inner.end(),
  }
}

function toReason(reason: string | undefined): string | undefined {
  if (reason === undefined) return undefined
  if (reason.startsWith('malformed')) throw new Failure(502, `The model failed: ${reason}`, reason)
  return reasons[reason] ?? reason
}

function toBlock({ text, toolUse, reasoningContent, citationsContent }: Block): Json {
  if (toolUse)
    return compact({ type: 'tool_use', id: toolUse.toolUseId, name: toolUse.name, input: toolUse.input })
  if (citationsContent) {
    const { content = [], citations = [] } = citationsContent
    const said = content.map((part) => part.text ?? '').join('')
    return { type: 'text', text: said, citations: citations.map(toCitation) }
  }
  const { reasoningText, redactedContent: data } = reasoningContent ?? {}
  if (data) return { type: 'redacted_thinking', data }
  if (reasoningText)
    return compact({ type: 'thinking', thinking: reasoningText.text, signature: reasoningText.signature })
  return compact({ type: 'text', text })
}

function toDelta({ text, toolUse, reasoningContent, citation }: Block): Json {
  if (toolUse) return { type: 'tool_use', partial_json: toolUse.input }
  if (citation) return { type: 'text', citation: toCitation(citation) }
  if (!reasoningContent) return compact({ type: 'text', text })
  const { text: thinking, signature, redactedContent: data } = reasoningContent
  return compact({ type: data ? 'redacted_thinking' : 'thinking', thinking, signature, data })
}

const toCitation = ({ title, sourceContent = [], location }: Citation): Json =>
  compact({
    title,
    url: location?.web?.url,
    cited_text: sourceContent.map(({ text }) => text ?? '').join(''),
  })

const toUsage = ({
  inputTokens,
  outputTokens,
  cacheReadInputTokens,
  cacheWriteInputTokens,
}: Usage = {}): Json =>
  compact({
    input_tokens: inputTokens,
    output_tokens: outputTokens,
    cache_read_input_tokens: cacheReadInputTokens,
    cache_creation_input_tokens: cacheWriteInputTokens,
  })
