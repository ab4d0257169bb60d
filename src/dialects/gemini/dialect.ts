import { parseJson } from '../../json.ts'
import type { Dialect, Embeddings, Native } from '../dialect.ts'
import { isInexact } from '../exact.ts'
import { Failure, malformed } from '../failure.ts'
import type { Chat, Effort, Json, Message, Part, WebSearch } from '../hub.ts'
import type { Notes } from '../notes.ts'
import {
  budgets,
  checkSingle,
  checkWords,
  compact,
  mergeTurns,
  partsOf,
  readArguments,
  readUrl,
  schemaOf,
  splitSystem,
  stopsOf,
  textOf,
  without,
} from '../parts.ts'

import { events } from './answer.ts'

/** Models whose thought is counted in tokens; later ones are told a level. */
const isBudgeted = /gemini-[12]/
/** What Google asks for where a call comes without the signature it had, or was made by another vendor's model. */
const unsigned = 'skip_thought_signature_validator'
const types: Readonly<Record<string, string>> = {
  pdf: 'application/pdf',
  jpg: 'image/jpeg',
  mp3: 'audio/mpeg',
  txt: 'text/plain',
  mp4: 'video/mp4',
}

/** Gemini's generateContent, on AI Studio and Vertex (API reference, "Generating content"; @google/genai). */
const gemini: Dialect = {
  name: 'gemini',
  request(chat, notes): Native {
    const verb = chat.stream ? 'streamGenerateContent?alt=sse' : 'generateContent'
    return { path: `${pathOf(chat.model)}:${verb}`, body: toRequest(chat, notes) }
  },
  replay: (body) => [{ data: body }],
  events,
}

const embeddings: Embeddings = {
  request({ model, input, dimensions, ...rest }, notes) {
    notes.rest(rest)
    const requests = input.map((text) =>
      compact({ model: `models/${model}`, content: { parts: [{ text }] }, outputDimensionality: dimensions }),
    )
    return { path: `models/${model}:batchEmbedContents`, body: { requests } }
  },
  response(body) {
    const { embeddings = [] } = body as { embeddings?: { values?: number[] }[] } // lenient
    return { vectors: embeddings.map(({ values = [] }) => values), tokens: 0 }
  },
}

/** Of Google AI Studio. */
export const aiStudio: Dialect = { ...gemini, embeddings }
/** Of Vertex AI, whose models are `{publisher}/{model}`. */
export const vertex: Dialect = gemini

function pathOf(model: string): string {
  const [publisher, name] = model.includes('/') ? model.split('/', 2) : [undefined, model]
  if (publisher === undefined) return `models/${name}`
  if (publisher === 'google') return `publishers/google/models/${name}`
  throw new Failure(400, `model: only models of google/ speak Gemini's wire`, 'unsupported_value', 'model')
}

/** What of a chat is read here. */
const known =
  'model messages tools tool_choice response_format stop stream stream_options max_tokens max_completion_tokens temperature top_p top_k seed n frequency_penalty presence_penalty logprobs top_logprobs reasoning_effort reasoning_budget web_search_options parallel_tool_calls modalities'

function toRequest(chat: Chat, notes: Notes): Json {
  const { model, messages, tools, tool_choice, web_search_options } = chat
  notes.rest(without(chat, known))
  checkWords(chat, notes, { images: true })
  checkSingle(chat, notes)
  const [first, turns] = splitSystem(messages)
  const later = turns.filter(isSystem)
  if (later.length) notes.refuse('messages.role', 'Gemini takes system messages before all others only')
  const system = [...first, ...later].flatMap(({ content }) => toParts(content, notes))
  const functions = tools?.map(({ function: { name, description, parameters } }) => {
    return compact({ name, description, parametersJsonSchema: parameters })
  })
  const named = [
    ...(functions?.length ? [{ functionDeclarations: functions }] : []),
    ...(web_search_options ? [toSearch(web_search_options, notes)] : []),
  ]
  const config = toConfig(chat, notes)
  return compact({
    contents: toContents(turns, model, notes),
    systemInstruction: system.length ? { parts: system } : undefined,
    tools: named.length ? named : undefined,
    toolConfig: toToolConfig(tool_choice),
    generationConfig: Object.keys(config).length ? config : undefined,
  })
}

function toConfig(chat: Chat, notes: Notes): Json {
  const { response_format: format, stop, max_tokens, max_completion_tokens, modalities } = chat
  return compact({
    temperature: chat.temperature,
    topP: chat.top_p,
    topK: chat.top_k,
    maxOutputTokens: max_completion_tokens ?? max_tokens,
    stopSequences: stopsOf(stop),
    seed: chat.seed,
    candidateCount: chat.n,
    frequencyPenalty: chat.frequency_penalty,
    presencePenalty: chat.presence_penalty,
    responseLogprobs: chat.logprobs || undefined,
    logprobs: chat.top_logprobs,
    responseMimeType: format && format.type !== 'text' ? 'application/json' : undefined,
    responseJsonSchema: schemaOf(format),
    responseModalities: toModalities(modalities, notes),
    thinkingConfig: toThinking(chat, notes),
  })
}

const isSystem = ({ role }: Message): boolean => role === 'system' || role === 'developer'

function toSearch({ search_context_size, ...rest }: WebSearch, notes: Notes): Json {
  notes.rest(rest, 'web_search_options.')
  if (search_context_size) notes.leave('web_search_options.search_context_size')
  return { googleSearch: {} }
}

function toModalities(modalities: Chat['modalities'], notes: Notes): string[] | undefined {
  const wanted = modalities?.filter((one) => /^(text|image)$/.test(one))
  if (wanted?.length !== modalities?.length) notes.refuse('modalities', 'only text and image are told here')
  return wanted?.includes('image') ? wanted.map((one) => one.toUpperCase()) : undefined
}

