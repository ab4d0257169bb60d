import * as z from 'zod'
import { type SessionLimits, sessionDefaults } from './limits.ts'
import type { Backoff, RateSettings, SpendRule } from './types.ts'

/** What a token may do: use gateways, read of them, and change them. */
export const scopes = ['run', 'read', 'edit'] as const
/** One of them. */
export type Scope = (typeof scopes)[number]

/** A secret in clear, or `env:NAME` for a variable of the environment. */
const secret = z.string().min(1)
/** The name of a gateway, an account or a provider. */
export const slug: z.ZodString = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,63}$/i, 'letters, digits, - and _, 64 at most')
const httpUrl = z.url({ protocol: /^https?$/ })
const socketUrl = z.url({ protocol: /^wss?$/ })

/** Settings of one gateway, in the management API's own field names. */
export interface GatewaySettings extends RateSettings {
  /** Second part of every path. */
  id: string
  /** Refuse calls without a gateway token. Default: true once a token is configured. */
  authentication?: boolean | undefined
  /** Default of `cf-aig-max-attempts`: 1 to 5. */
  retry_max_attempts?: number | null | undefined
  /** Default of `cf-aig-retry-delay`: milliseconds, 0 to 60,000. */
  retry_delay?: number | null | undefined
  /** Default of `cf-aig-backoff`. */
  retry_backoff?: Backoff | null | undefined
  /** Origins whose pages may call and open sockets; `*` for all. Default: none. */
  cors_origins: string[]
  /** Record requests that do not say (`cf-aig-collect-log`). Default: true. */
  collect_logs?: boolean | undefined
  /** Records kept, 1,000 to 10,000,000. Default: 1,000,000. */
  log_management?: number | null | undefined
  /** What gives way then. Default: `DELETE_OLDEST`. */
  log_management_strategy?: 'STOP_INSERTING' | 'DELETE_OLDEST' | null | undefined
  /** Days until a record goes, 1 to 3,650. Default: never. */
  log_retention_days?: number | null | undefined
  /** Seconds that answers are kept for identical requests, 60 to 2,678,400; 0 or null: not. Default: null. */
  cache_ttl?: number | null | undefined
  /** What may be spent, 20 rules at most. */
  spend_limits?: { enabled: boolean; rules: SpendRule[] } | null | undefined
  /** Refuse requests while they cannot be recorded. Default: false. */
  log_required?: boolean | undefined
}

/** One gateway token. */
export interface TokenSettings extends RateSettings {
  name: string
  /** In clear, or `env:NAME`. Only its hash is kept. */
  token: string
  /** Gateways the token opens; absent: all. */
  gateways?: string[] | undefined
  /** Default: `run`. */
  permissions: Scope[]
}

/** A row of the provider table changed, or a new row. */
export interface ProviderSettings {
  /** Replaces the row's base URL, or makes a new row. Plain http and private hosts are allowed here. */
  base_url?: string | undefined
  /** Used for calls that bring no provider key. In clear, or `env:NAME`. */
  api_key?: string | undefined
  /** Header that carries the key. Default: the row's; of a new row `authorization`. */
  auth_header?: string | undefined
  /** Stands before the key in its header. Default: the row's; of a new row `Bearer`, none with `auth_header`. */
  auth_scheme?: string | undefined
  /** Sent with every call. */
  headers?: Record<string, string> | undefined
  /** Where its own WebSockets are dialled, for any path that means its realtime endpoint. Default: the row's. */
  realtime_url?: string | undefined
  /** A provider of the same dialect that is dialled when this one refuses or fails, with its own stored key. */
  realtime_fallback?: string | undefined
  /** Fills `{account_id}` in the base URL of `workers-ai`. */
  account_id?: string | undefined
  /** What its models cost, before the price list; the rule that names most of a model's letters counts. */
  prices?: PriceSettings[] | undefined
}

/** US dollars for each kind of token; a kind that is not named costs what the whole does that it is part of. */
export interface PriceRates {
  input?: number | undefined
  output?: number | undefined
  cache_read?: number | undefined
  cache_write?: number | undefined
  cache_write_1h?: number | undefined
  reasoning?: number | undefined
  audio_input?: number | undefined
  audio_output?: number | undefined
  audio_cache_read?: number | undefined
  image_input?: number | undefined
  image_output?: number | undefined
  image_cache_read?: number | undefined
}

