import * as z from 'zod/mini'

/** US dollars for each kind of token; a kind that is not named costs what the whole does that it is part of. */
export interface TokenPrices {
  input?: number | undefined
  output?: number | undefined
  /** Input that was read from the provider's cache. */
  cache_read?: number | undefined
  /** Input that was written to it, for five minutes where the provider makes a difference. */
  cache_write?: number | undefined
  /** Input that was written to it for an hour. */
  cache_write_1h?: number | undefined
  reasoning?: number | undefined
  audio_input?: number | undefined
  audio_output?: number | undefined
  audio_cache_read?: number | undefined
  image_input?: number | undefined
  image_output?: number | undefined
  image_cache_read?: number | undefined
}

/** What a use costs, in US dollars. */
export interface Price {
  per_million?: TokenPrices | undefined
  /** The same for one token. */
  per_token?: TokenPrices | undefined
  per_request?: number | undefined
  per_search?: number | undefined
  /** Of what was heard. */
  per_audio_hour?: number | undefined
  /** What holds instead for all tokens of a request whose input is larger than so many; in rising order. */
  above?: readonly TierPrice[] | undefined
}

/** Token prices of large requests. */
export interface TierPrice {
  input_tokens: number
  per_million?: TokenPrices | undefined
  per_token?: TokenPrices | undefined
}

/** What some models of a provider cost. */
export interface PriceSettings extends Price {
  /** Their names, in which `*` stands for any text; the rule that names most of a model's letters counts. */
  model: string | readonly string[]
}

const dollars = z.optional(z.number().check(z.minimum(0)))
const kinds = z.strictObject({
  input: dollars,
  output: dollars,
  cache_read: dollars,
  cache_write: dollars,
  cache_write_1h: dollars,
  reasoning: dollars,
  audio_input: dollars,
  audio_output: dollars,
  audio_cache_read: dollars,
  image_input: dollars,
  image_output: dollars,
  image_cache_read: dollars,
} satisfies Record<keyof TokenPrices, z.ZodMiniType>)
const tokens = { per_million: z.optional(kinds), per_token: z.optional(kinds) }
const name = z.string().check(z.minLength(1))

/** Prices in a configuration. */
export const priceSettings: z.ZodMiniType<PriceSettings> = z
  .strictObject({
    model: z.union([name, z.array(name).check(z.minLength(1))]),
    ...tokens,
    per_request: dollars,
    per_search: dollars,
    per_audio_hour: dollars,
    above: z.optional(z.array(z.strictObject({ input_tokens: z.int().check(z.minimum(1)), ...tokens }))),
  })
  .check(
    z.refine(
      ({ per_million, per_token }) => !(per_million && per_token),
      'per_million or per_token, not both',
    ),
    z.refine(({ model: _, ...price }) => Object.keys(price).length > 0, 'it names no price'),
  )
