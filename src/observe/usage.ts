import type { Usage } from '../types.ts'

/** Any JSON object. */
export type Json = Readonly<Record<string, unknown>>
/** What is known of a usage. */
export type Counts = { -readonly [K in Exclude<keyof Usage, 'basis'>]?: number }

/** What a provider has told. */
export interface Told {
  readonly counts: Counts
  /** What the provider itself says that it costs, in US dollars. */
  readonly dollars?: number
}

/** A JSON object, which a list is not. */
export const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const inside = (value: unknown, ...path: readonly string[]): unknown =>
  path.reduce<unknown>((at, name) => (isObject(at) ? at[name] : undefined), value)

/**
 * Where counts stand in an answer or an event of one: OpenAI's and those like it, Anthropic's `message_start`,
 * OpenAI's and Cohere's last events, Workers AI's envelope, Groq's, Converse's stream, Google's, Cohere's first
 * version and its stream, Bedrock's InvokeModel, Replicate's predictions.
 */
const places: readonly (readonly string[])[] = [
  ['usage'],
  ['message', 'usage'],
  ['response', 'usage'],
  ['result', 'usage'],
  ['x_groq', 'usage'],
  ['delta', 'usage'],
  ['usageMetadata'],
  ['response', 'usageMetadata'],
  ['meta'],
  ['response', 'meta'],
  ['amazon-bedrock-invocationMetrics'],
  ['metrics'],
]
/** Members that make an object one that counts. */
const counting = [
  ['prompt_tokens', fromChat],
  ['input_tokens', fromMessages],
  ['output_tokens', fromMessages],
  ['inputTokens', fromConverse],
  ['outputTokens', fromConverse],
  ['promptTokenCount', fromGoogle],
  ['candidatesTokenCount', fromGoogle],
  ['totalTokenCount', fromGoogle],
  ['billed_units', fromCohere],
  ['tokens', fromCohere],
  ['inputTokenCount', fromInvocation],
  ['outputTokenCount', fromInvocation],
  ['input_token_count', fromReplicate],
  ['seconds', (usage) => ({ audioSeconds: usage.seconds })],
] as const satisfies readonly (readonly [string, Reading])[]
/** Those that stand in the answer itself: of Bedrock's Llama and Titan, and of Ollama. */
const bare = [
  ['prompt_token_count', fromLlama],
  ['generation_token_count', fromLlama],
  ['inputTextTokenCount', fromTitan],
  ['eval_count', fromOllama],
  ['prompt_eval_count', fromOllama],
] as const satisfies readonly (readonly [string, Reading])[]

