import type { Price, TokenPrices } from '../prices.ts'
import type { Cost, CustomCost, Usage } from '../types.ts'

const tokensPerMillion = 1_000_000
const secondsPerHour = 3_600
/** Sums of floating numbers are kept to this many places of a dollar. */
const places = 12

/** What is known of an answer when its cost is asked for. */
export interface Spent {
  readonly usage?: Usage | undefined
  /** What the provider says, in US dollars. */
  readonly dollars?: number | undefined
  /** The client's own prices. */
  readonly custom?: CustomCost | undefined
  /** Of the operator. */
  readonly own?: Price | undefined
  /** Of the list. */
  readonly listed?: Price | undefined
  /** Null where there was no answer. */
  readonly status: number | null
}

/**
 * What an answer cost. The client's own prices come first, then the operator's, then the word of the provider, then the
 * price list. An answer that is an error and tells of no tokens costs nothing.
 */
export function costOf({ usage, dollars, custom, own, listed, status }: Spent): Cost {
  if (!usage && status !== null && status >= 400) return estimated(0)
  if (custom?.total_cost !== undefined && status !== null) return estimated(custom.total_cost)
  const wished = usage && (custom ? priceOf(usage, toPrice(custom)) : own && priceOf(usage, own))
  if (wished !== undefined) return estimated(wished)
  if (dollars !== undefined) return { ...estimated(dollars), basis: 'reported' }
  const value = usage && listed ? priceOf(usage, listed) : undefined
  return value === undefined ? unknown : estimated(value)
}

const unknown: Cost = { value: null, currency: 'USD', basis: 'unknown' }

const estimated = (dollars: number): Cost => ({
  value: Number(dollars.toFixed(places)),
  currency: 'USD',
  basis: 'estimated',
})

function toPrice(custom: CustomCost): Price {
  const { per_token_in: input = 0, per_token_out: output = 0 } = custom
  const { per_cache_read_token: cache_read, per_cache_write_token: cache_write } = custom
  return { per_token: { input, output, cache_read, cache_write } }
}

/** US dollars; undefined for a price that says nothing of what was used. */
export function priceOf(usage: Usage, price: Price): number | undefined {
  const { per_million, per_token, per_request = 0, per_search = 0, per_audio_hour } = inForce(usage, price)
  const { searches = 0, audioSeconds = 0 } = usage
  const rates = per_token ?? per_million
  const isPriced =
    rates !== undefined || per_request > 0 || (per_audio_hour !== undefined && audioSeconds > 0)
  if (!isPriced) return undefined
  const tokens = rates ? priceTokens(usage, rates) / (per_token ? 1 : tokensPerMillion) : 0
  return (
    tokens + per_request + searches * per_search + (audioSeconds / secondsPerHour) * (per_audio_hour ?? 0)
  )
}

function inForce({ inputTokens }: Usage, price: Price): Price {
  const tier = price.above?.findLast(({ input_tokens }) => inputTokens > input_tokens)
  return tier ? { ...price, ...tier } : price
}

/** Every token once: what has a kind of its own leaves the whole it is counted in. */
function priceTokens(usage: Usage, rates: TokenPrices): number {
  const { cachedTokens: cached = 0, cacheWriteTokens: written = 0, cacheWriteHourTokens: hour = 0 } = usage
  const { audioCachedTokens: audioCached = 0, imageCachedTokens: imageCached = 0 } = usage
  const audio = rest(usage.audioInputTokens, audioCached)
  const image = rest(usage.imageInputTokens, imageCached)
  const { audioOutputTokens: audioOut = 0, imageOutputTokens: imageOut = 0 } = usage
  const { input = 0, output = 0 } = rates
  const { cache_read = input, cache_write = input, reasoning = output } = rates
  // A kind without a price of its own stays in its whole, so that nothing is taken out of it twice.
  const thought = rates.reasoning === undefined ? 0 : (usage.reasoningTokens ?? 0)
  return (
    rest(usage.inputTokens, cached, written, audio, image) * input +
    rest(cached, audioCached, imageCached) * cache_read +
    audioCached * (rates.audio_cache_read ?? cache_read) +
    imageCached * (rates.image_cache_read ?? cache_read) +
    rest(written, hour) * cache_write +
    hour * (rates.cache_write_1h ?? cache_write) +
    audio * (rates.audio_input ?? input) +
    image * (rates.image_input ?? input) +
    rest(usage.outputTokens, audioOut, imageOut, thought) * output +
    audioOut * (rates.audio_output ?? output) +
    imageOut * (rates.image_output ?? output) +
    thought * reasoning
  )
}

const rest = (whole = 0, ...parts: readonly number[]): number =>
  Math.max(
    parts.reduce((left, part) => left - part, whole),
    0,
  )
