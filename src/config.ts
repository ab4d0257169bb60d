import { en } from 'zod/locales'
import * as z from 'zod/mini'
import { type SessionLimits, sessionDefaults, sessionLimits } from './limits.ts'
import { type PriceSettings, priceSettings } from './prices.ts'
import type { Backoff, RateSettings, SpendRule } from './types.ts'

z.config(en())

/** What a token may do: use gateways, read of them, and change them. */
export const scopes = ['run', 'read', 'edit'] as const
/** One of them. */
export type Scope = (typeof scopes)[number]

/** A secret in clear, or `env:NAME` for a variable of the environment. */
const secret = z.string().check(z.minLength(1))
/** The name of a gateway, an account or a provider. */
export const slug: z.ZodMiniString = z
  .string()
  .check(z.regex(/^[a-z0-9][a-z0-9_-]{0,63}$/i, 'letters, digits, - and _, 64 at most'))
/** As browsers send it: nothing else can ever match. */
const origin = z
  .string()
  .check(z.refine((text) => text === '*' || URL.parse(text)?.origin === text, '*, or as https://app.example'))
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
  /** Default of `cf-aig-compat-lenient`. Default: false. */
  compat_lenient?: boolean | undefined
  /**
   * Ask for the usage of streams whose client does not, where the provider takes that, and keep the event that tells it
   * from the client. Default: true.
   */
  stream_usage?: boolean | undefined
  /** Records kept, 1,000 to 10,000,000. Default: 1,000,000. */
  log_management?: number | null | undefined
  /** What gives way then. Default: `DELETE_OLDEST`. */
  log_management_strategy?: 'STOP_INSERTING' | 'DELETE_OLDEST' | null | undefined
  /** Days until a record goes, 1 to 3,650. Default: never. */
  log_retention_days?: number | null | undefined
  /** Drop what is kept of answers when the management API changes the gateway. Default: false. */
  cache_invalidate_on_update?: boolean | undefined
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
  /** The wire of its chat, by the name of a dialect. Default: the row's; of a new row `openai`. */
  dialect?: string | undefined
  /** Models that `compat/models` lists. */
  models?: string[] | undefined
  /** Whether it takes `stream_options.include_usage`. Default: the row's; of a new row false. */
  stream_usage?: boolean | undefined
  /** What its models cost, before the price list; the rule that names most of a model's letters counts. */
  prices?: PriceSettings[] | undefined
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
  /** Names of models of one's own: each a list of `{provider}/{model}`, tried in order. */
  aliases: Record<string, string[]>
  /** Limits of sessions and runs. */
  limits: SessionLimits
  /** Only this machine can reach the gateway; set by what listens. */
  isLocal?: boolean
}

const month = 2_678_400
const year = 31_622_400

const rateSettings = {
  rate_limiting_interval: z.nullish(z.int().check(z.minimum(0), z.maximum(year))),
  rate_limiting_limit: z.nullish(z.int().check(z.minimum(0))),
  rate_limiting_tokens: z.nullish(z.int().check(z.minimum(0))),
  rate_limiting_technique: z.nullish(z.enum(['fixed', 'sliding'])),
}

const dimension = z.union([
  z.strictObject({ mode: z.literal('filter'), values: z.array(z.string()).check(z.minLength(1)) }),
  z.strictObject({ mode: z.literal('partition') }),
])

const spendRule = z.strictObject({
  id: z.optional(z.string().check(z.minLength(1), z.maxLength(64))),
  enabled: z.optional(z.boolean()),
  limitType: z.literal('cost'),
  limit: z.number().check(z.positive()),
  window: z.int().check(z.minimum(1), z.maximum(year)),
  technique: z._default(z.enum(['fixed', 'sliding']), 'fixed'),
  provider: z.optional(dimension),
  model: z.optional(dimension),
  metadata: z.optional(z.record(z.string(), dimension)),
})

/** What is spent is counted by rule, so one without a name is named after its place. */
const spendRules = z.pipe(
  z._default(z.array(spendRule).check(z.maxLength(20)), []),
  z.transform((rules) => rules.map((rule, index) => ({ ...rule, id: rule.id ?? `rule-${index + 1}` }))),
)

const never = (value: false | null | 'postpaid' | 'unified') =>
  z.optional(z.literal(value, `nothing of the kind is done here, so only ${value} is taken`))

/** The rest of the original's words, which its clients send: only what is true here is taken. */
const withoutEffect = {
  byok_only: z.optional(z.boolean()), // true of every gateway here
  workers_ai_billing_mode: never('postpaid'),
  log_classification: never(false),
  logpush: never(false),
  logpush_public_key: never(null),
  zdr: never(false),
  store_id: never(null),
  stripe: never(null),
  guardrails: never(null),
  otel: z.optional(z.union([never(null), z.array(z.never()).check(z.maxLength(0))])),
  dlp: z.optional(
    z.union([
      never(null),
      z.looseObject({
        enabled: z.literal(false, 'nothing of the kind is done here, so only false is taken'),
      }),
    ]),
  ),
}