/** What some models of a provider cost. */
export interface PriceSettings {
  /** Their names, in which `*` stands for any text. */
  model: string | string[]
  /** Dollars for a million tokens. */
  per_million?: PriceRates | undefined
  /** Dollars for one token, instead. */
  per_token?: PriceRates | undefined
  per_request?: number | undefined
  per_search?: number | undefined
  per_audio_hour?: number | undefined
  /** For requests with a larger input, for all of their tokens; in rising order. */
  above?:
    | { input_tokens: number; per_million?: PriceRates | undefined; per_token?: PriceRates | undefined }[]
    | undefined
}

/** The configuration as its schema leaves it, secrets resolved. */
export interface Config {
  /** For editors. */
  $schema?: string | undefined
  /** First part of every path. Default: `default`. */
  account_id: string
  /** Default: one, `default`. */
  gateways: GatewaySettings[]
  /** False where they are the default, so that what is made while running may take its place. */
  declaresGateways: boolean
  tokens: TokenSettings[]
  providers: Record<string, ProviderSettings>
  /** Limits of sessions and runs. */
  limits: SessionLimits
}

const month = 2_678_400
const year = 31_622_400

const rateSettings = {
  rate_limiting_interval: z.int().min(0).max(year).nullish(),
  rate_limiting_limit: z.int().min(0).nullish(),
  rate_limiting_tokens: z.int().min(0).nullish(),
  rate_limiting_technique: z.enum(['fixed', 'sliding']).nullish(),
}

const dimension = z.union([
  z.strictObject({ mode: z.literal('filter'), values: z.array(z.string()).min(1) }),
  z.strictObject({ mode: z.literal('partition') }),
])

const spendRule = z.strictObject({
  id: z.string().min(1).max(64),
  enabled: z.boolean().optional(),
  limitType: z.literal('cost'),
  limit: z.number().positive(),
  window: z.int().min(1).max(year),
  technique: z.enum(['fixed', 'sliding']),
  provider: dimension.optional(),
  model: dimension.optional(),
  metadata: z.record(z.string(), dimension).optional(),
})

/** The one vocabulary of a gateway's settings, for the configuration and for the management API. */
export const gatewaySettings: z.ZodType<GatewaySettings> = z.strictObject({
  id: slug,
  ...rateSettings,
  spend_limits: z.strictObject({ enabled: z.boolean(), rules: z.array(spendRule).max(20) }).nullish(),
  authentication: z.boolean().optional(),
  retry_max_attempts: z.int().min(1).max(5).nullish(),
  retry_delay: z.int().min(0).max(60_000).nullish(),
  retry_backoff: z.enum(['constant', 'linear', 'exponential']).nullish(),
  cors_origins: z.array(z.string()).default([]),
  collect_logs: z.boolean().optional(),
  log_management: z.int().min(1_000).max(10_000_000).nullish(),
  log_management_strategy: z.enum(['STOP_INSERTING', 'DELETE_OLDEST']).nullish(),
  log_retention_days: z.int().min(1).max(3_650).nullish(),
  log_required: z.boolean().optional(),
  cache_ttl: z.union([z.literal(0), z.int().min(60).max(month)]).nullish(),
})

const tokenSettings = z.strictObject({
  ...rateSettings,
  name: z.string().min(1),
  token: secret,
  gateways: z.array(z.string()).optional(),
  permissions: z.array(z.enum(scopes)).default(['run']),
})

const dollars = z.number().min(0).optional()
const rates = z.strictObject({
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
})
const tokenPrices = { per_million: rates.optional(), per_token: rates.optional() }
const name = z.string().min(1)

const priceSettings = z
  .strictObject({
    model: z.union([name, z.array(name).min(1)]),
    ...tokenPrices,
    per_request: dollars,
    per_search: dollars,
    per_audio_hour: dollars,
    above: z.array(z.strictObject({ input_tokens: z.int().min(1), ...tokenPrices })).optional(),
  })
  .refine(({ per_million, per_token }) => !(per_million && per_token), 'per_million or per_token, not both')
  .refine(({ model: _, ...price }) => Object.keys(price).length > 0, 'it names no price')

