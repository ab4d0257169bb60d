import { table } from '../src/providers/table.ts'

/** Gateway tokens of the tests; looked for wherever a secret must not appear. */
export const tokens = { all: 'tk-all-4f1d9c', locked: 'tk-locked-77ab02' } as const
/** One that opens `locked`, three times an hour. */
export const limitedToken = 'tk-limited-5c20e1'
/** One that may do all, everywhere. */
export const adminToken = 'tk-admin-91b3e7'
/** One that may read the management API, and call nothing. */
export const readingToken = 'tk-reading-9e41c7'
/** The stored provider key of `keyed`. */
export const storedKey = 'sk-stored-0be35f'
/** Environment of every gateway under test. */
export const env: Readonly<Record<string, string>> = {
  TEST_KEY: storedKey,
  TRUNKLINE_MASTER_KEY: 'bWFzdGVyIGtleSBvZiB0aGUgdGVzdHMsIDMyIGJ5dGU=',
}
const rates = (limit: number, interval: number) => ({
  rate_limiting_limit: limit,
  rate_limiting_interval: interval,
})
const spendRules = [
  {
    id: 'by-user',
    limitType: 'cost',
    limit: 0.001,
    window: 86_400,
    technique: 'fixed',
    provider: { mode: 'filter', values: ['openai'] },
    metadata: { user: { mode: 'partition' } },
  },
]

/** Port that nobody listens on. */
const deadUrl = 'http://127.0.0.1:9'

/**
 * One configuration for all runtimes: every row of the table goes to the emulator, under a prefix that names it.
 * Gateways: `default` and `patient` (3 tries) are open, `locked` and `vault` want a token, `pages` serves one origin,
 * `browser` any, with a token.
 */
export function configFor(upstreamUrl: string): Record<string, unknown> {
  const rows = Object.keys(table).map((slug) => [slug, { base_url: `${upstreamUrl}/${slug}` }])
  return {
    gateways: [
      { id: 'default', authentication: false, retry_max_attempts: 1 },
      { id: 'locked', authentication: true },
      { id: 'vault', authentication: true },
      { id: 'pages', authentication: false, cors_origins: ['https://app.example'] },
      { id: 'browser', authentication: true, cors_origins: ['*'] },
      { id: 'cached', authentication: false, cache_ttl: 300 },
      { id: 'hurried', authentication: false, ...rates(100, 3_600) },
      { id: 'sliding', authentication: false, ...rates(5, 2), rate_limiting_technique: 'sliding' },
      { id: 'wordy', authentication: false, rate_limiting_interval: 3_600, rate_limiting_tokens: 100 },
      { id: 'wordy-too', authentication: false, rate_limiting_interval: 3_600, rate_limiting_tokens: 100 },
      { id: 'thrifty', authentication: false, spend_limits: { enabled: true, rules: spendRules } },
      { id: 'lenient', authentication: false, compat_lenient: true },
      { id: 'unasking', authentication: false, stream_usage: false },
      { id: 'patient', authentication: false, retry_max_attempts: 3, retry_delay: 10 },
    ],
    tokens: [
      { name: 'all', token: tokens.all },
      { name: 'locked', token: tokens.locked, gateways: ['locked'] },
      { name: 'admin', token: adminToken, permissions: ['run', 'read', 'edit'] },
      { name: 'reading', token: readingToken, permissions: ['read'] },
      { name: 'limited', token: limitedToken, gateways: ['locked'], ...rates(3, 3_600) },
    ],
    aliases: {
      fast: ['offline/m', 'openai/gpt-5'],
      wide: ['anthropic/claude-sonnet-5', 'openai/gpt-5'],
      choosy: ['anthropic/claude-sonnet-5', 'openai/gpt-5'],
      falling: ['anthropic/emulate?status=529', 'openai/emulate?fault=500', 'google-ai-studio/gemini-3-pro'],
      hopeless: ['openai/emulate?status=500', 'anthropic/emulate?status=429'],
    },
    providers: {
      ...Object.fromEntries(rows),
      // Bodies and streams are compared with the emulator's own; what is asked of the others, usageSuite tells.
      openai: { base_url: `${upstreamUrl}/openai`, stream_usage: false },
      mine: { base_url: `${upstreamUrl}/mine/v1`, headers: { 'x-fixed': 'yes' }, models: ['own'] },
      priced: {
        base_url: `${upstreamUrl}/priced`,
        dialect: 'openai',
        prices: [
          { model: 'cheap', per_million: { input: 0.01, output: 0.01 } },
          { model: 'dear', per_million: { input: 100, output: 100 } },
        ],
      },
      keyed: { base_url: `${upstreamUrl}/keyed`, api_key: 'env:TEST_KEY' },
      offline: { base_url: deadUrl },
      voice: {
        base_url: `${upstreamUrl}/http`,
        realtime_url: `${upstreamUrl.replace('http', 'ws')}/voice/socket`,
      },
      unsure: {
        base_url: `${upstreamUrl}/unsure`,
        headers: { 'x-upstream': '{"status":503}' },
        realtime_fallback: 'keyed',
      },
      cartesia: { base_url: `${upstreamUrl}/cartesia`, realtime_fallback: 'keyed' },
      unreachable: { base_url: deadUrl, realtime_fallback: 'keyed' },
    },
  }
}