/** The one vocabulary of a gateway's settings, for the configuration and for the management API. */
export const gatewaySettings: z.ZodMiniType<GatewaySettings> = z.strictObject({
  id: slug,
  ...rateSettings,
  spend_limits: z.nullish(z.strictObject({ enabled: z._default(z.boolean(), true), rules: spendRules })),
  authentication: z.optional(z.boolean()),
  retry_max_attempts: z.nullish(z.int().check(z.minimum(1), z.maximum(5))),
  retry_delay: z.nullish(z.int().check(z.minimum(0), z.maximum(60_000))),
  retry_backoff: z.nullish(z.enum(['constant', 'linear', 'exponential'])),
  cors_origins: z._default(z.array(origin), []),
  collect_logs: z.optional(z.boolean()),
  compat_lenient: z.optional(z.boolean()),
  stream_usage: z.optional(z.boolean()),
  log_management: z.nullish(z.int().check(z.minimum(1_000), z.maximum(10_000_000))),
  log_management_strategy: z.nullish(z.enum(['STOP_INSERTING', 'DELETE_OLDEST'])),
  log_retention_days: z.nullish(z.int().check(z.minimum(1), z.maximum(3_650))),
  log_required: z.optional(z.boolean()),
  cache_ttl: z.nullish(z.union([z.literal(0), z.int().check(z.minimum(60), z.maximum(month))])),
  cache_invalidate_on_update: z.optional(z.boolean()),
  ...withoutEffect,
})

const tokenSettings = z.strictObject({
  ...rateSettings,
  name: z.string().check(z.minLength(1)),
  token: secret,
  gateways: z.optional(z.array(z.string())),
  permissions: z._default(z.array(z.enum(scopes)), ['run']),
})

const providerSettings = z.strictObject({
  base_url: z.optional(httpUrl),
  api_key: z.optional(secret),
  auth_header: z.optional(z.string().check(z.regex(/^[a-z0-9-]+$/i, 'a header name'))),
  auth_scheme: z.optional(z.string()),
  headers: z.optional(z.record(z.string(), z.string())),
  account_id: z.optional(z.string()),
  dialect: z.optional(z.string()),
  models: z.optional(z.array(z.string())),
  stream_usage: z.optional(z.boolean()),
  realtime_url: z.optional(socketUrl),
  realtime_fallback: z.optional(slug),
  prices: z.optional(z.array(priceSettings)),
})

const configSchema = z.strictObject({
  $schema: z.optional(z.string()),
  account_id: z._default(slug, 'default'),
  gateways: z.optional(z.array(gatewaySettings).check(z.minLength(1))),
  tokens: z._default(z.array(tokenSettings), []),
  providers: z._default(z.record(slug, providerSettings), {}),
  aliases: z._default(
    z.record(
      z.string().check(z.minLength(1)),
      z.array(z.string().check(z.regex(/^[^/]+\/./, 'provider/model'))).check(z.minLength(1)),
    ),
    {},
  ),
  limits: z._default(sessionLimits, sessionDefaults),
})

/** Variables of the environment. */
export type Env = Readonly<Record<string, string | undefined>>

/** A configuration that cannot be used; the message names each path and reason, never a value. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/**
 * Check a configuration and resolve its `env:NAME` references.
 * `TRUNKLINE_TOKEN` in the environment stands for a token of that value, unless a configured one has it; it may do all,
 * so that whoever starts a gateway can set it up.
 * @throws ConfigError
 */
export function parseConfig(input: unknown = {}, env: Env = {}): Config {
  const parsed = configSchema.safeParse(input)
  if (!parsed.success) throw new ConfigError(z.prettifyError(parsed.error))
  const { tokens, providers, gateways, ...rest } = parsed.data
  const own = tokens.map((token, index) => ({
    ...token,
    token: toToken(resolve(token.token, env, `tokens[${index}].token`), `tokens[${index}].token`),
  }))
  if (env.TRUNKLINE_TOKEN && !own.some(({ token }) => token === env.TRUNKLINE_TOKEN)) {
    const token = toToken(env.TRUNKLINE_TOKEN, 'TRUNKLINE_TOKEN')
    own.push({ name: 'TRUNKLINE_TOKEN', token, permissions: [...scopes] })
  }
  const config: Config = {
    ...rest,
    gateways: gateways ?? [{ id: 'default', cors_origins: [] }],
    declaresGateways: gateways !== undefined,
    tokens: own,
    providers: mapValues(providers, (row, name) => withSecrets(row, name, env)),
  }
  assertUnique(config)
  return config
}

/** True when some gateway answers callers without a token. */
export function isOpen(config: Config): boolean {
  return config.gateways.some((gateway) => !isAuthenticated(gateway, config.tokens.length))
}

/** What is allowed, and will hardly be meant. */
export function noticesOf({ gateways, tokens }: Config): string[] {
  const closed = gateways.filter(({ authentication }) => authentication && tokens.length === 0)
  const unoffered = tokens.filter(({ token }) => !/^[!#$%&'*+.^_`|~0-9a-z-]+$/i.test(token))
  return [
    ...closed.map(({ id }) => `gateway "${id}" wants a token, and none is configured`),
    ...unoffered.map(
      ({ name }) => `token "${name}": browsers cannot open sockets with it, for its special characters`,
    ),
  ]
}

/** Whether a gateway refuses callers without a token, where there are so many tokens. */
export function isAuthenticated(gateway: GatewaySettings, tokens: number): boolean {
  return gateway.authentication ?? tokens > 0
}

function withSecrets(row: ProviderSettings, name: string, env: Env): ProviderSettings {
  const { api_key, account_id, headers } = row
  const at = (value: string, field: string) => resolve(value, env, `providers.${name}.${field}`)
  return {
    ...row,
    ...(api_key !== undefined && { api_key: at(api_key, 'api_key') }),
    ...(account_id !== undefined && { account_id: at(account_id, 'account_id') }),
    ...(headers && { headers: mapValues(headers, (value, header) => at(value, `headers.${header}`)) }),
  }
}

/** Headers separate by spaces and commas. */
function toToken(token: string, path: string): string {
  if (/^[\x21-\x2b\x2d-\x7e]+$/.test(token)) return token
  throw new ConfigError(`${path}: visible ASCII characters without spaces and commas`)
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