const providerSettings = z.strictObject({
  base_url: httpUrl.optional(),
  api_key: secret.optional(),
  auth_header: z
    .string()
    .regex(/^[a-z0-9-]+$/i, 'a header name')
    .optional(),
  auth_scheme: z.string().optional(),
  headers: z.record(z.string(), z.string()).optional(),
  account_id: z.string().optional(),
  realtime_url: socketUrl.optional(),
  realtime_fallback: slug.optional(),
  prices: z.array(priceSettings).optional(),
})

const count = (name: keyof SessionLimits, min = 1) => z.int().min(min).default(sessionDefaults[name])

const sessionLimits = z.strictObject({
  inFlight: count('inFlight'),
  queued: count('queued', 0),
  windowBytes: count('windowBytes'),
  runBytes: count('runBytes'),
  heldBytes: count('heldBytes'),
  detachSeconds: count('detachSeconds'),
  heartbeatSeconds: count('heartbeatSeconds'),
  sessions: count('sessions'),
  drainSeconds: count('drainSeconds', 0),
})

const configSchema = z.strictObject({
  $schema: z.string().optional(),
  account_id: slug.default('default'),
  gateways: z.array(gatewaySettings).min(1).optional(),
  tokens: z.array(tokenSettings).default([]),
  providers: z.record(slug, providerSettings).default({}),
  limits: sessionLimits.default(sessionDefaults),
})

/** Variables of the environment. */
export type Env = Readonly<Record<string, string | undefined>>

/** A configuration that cannot be used; the message names each path and reason, never a value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/**
 * Check a configuration and resolve its `env:NAME` references.
 * `TRUNKLINE_TOKEN` in the environment stands for a token of that value when no token is configured; it may do all, so
 * that whoever starts a gateway can set it up.
 * @throws ConfigError
 */
export function parseConfig(input: unknown = {}, env: Env = {}): Config {
  const parsed = configSchema.safeParse(input)
  if (!parsed.success) throw new ConfigError(z.prettifyError(parsed.error))
  const { tokens, providers, gateways, ...rest } = parsed.data
  const own = tokens.map((token, index) => ({
    ...token,
    token: resolve(token.token, env, `tokens[${index}].token`),
  }))
  if (own.length === 0 && env.TRUNKLINE_TOKEN) {
    own.push({ name: 'TRUNKLINE_TOKEN', token: env.TRUNKLINE_TOKEN, permissions: [...scopes] })
  }
  const config: Config = {
    ...rest,
    gateways: gateways ?? [{ id: 'default', cors_origins: [] }],
    declaresGateways: gateways !== undefined,
    tokens: own,
    providers: mapValues(providers, (row, name) => withKey(row, name, env)),
  }
  assertUnique(config)
  return config
}

/** True when some gateway answers callers without a token. */
export function isOpen(config: Config): boolean {
  return config.gateways.some((gateway) => !isAuthenticated(gateway, config.tokens.length))
}

/** Whether a gateway refuses callers without a token, where there are so many tokens. */
export function isAuthenticated(gateway: GatewaySettings, tokens: number): boolean {
  return gateway.authentication ?? tokens > 0
}

function withKey(row: ProviderSettings, name: string, env: Env): ProviderSettings {
  if (row.api_key === undefined) return row
  return { ...row, api_key: resolve(row.api_key, env, `providers.${name}.api_key`) }
}

function resolve(value: string, env: Env, path: string): string {
  if (!value.startsWith('env:')) return value
  const found = env[value.slice(4)]
  if (!found) throw new ConfigError(`${path}: the environment has no ${value.slice(4)}`)
  return found
}

function assertUnique(config: Config): void {
  const ids = config.gateways.map((gateway) => gateway.id)
  const twice = ids.find((id, index) => ids.indexOf(id) !== index)
  if (twice) throw new ConfigError(`gateways: "${twice}" is listed twice`)
  for (const [index, token] of config.tokens.entries()) {
    const unknown = token.gateways?.find((id) => !ids.includes(id))
    if (unknown) throw new ConfigError(`tokens[${index}].gateways: there is no gateway "${unknown}"`)
  }
}

function mapValues<V, W>(record: Record<string, V>, to: (value: V, key: string) => W): Record<string, W> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, to(value, key)]))
}