/** What any counting object holds; a cheap test of a text for one, which a `null` does not pass. */
export const countingPattern: RegExp =
  /"(?:usage|usageMetadata|meta|metrics|amazon-bedrock-invocationMetrics)"\s*:\s*\{|"(?:prompt_eval_count|eval_count|prompt_token_count|generation_token_count|inputTextTokenCount)"\s*:\s*\d/

/** The object that counts, in an answer, a list of answers, or an event of a stream; undefined where there is none. */
export function findUsage(value: unknown): Json | undefined {
  return Array.isArray(value) ? mergeAll(value.map(findIn)) : findIn(value)
}

function findIn(value: unknown): Json | undefined {
  const found = places.map((path) => inside(value, ...path)).filter((at) => holds(at, counting))
  return mergeAll(holds(value, bare) ? [...found, value] : found)
}

function holds(value: unknown, members: readonly (readonly [string, Reading])[]): value is Json {
  return isObject(value) && members.some(([member]) => isPresent(value[member]))
}

const isPresent = (value: unknown): boolean => value !== undefined && value !== null

const mergeAll = (found: readonly (Json | undefined)[]): Json | undefined =>
  found.reduce((all, next) => (all && next ? mergeUsage(all, next) : (next ?? all)), undefined)

/** Counts stand no deeper than this in what tells of them. */
const countsDepth = 4

/**
 * What two events of one stream tell together. Counts only grow, and providers repeat them in part, or with nulls
 * and zeros: the larger one is true.
 */
export function mergeUsage(one: Json, other: Json, depth: number = countsDepth): Json {
  const merged: Record<string, unknown> = { ...one }
  for (const [name, value] of Object.entries(other)) {
    const known = merged[name]
    if (value === null || value === undefined) continue
    if (isObject(known) && isObject(value))
      merged[name] = depth > 0 ? mergeUsage(known, value, depth - 1) : value
    else if (!(isCount(known) && isCount(value) && known > value)) merged[name] = value
  }
  return merged
}

type Read = { readonly [K in keyof Counts]: unknown }
type Reading = (usage: Json) => Read

/** The counts of what `findUsage` has found, in one vocabulary. */
export function readTold(usage: Json): Told {
  const read = [...counting, ...bare].find(([member]) => isPresent(usage[member]))?.[1]
  const dollars = dollarsOf(usage)
  return { counts: read ? pick(read(usage)) : {}, ...(dollars !== undefined && { dollars }) }
}

/** xAI counts ten thousand million ticks to the dollar. */
const ticksPerDollar = 1e10

/** OpenRouter's `cost`, which leaves out what a key of the client's own was charged; Perplexity's; xAI's ticks. */
function dollarsOf({ cost, cost_details, is_byok, cost_in_usd_ticks: ticks }: Json): number | undefined {
  const total = inside(cost, 'total_cost') ?? cost
  const upstream = is_byok === true ? inside(cost_details, 'upstream_inference_cost') : 0
  if (isCount(total)) return total + (isCount(upstream) ? upstream : 0)
  return isCount(ticks) ? ticks / ticksPerDollar : undefined
}

/**
 * OpenAI's chat and embeddings, and all that are like it. The total tells what stands beside both counts: reasoning,
 * of xAI and of Google's imitation.
 */
function fromChat(usage: Json): Read {
  const { prompt_tokens: prompt, completion_tokens, total_tokens: total } = usage
  const [input, output] = [usage.prompt_tokens_details, usage.completion_tokens_details]
  const completion = add(completion_tokens)
  // Perplexity's deep research thinks beside its completion, and beside the total.
  const apart = usage.num_search_queries === undefined ? 0 : add(usage.reasoning_tokens)
  const beside = isCount(total) && isCount(prompt) ? Math.max(total - prompt - completion, 0) : 0
  return {
    inputTokens: prompt,
    outputTokens: completion + beside + apart,
    cachedTokens:
      inside(input, 'cached_tokens') ??
      usage.prompt_cache_hit_tokens ?? // DeepSeek
      usage.num_cached_tokens ?? // Mistral
      usage.cached_tokens, // Moonshot
    cacheWriteTokens: inside(input, 'cache_write_tokens'),
    reasoningTokens: inside(output, 'reasoning_tokens') ?? usage.reasoning_tokens ?? some(beside),
    audioInputTokens: inside(input, 'audio_tokens'),
    imageInputTokens: inside(input, 'image_tokens'),
    audioOutputTokens: inside(output, 'audio_tokens'),
    imageOutputTokens: inside(output, 'image_tokens'),
    searches: usage.num_search_queries,
  }
}

/**
 * OpenAI's responses, images and transcriptions, whose input holds what was cached, and Anthropic's messages, whose
 * input does not.
 */
function fromMessages(usage: Json): Read {
  const read = usage.cache_read_input_tokens
  const written = usage.cache_creation_input_tokens
  const input = usage.input_tokens_details ?? usage.input_token_details
  const output = usage.output_tokens_details ?? usage.output_token_details
  const cached = inside(input, 'cached_tokens_details')
  return {
    inputTokens: 'input_tokens' in usage ? add(usage.input_tokens, read, written) : undefined,
    outputTokens: usage.output_tokens,
    cachedTokens: inside(input, 'cached_tokens') ?? read,
    cacheWriteTokens: inside(input, 'cache_write_tokens') ?? written,
    cacheWriteHourTokens: inside(usage, 'cache_creation', 'ephemeral_1h_input_tokens'),
    reasoningTokens: inside(output, 'reasoning_tokens') ?? inside(output, 'thinking_tokens'),
    audioInputTokens: inside(input, 'audio_tokens'),
    imageInputTokens: inside(input, 'image_tokens'),
    audioCachedTokens: inside(cached, 'audio_tokens'),
    imageCachedTokens: inside(cached, 'image_tokens'),
    audioOutputTokens: inside(output, 'audio_tokens'),
    imageOutputTokens: inside(output, 'image_tokens'),
    searches: inside(usage, 'server_tool_use', 'web_search_requests'),
  }
}

/** Amazon's own words (Converse, TokenUsage), whose input does not hold what was cached. */
function fromConverse(usage: Json): Read {
  const { cacheReadInputTokens: read, cacheWriteInputTokens: written, cacheDetails } = usage
  const details = Array.isArray(cacheDetails) ? cacheDetails.filter(isObject) : []
  return {
    inputTokens: 'inputTokens' in usage ? add(usage.inputTokens, read, written) : undefined,
    outputTokens: usage.outputTokens,
    cachedTokens: read,
    cacheWriteTokens: written,
    cacheWriteHourTokens: some(add(...details.filter(({ ttl }) => ttl === '1h').map((d) => d.inputTokens))),
  }
}

/** Google's GenerateContentResponse.UsageMetadata; a prompt holds what was cached, candidates no thoughts. */
function fromGoogle(usage: Json): Read {
  const { promptTokensDetails: prompt, cacheTokensDetails: cache, candidatesTokensDetails: output } = usage
  const tool = usage.toolUsePromptTokensDetails
  return {
    inputTokens: add(usage.promptTokenCount, usage.toolUsePromptTokenCount),
    outputTokens: add(usage.candidatesTokenCount, usage.thoughtsTokenCount),
    cachedTokens: usage.cachedContentTokenCount,
    reasoningTokens: usage.thoughtsTokenCount,
    audioInputTokens: some(ofKind(prompt, 'AUDIO') + ofKind(tool, 'AUDIO')),
    imageInputTokens: some(ofKind(prompt, 'IMAGE', 'DOCUMENT') + ofKind(tool, 'IMAGE', 'DOCUMENT')),
    audioCachedTokens: some(ofKind(cache, 'AUDIO')),
    imageCachedTokens: some(ofKind(cache, 'IMAGE', 'DOCUMENT')),
    audioOutputTokens: some(ofKind(output, 'AUDIO')),
    imageOutputTokens: some(ofKind(output, 'IMAGE')),
  }
}

function ofKind(details: unknown, ...kinds: readonly string[]): number {
  const list = Array.isArray(details) ? details.filter(isObject) : []
  return add(
    ...list.filter(({ modality }) => kinds.includes(String(modality))).map((part) => part.tokenCount),
  )
}

/** Cohere bills `billed_units`, which leave out its own additions; `tokens` is all. */
function fromCohere(usage: Json): Read {
  const { billed_units: billed, tokens, cached_tokens } = usage
  const of = (name: string) => inside(billed, name) ?? inside(tokens, name)
  const searches = inside(billed, 'search_units')
  return {
    inputTokens: of('input_tokens') ?? (searches === undefined ? undefined : 0),
    outputTokens: of('output_tokens'),
    cachedTokens: cached_tokens,
    searches,
  }
}

/** What Bedrock adds to the last chunk of an InvokeModel stream, of whatever model. */
function fromInvocation(usage: Json): Read {
  const { cacheReadInputTokenCount: read, cacheWriteInputTokenCount: written } = usage
  return {
    inputTokens: add(usage.inputTokenCount, read, written),
    outputTokens: usage.outputTokenCount,
    cachedTokens: read,
    cacheWriteTokens: written,
  }
}

function fromReplicate(usage: Json): Read {
  return { inputTokens: usage.input_token_count, outputTokens: usage.output_token_count }
}

function fromLlama(answer: Json): Read {
  return { inputTokens: answer.prompt_token_count, outputTokens: answer.generation_token_count }
}

function fromTitan({ inputTextTokenCount, results }: Json): Read {
  const list = Array.isArray(results) ? results.filter(isObject) : []
  return { inputTokens: inputTextTokenCount, outputTokens: add(...list.map((result) => result.tokenCount)) }
}

function fromOllama(answer: Json): Read {
  return { inputTokens: answer.prompt_eval_count ?? 0, outputTokens: answer.eval_count }
}

/** The counts of an InvokeModel answer whose body may tell of none; undefined for what is no such answer. */
export function readBedrockHeaders(headers: Headers): Counts | undefined {
  const count = (name: string) => {
    const value = headers.get(`x-amzn-bedrock-${name}-token-count`)
    return value === null ? undefined : Number(value)
  }
  const [input, output] = [count('input'), count('output')]
  if (input === undefined) return undefined
  const [read, written] = [count('cache-read-input'), count('cache-write-input')]
  return pick({
    inputTokens: add(input, read, written),
    outputTokens: output,
    cachedTokens: read,
    cacheWriteTokens: written,
  })
}

/** No answer has so many of anything: a provider that says so is not believed. */
const countMax = 1_000_000_000_000

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && value >= 0 && value <= countMax

const add = (...parts: readonly unknown[]): number =>
  parts.reduce<number>((sum, part) => sum + (isCount(part) ? part : 0), 0)

const some = (count: number): number | undefined => (count > 0 ? count : undefined)

/** Providers send null for what they do not count. */
function pick(counts: Read): Counts {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => isCount(count)))
}
