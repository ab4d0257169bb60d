import * as z from 'zod/mini'
import { GatewayError } from './errors.ts'
import { parseJson } from './json.ts'
import type { Options } from './types.ts'

const count = (min: number, max: number) =>
  z.pipe(
    z.union([z.int(), z.pipe(z.string().check(z.regex(/^\d+$/, 'a whole number')), z.transform(Number))]),
    z.int().check(z.minimum(min), z.maximum(max)),
  )

const flag = z.union([
  z.boolean(),
  z.pipe(
    z.enum(['true', 'false']),
    z.transform((text) => text === 'true'),
  ),
])

const metadataEntries = 5
/** A flat object; its first 5 entries are kept, those that start with `cf.` are not (contract 5). */
const metadata = z.pipe(
  z.pipe(
    z.union([z.record(z.string(), z.unknown()), z.pipe(z.string(), z.transform(parseJson))]),
    z.record(z.string(), z.union([z.string(), z.number(), z.boolean()], 'values: text, numbers, booleans')),
  ),
  z.transform((entries) =>
    Object.fromEntries(
      Object.entries(entries)
        .filter(([key]) => !key.startsWith('cf.'))
        .slice(0, metadataEntries),
    ),
  ),
)

/** US dollars, for a token or a request. */
const dollarsMax = 1_000_000
const price = z.number().check(z.minimum(0), z.maximum(dollarsMax))
/** US dollars: for each token, or for the request as a whole. */
const customCost = z.pipe(
  z.pipe(
    z.union([z.record(z.string(), z.unknown()), z.pipe(z.string(), z.transform(parseJson))]),
    z.object(
      {
        per_token_in: z.optional(price),
        per_token_out: z.optional(price),
        per_cache_read_token: z.optional(price),
        per_cache_write_token: z.optional(price),
        total_cost: z.optional(price),
      },
      'a JSON object of prices',
    ),
  ),
  z.transform((prices) =>
    Object.fromEntries(Object.entries(prices).filter(([, value]) => value !== undefined)),
  ),
)

/** The one table of settings: field ↔ header ↔ schema. Past this file nobody names a `cf-aig-*` setting. */
const controls = {
  requestTimeout: ['cf-aig-request-timeout', count(1, 3_600_000)],
  maxAttempts: ['cf-aig-max-attempts', count(1, 5)],
  retryDelay: ['cf-aig-retry-delay', count(0, 60_000)],
  backoff: ['cf-aig-backoff', z.enum(['constant', 'linear', 'exponential'])],
  onDisconnect: ['cf-aig-on-disconnect', z.enum(['stop', 'detach'])],
  collectLog: ['cf-aig-collect-log', flag],
  collectLogPayload: ['cf-aig-collect-log-payload', flag],
  compatLenient: ['cf-aig-compat-lenient', flag],
  skipCache: ['cf-aig-skip-cache', flag],
  cacheTtl: ['cf-aig-cache-ttl', z.union([count(0, 0), count(60, 2_678_400)], '0, or 60 to 2678400')],
  cacheKey: ['cf-aig-cache-key', z.string().check(z.minLength(1), z.maxLength(512))],
  cacheReplay: ['cf-aig-cache-replay', z.enum(['instant', 'spaced'])],
  byokAlias: ['cf-aig-byok-alias', z.string().check(z.minLength(1), z.maxLength(128))],
  noWholesale: ['cf-aig-no-wholesale', flag],
  metadata: ['cf-aig-metadata', metadata],
  customCost: ['cf-aig-custom-cost', customCost],
  eventId: [
    'cf-aig-event-id',
    z.string().check(z.regex(/^[\x21-\x7e]{1,256}$/, '1 to 256 visible ASCII characters')),
  ],
} as const satisfies Record<keyof Options, readonly [header: string, schema: z.ZodMiniType]>

const fields = Object.entries(controls) as [keyof Options, readonly [string, z.ZodMiniType]][]
/** Fields that a universal item's `config` object may set; the others belong to the request as a whole. */
const configFields = fields.filter(([field]) => field !== 'eventId' && field !== 'onDisconnect')

/**
 * Read settings from headers, by header name.
 * @throws GatewayError bad_request, naming the header
 */
export function readHeaders(headers: Headers): Options {
  return readFields(fields, ([, [header]]) => [header, headers.get(header) ?? headers.get(formerly(header))])
}

/** What two of them were called before (contract 5). */
const formerly = (header: string): string => header.replace(/^cf-aig-(?=skip-cache$|cache-ttl$)/, 'cf-')

/** Headers of settings that may hold for many requests, by both of their names. */
const lasting = new Set(
  fields.filter(([field]) => field !== 'eventId').flatMap(([, [header]]) => [header, formerly(header)]),
)

/** Whether a header, in small letters, is a setting that may hold for many requests. */
export const isLasting = (header: string): boolean => lasting.has(header)

/**
 * Read settings from the `config` object of a universal item, by field name. Other fields are left alone.
 * @throws GatewayError bad_request, naming the field
 */
export function readConfig(config: Readonly<Record<string, unknown>>): Options {
  return readFields(configFields, ([field]) => [
    `config.${field}`,
    Object.hasOwn(config, field) ? config[field] : null,
  ])
}

type Entry = (typeof fields)[number]

function readFields(
  entries: readonly Entry[],
  look: (entry: Entry) => [name: string, value: unknown],
): Options {
  const options: Record<string, unknown> = {}
  for (const entry of entries) {
    const [name, value] = look(entry)
    if (value === null || value === undefined) continue
    const parsed = entry[1][1].safeParse(value)
    if (!parsed.success) throw new GatewayError('bad_request', `${name}: ${parsed.error.issues[0]?.message}`)
    options[entry[0]] = parsed.data
  }
  return options
}