function toThinking(
  { model, reasoning_effort: effort, reasoning_budget: budget }: Chat,
  notes: Notes,
): Json | undefined {
  if (effort == null && budget == null) return undefined
  const includeThoughts = effort !== 'none' && budget !== 0
  if (budget != null) return { includeThoughts, thinkingBudget: budget }
  if (isBudgeted.test(model)) return { includeThoughts, thinkingBudget: budgets[effort ?? 'medium'] }
  if (effort === 'none') {
    notes.refuse('reasoning_effort', 'Gemini 3 cannot be kept from thinking; its least is minimal')
    return undefined
  }
  const levels: Partial<Record<Effort, string>> = { xhigh: 'HIGH', max: 'HIGH' }
  return { includeThoughts, thinkingLevel: levels[effort ?? 'medium'] ?? effort?.toUpperCase() }
}

function toToolConfig(choice: Chat['tool_choice']): Json | undefined {
  if (choice == null || choice === 'auto') return undefined
  if (choice === 'none') return { functionCallingConfig: { mode: 'NONE' } }
  const only = choice === 'required' ? {} : { allowedFunctionNames: [choice.function.name] }
  return { functionCallingConfig: { mode: 'ANY', ...only } }
}

function toContents(turns: readonly Message[], model: string, notes: Notes): Json[] {
  const names = new Map<string, string>()
  const contents = inOrder(turns).flatMap((message) => {
    if (isSystem(message)) return []
    for (const { id, function: called } of message.tool_calls ?? []) names.set(id, called.name)
    if (message.role === 'tool') {
      const name = names.get(message.tool_call_id ?? '')
      if (name === undefined)
        throw malformed('messages.tool_call_id', `no call has the id ${message.tool_call_id}`)
      return [{ role: 'user', parts: toResult(message, name, notes) }]
    }
    const parts = toParts(message.content, notes)
    if (message.role !== 'assistant') return [{ role: 'user', parts }]
    const said = [...parts, ...toParts(message.images, notes)]
    return [{ role: 'model', parts: [...sign(said, message), ...toCalls(message, model)] }]
  })
  return mergeTurns(contents, 'parts')
}

/** Results in the order of their calls: models that give no ids know them by their place. */
function inOrder(turns: readonly Message[]): readonly Message[] {
  const places = new Map<string, number>()
  const ordered: Message[] = []
  let results: Message[] = []
  const settle = (): void => {
    const placeOf = ({ tool_call_id = '' }: Message): number => places.get(tool_call_id) ?? 0
    ordered.push(...results.toSorted((one, other) => placeOf(one) - placeOf(other)))
    results = []
  }
  for (const turn of turns) {
    if (turn.role === 'tool') results.push(turn)
    else {
      settle()
      for (const [index, { id }] of (turn.tool_calls ?? []).entries()) places.set(id, index)
      ordered.push(turn)
    }
  }
  settle()
  return ordered
}

/** The signature that came with the thought of a message, if it was Google's. */
function signatureOf({ reasoning_details }: Message): string | undefined {
  const own = reasoning_details?.findLast(({ format }) => format === 'google-gemini-v1')
  return own?.signature ?? own?.data ?? undefined
}

/** Without a call, the signature belongs to the last part. */
function sign(parts: readonly Json[], message: Message): readonly Json[] {
  const thoughtSignature = signatureOf(message)
  if (thoughtSignature === undefined || message.tool_calls?.length) return parts
  return [...parts.slice(0, -1), { ...(parts.at(-1) ?? { text: '' }), thoughtSignature }]
}

function toCalls(message: Message, model: string): Json[] {
  return (message.tool_calls ?? []).map(
    ({ id, function: { name, arguments: args }, extra_content }, index) => {
      const first =
        index > 0 ? undefined : (signatureOf(message) ?? (isBudgeted.test(model) ? undefined : unsigned))
      const thoughtSignature = extra_content?.google?.thought_signature ?? first
      return compact({ functionCall: { id, name, args: readArguments(args) }, thoughtSignature })
    },
  )
}

function toResult({ tool_call_id: id, content, is_error }: Message, name: string, notes: Notes): Json[] {
  const text = textOf(content)
  // Google keeps all numbers as floating ones.
  const value = isInexact(text) ? text : (parseJson(text) ?? text)
  const files = partsOf(content).filter(({ type }) => type !== 'text')
  const response = is_error ? { error: value } : { output: value }
  return [{ functionResponse: { id, name, response } }, ...toParts(files, notes)]
}

function toParts(content: Message['content'], notes: Notes): Json[] {
  return partsOf(content).map((part) => toPart(part, notes))
}

function toPart(part: Part, notes: Notes): Json {
  switch (part.type) {
    case 'text':
      return { text: part.text }
    case 'refusal':
      return { text: part.refusal }
    case 'image_url':
      return toData(part.image_url.url)
    case 'input_audio':
      return { inlineData: { mimeType: `audio/${part.input_audio.format}`, data: part.input_audio.data } }
    case 'file':
      if (part.citations) notes.refuse('citations')
      return toData(part.file.file_id ?? part.file.file_data ?? '')
    default:
      return part satisfies never
  }
}

function toData(at: string): Json {
  const { data, mediaType, url } = readUrl(at)
  if (url === undefined) return { inlineData: { mimeType: mediaType, data } }
  const ending = /\.(\w+)(?:[?#]|$)/.exec(url)?.[1]?.toLowerCase() ?? ''
  const guess = /^(png|webp|heic|gif|jpeg)$/.test(ending) ? `image/${ending}` : undefined
  return { fileData: compact({ fileUri: url, mimeType: types[ending] ?? guess }) }
}
