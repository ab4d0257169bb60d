import { toThought } from '../anthropic/dialect.ts'
import type { Dialect, Native } from '../dialect.ts'
import { malformed } from '../failure.ts'
import type { Chat, Json, Message, Part, Tool } from '../hub.ts'
import type { Notes } from '../notes.ts'
import {
  checkSingle,
  checkWords,
  compact,
  fitId,
  mergeTurns,
  partsOf,
  readArguments,
  readUrl,
  splitSystem,
  stopsOf,
} from '../parts.ts'
import { events, replay } from './answer.ts'

/** Ids of calls have no more letters (API reference, "ToolUseBlock"). */
const idMax = 64

/** Amazon Bedrock's Converse and ConverseStream (API reference; @aws-sdk/client-bedrock-runtime). */
export const bedrock: Dialect = {
  name: 'bedrock',
  framing: 'aws',
  request(chat, notes): Native {
    const verb = chat.stream ? 'converse-stream' : 'converse'
    return { path: `model/${encodeURIComponent(chat.model)}/${verb}`, body: toRequest(chat, notes) }
  },
  replay,
  events,
}

function toRequest(chat: Chat, notes: Notes): Json {
  const { model, messages, tools, tool_choice, response_format, stop, temperature, top_p, ...more } = chat
  const { max_tokens, max_completion_tokens, reasoning_effort, reasoning_budget, top_k, stream, ...others } =
    more
  const { stream_options, parallel_tool_calls, ...rest } = others
  notes.rest(rest)
  checkWords(chat, notes, { caching: true, strict: true })
  checkSingle(chat, notes)
  const [first, turns] = splitSystem(messages)
  const later = turns.filter(isSystem)
  if (later.length) notes.refuse('messages.role', 'Converse takes system messages before all others only')
  const { fields, effort, maxTokens } = toFields(chat, notes)
  const inference = compact({
    maxTokens: maxTokens ?? max_completion_tokens ?? max_tokens,
    temperature,
    topP: top_p,
    stopSequences: stopsOf(stop),
  })
  const output = compact({ textFormat: toFormat(response_format, notes), effort })
  const system = [...first, ...later].flatMap(({ content }) => toBlocks(content, notes))
  const isEmpty = (value: object): boolean => Object.keys(value).length === 0
  return compact({
    messages: mergeTurns(
      turns.filter((message) => !isSystem(message)).map((message) => toTurn(message, notes)),
      'content',
    ),
    system: system.length ? system : undefined,
    inferenceConfig: isEmpty(inference) ? undefined : inference,
    toolConfig: tools?.length ? toToolConfig(tools, tool_choice, notes) : undefined,
    outputConfig: isEmpty(output) ? undefined : output,
    additionalModelRequestFields: isEmpty(fields) ? undefined : fields,
  })
}

const isSystem = ({ role }: Message): boolean => role === 'system' || role === 'developer'

interface Fields {
  readonly fields: Json
  readonly effort?: string | undefined
  readonly maxTokens?: number | undefined
}

/** Nova knows low, medium and high. */
const novaEfforts: Readonly<Record<string, string>> = { minimal: 'low', xhigh: 'high', max: 'high' }

/** What Converse has no word for goes to the model in its own. */
function toFields(chat: Chat, notes: Notes): Fields {
  const { model, reasoning_effort: effort, reasoning_budget, top_k } = chat
  if (model.includes('claude')) {
    const { thinking, effort: own, max_tokens: maxTokens } = toThought(chat, notes)
    return { fields: compact({ thinking, top_k }), effort: own, maxTokens }
  }
  const wanted = effort ?? (reasoning_budget ? 'medium' : undefined)
  if (model.includes('nova')) {
    const maxReasoningEffort = novaEfforts[wanted ?? 'none'] ?? wanted
    const reasoningConfig = { type: 'enabled', maxReasoningEffort }
    const on = wanted && wanted !== 'none' ? { reasoningConfig } : {}
    return { fields: compact({ ...on, inferenceConfig: top_k ? { topK: top_k } : undefined }) }
  }
  if (top_k) notes.refuse('top_k')
  return { fields: compact({ reasoning_effort: wanted }) }
}

function toFormat(format: Chat['response_format'], notes: Notes): Json | undefined {
  if (format?.type === 'json_object') notes.refuse('response_format', 'Converse takes a JSON schema only')
  if (format?.type !== 'json_schema') return undefined
  const { name, description, schema } = format.json_schema
  const jsonSchema = compact({ name, description, schema: JSON.stringify(schema ?? {}) })
  return { type: 'json_schema', structure: { jsonSchema } }
}

function toToolConfig(tools: readonly Tool[], choice: Chat['tool_choice'], notes: Notes): Json {
  if (choice === 'none') notes.refuse('tool_choice', 'Converse cannot forbid the tools that it is told of')
  const specs = tools.flatMap(({ function: { name, description, parameters, strict }, cache_control }) => {
    const json = parameters ?? { type: 'object', properties: {} }
    const spec = compact({ name, description, inputSchema: { json }, strict: strict || undefined })
    return [{ toolSpec: spec }, ...toCachePoint(cache_control)]
  })
  return compact({ tools: specs, toolChoice: toToolChoice(choice) })
}

