/** Tokens of one answer. */
export interface Usage {
  /** All that was read, whether from a cache or not, and what was written to one. */
  readonly inputTokens: number
  /** All that was written, reasoning included. */
  readonly outputTokens: number
  /** Of the input: read from the provider's cache. */
  readonly cachedTokens?: number
  /** Of the input: written to the provider's cache. */
  readonly cacheWriteTokens?: number
  /** Of the output: not shown. */
  readonly reasoningTokens?: number
  /** `estimated` where the provider has not told, or not yet: four characters to a token, the output only. */
  readonly basis: 'reported' | 'estimated'
}

type Json = Readonly<Record<string, unknown>>
type Counts = { -readonly [K in Exclude<keyof Usage, 'basis'>]?: number }

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const inside = (value: unknown, ...path: readonly string[]): unknown =>
  path.reduce<unknown>((at, name) => (isObject(at) ? at[name] : undefined), value)

/**
 * The tokens that one JSON object tells of: a whole answer, or an event of a stream. Undefined for one that tells of
 * none. Where later events repeat a count, theirs is the true one.
 * Sources: the API references of OpenAI (chat completions, responses, embeddings), Anthropic (messages), Google
 * (GenerateContentResponse.UsageMetadata), AWS (Converse TokenUsage), Cohere (chat v2), Cloudflare (Workers AI), Groq
 * (`x_groq`), DeepSeek (`prompt_cache_hit_tokens`).
 */
export function readUsage(value: unknown): Counts | undefined {
  if (!isObject(value)) return undefined
  const google = value.usageMetadata
  if (isObject(google)) return fromGoogle(google)
  for (const path of places) {
    const found = inside(value, ...path)
    const counts = isObject(found) ? fromUsage(found) : undefined
    if (counts) return counts
  }
  return undefined
}

/** Where a `usage` object stands: alone, in an Anthropic or Responses event, a Workers AI envelope, a Groq or Cohere one. */
const places: readonly (readonly string[])[] = [
  ['usage'],
  ['message', 'usage'],
  ['response', 'usage'],
  ['result', 'usage'],
  ['x_groq', 'usage'],
  ['delta', 'usage'],
  ['metadata', 'usage'],
  ['meta'],
]

function fromUsage(usage: Json): Counts | undefined {
  if ('prompt_tokens' in usage) return fromChat(usage)
  if ('inputTokens' in usage || 'outputTokens' in usage) return fromConverse(usage)
  if ('input_tokens' in usage || 'output_tokens' in usage) return fromMessages(usage)
  // Cohere counts `tokens`, and bills `billed_units`, which leave out its own additions.
  for (const own of [usage.tokens, usage.billed_units]) {
    if (isObject(own)) return pick({ inputTokens: own.input_tokens, outputTokens: own.output_tokens })
  }
  return undefined
}

const fromChat = (usage: Json): Counts =>
  pick({
    inputTokens: usage.prompt_tokens,
    outputTokens: usage.completion_tokens ?? 0,
    cachedTokens: inside(usage, 'prompt_tokens_details', 'cached_tokens') ?? usage.prompt_cache_hit_tokens,
    reasoningTokens: inside(usage, 'completion_tokens_details', 'reasoning_tokens'),
  })

/** OpenAI's Responses, whose input holds what was cached, and Anthropic's Messages, whose input does not. */
function fromMessages(usage: Json): Counts {
  const read = usage.cache_read_input_tokens
  const written = usage.cache_creation_input_tokens
  return pick({
    inputTokens: 'input_tokens' in usage ? add(usage.input_tokens, read, written) : undefined,
    outputTokens: usage.output_tokens,
    cachedTokens: inside(usage, 'input_tokens_details', 'cached_tokens') ?? read,
    cacheWriteTokens: written,
    reasoningTokens: inside(usage, 'output_tokens_details', 'reasoning_tokens'),
  })
}

const fromConverse = (usage: Json): Counts =>
  pick({
    inputTokens: add(usage.inputTokens, usage.cacheReadInputTokens, usage.cacheWriteInputTokens),
    outputTokens: usage.outputTokens,
    cachedTokens: usage.cacheReadInputTokens,
    cacheWriteTokens: usage.cacheWriteInputTokens,
  })

const fromGoogle = (usage: Json): Counts =>
  pick({
    inputTokens: add(usage.promptTokenCount, usage.toolUsePromptTokenCount),
    outputTokens: add(usage.candidatesTokenCount, usage.thoughtsTokenCount),
    cachedTokens: usage.cachedContentTokenCount,
    reasoningTokens: usage.thoughtsTokenCount,
  })

const add = (...parts: readonly unknown[]): number =>
  parts.reduce<number>((sum, part) => sum + (isCount(part) ? part : 0), 0)

const isCount = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0

/** Providers send null for what they do not count. */
function pick(counts: { readonly [K in keyof Counts]: unknown }): Counts {
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => isCount(count)))
}