function toToolChoice(choice: Chat['tool_choice']): Json | undefined {
  if (choice === 'required') return { any: {} }
  return typeof choice === 'object' && choice ? { tool: { name: choice.function.name } } : undefined
}

interface Turn {
  readonly role: string
  readonly content: readonly Json[]
  readonly [name: string]: unknown
}

function toTurn(message: Message, notes: Notes): Turn {
  const { role, content, tool_calls, tool_call_id = '', is_error } = message
  const blocks = toBlocks(content, notes)
  if (role === 'tool') {
    const isPoint = (block: Json): boolean => 'cachePoint' in block
    const toolUseId = fitId(tool_call_id, idMax)
    const said = blocks.filter((block) => !isPoint(block))
    const result = compact({ toolUseId, content: said, status: is_error ? 'error' : undefined })
    // Points in the cache stand beside a result.
    return { role: 'user', content: [{ toolResult: result }, ...blocks.filter(isPoint)] }
  }
  if (role !== 'assistant') return { role: 'user', content: blocks }
  const calls = (tool_calls ?? []).map(({ id, function: { name, arguments: args } }) => ({
    toolUse: { toolUseId: fitId(id, idMax), name, input: readArguments(args) },
  }))
  return { role, content: [...toReasoning(message, notes), ...blocks, ...calls] }
}

/** Thought goes back only as it was signed. */
function toReasoning({ reasoning_details, reasoning_content }: Message, notes: Notes): Json[] {
  const blocks = (reasoning_details ?? []).flatMap(({ text, signature, data, format }): Json[] => {
    if (format && format !== 'anthropic-claude-v1') return []
    if (data) return [{ reasoningContent: { redactedContent: data } }]
    return signature ? [{ reasoningContent: { reasoningText: { text: text ?? '', signature } } }] : []
  })
  if (blocks.length === 0 && (reasoning_content || reasoning_details?.length))
    notes.leave('reasoning_content')
  return blocks
}

function toBlocks(content: Message['content'], notes: Notes): Json[] {
  return partsOf(content).flatMap((part) => [...toBlock(part, notes), ...toCachePoint(part.cache_control)])
}

function toCachePoint(asked: unknown): Json[] {
  if (!asked) return []
  const { ttl } = asked as { ttl?: string } // Anthropic's word, and AWS's
  return [{ cachePoint: compact({ type: 'default', ttl }) }]
}

function toBlock(part: Part, notes: Notes): Json[] {
  switch (part.type) {
    case 'text':
      return [{ text: part.text }]
    case 'refusal':
      return [{ text: part.refusal }]
    case 'image_url': {
      const { format, source } = toSource(part.image_url.url, 'image_url', notes) ?? {}
      return source ? [{ image: { format, source } }] : []
    }
    case 'input_audio': {
      const { format, data } = part.input_audio
      return [{ audio: { format, source: { bytes: data } } }]
    }
    case 'file':
      return toDocument(part, notes)
    default:
      return part satisfies never
  }
}

const formats: Readonly<Record<string, string>> = {
  plain: 'txt',
  jpg: 'jpeg',
  markdown: 'md',
  msword: 'doc',
  'vnd.openxmlformats-officedocument.wordprocessingml.document': 'docx',
  'vnd.ms-excel': 'xls',
  'vnd.openxmlformats-officedocument.spreadsheetml.sheet': 'xlsx',
}

/** Bytes are base64 on this wire; AWS fetches from its own storage only. */
function toSource(at: string, field: string, notes: Notes): { format: string; source: Json } | undefined {
  const { data, mediaType, url } = readUrl(at)
  const ending = /\.(\w+)$/.exec(url ?? '')?.[1]
  if (url?.startsWith('s3://')) return { format: ending ?? '', source: { s3Location: { uri: url } } }
  if (url !== undefined) {
    notes.refuse(field, 'Converse takes base64, or an address in S3')
    return undefined
  }
  const subtype = mediaType.split('/')[1] ?? ''
  return { format: formats[subtype] ?? subtype, source: { bytes: data } }
}

function toDocument(
  { file: { file_data, filename = 'document' }, citations }: Part & { type: 'file' },
  notes: Notes,
): Json[] {
  if (file_data === undefined) throw malformed('file.file_id', 'Converse knows no files by their id')
  const { format, source } = toSource(file_data, 'file.file_data', notes) ?? {}
  // Names may hold nothing else, and one space at a time (API reference, "DocumentBlock").
  const name = filename.replace(/\.\w+$/, '').replace(/[^a-zA-Z0-9\-()[\]]+/g, ' ')
  return source ? [{ document: compact({ format, name, source, citations }) }] : []
}
