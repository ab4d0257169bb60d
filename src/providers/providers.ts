import type { Env, ProviderSettings } from '../config.ts'
import type { Dialect } from '../dialects/dialect.ts'
import { GatewayError } from '../errors.ts'
import { Fields } from '../fields.ts'
import type { PriceSettings } from '../prices.ts'
import type { Runtime } from '../types.ts'
import { createAuthorize, credentialHeaders, type Places, placesOf, presentKey } from './auth.ts'
import type { Authorize, Authorized, Outgoing } from './outgoing.ts'
import { createResolve } from './paths.ts'
import { createRealtime, type Realtime } from './realtime.ts'
import { type Auth, bearer, type ProviderRow, type ProviderTable } from './row.ts'
import { sockets } from './sockets.ts'

/** A row at work. */
export interface Provider {
  readonly slug: string
  /** Headers in which a client may bring its own key for this provider; the first is the native one. */
  readonly credentialHeaders: readonly string[]
  /** What of the gateway's own is sent to it and must not be told: its stored key, and values of fixed headers. */
  readonly secrets: readonly string[]
  /** Whether it takes `stream_options.include_usage`. */
  readonly takesUsage: boolean
  /** Whether it must never be asked for the usage of a stream, as its settings say. */
  readonly refusesUsage: boolean
  /** Its book in the price list. */
  readonly book: string
  /** The operator's own prices. */
  readonly prices: readonly PriceSettings[]
  /**
   * Turn what stands behind the slug into the upstream URL; `search` is empty or has its question mark.
   * Never leaves the base URL.
   * @throws GatewayError bad_request
   */
  resolve(path: string, search: string, headers: Headers): URL
  /**
   * What to send: the client's own credential untouched if it brought one, else the given key, or the provider's own if
   * there is one, and the configured headers. Fresh for every try, as signatures expire.
   * @throws GatewayError, or the signal's reason
   */
  authorize(request: Outgoing, fetch: Runtime['fetch'], signal: AbortSignal): Promise<Authorized>
  /** Its own sockets. */
  readonly realtime: Realtime
  /** The slug of another, whose socket is dialled when this one's cannot be had. */
  readonly fallback: string | undefined
  /** The wire of a model's chat, if it has one. */
  dialectOf(model: string): Dialect | undefined
  /**
   * What stands before its dialect's paths, and what the address leaves of a model's name.
   * @throws GatewayError bad_request for a place that nobody named
   */
  place(model: string, asked: PlaceAsked): Promise<{ readonly prefix: string; readonly model: string }>
  /** Put a client's key where this provider looks for it. */
  present(headers: Headers, key: string): void
  /** @throws TypeError for a key that cannot be one of this provider; it is not quoted */
  assertKey(key: string): void
}

/** Who asks for the place of a model. */
export interface PlaceAsked {
  readonly headers: Headers
  /** Of the stored key to take. */
  readonly alias?: string | undefined
  /** The stored key, where it is not the provider's own. */
  readonly findKey?: () => Promise<string | undefined>
}

/** All providers, built-in and configured. */
export interface Providers {
  get(slug: string): Provider | undefined
  readonly slugs: readonly string[]
  /** Every header in which some provider takes a key: where a gateway token may come as well. */
  readonly credentialHeaders: readonly string[]
}

/** Providers of which some come and go. */
export interface LiveProviders extends Providers {
  /**
   * Custom providers made while running, by slug, in place of the earlier ones. They are found by their prefix only, so
   * that none stands in for a row. What has not changed is kept as it is; what makes no provider is reported.
   */
  replace(custom: Readonly<Record<string, ProviderSettings>>, report: Runtime['report']): void
}

/** Stored keys whose ways are held by one provider. */
const otherKeysMax = 1_000

/** Stands before the slug of a custom provider (contract 1.6). */
export const customPrefix = 'custom-'

/**
 * Build every row once. `custom-{slug}` finds a configured row of either spelling.
 * @throws TypeError for settings that make no provider; no secret is quoted
 */
export function createProviders(
  settings: Readonly<Record<string, ProviderSettings>>,
  env: Env,
  table: ProviderTable = { rows: {} },
): LiveProviders {
  const configured = new Map(Object.entries(settings))
  const common = Object.entries(table.rows).filter(([, row]) => !row.isLocal)
  const slugs = [...new Set([...common.map(([slug]) => slug), ...configured.keys()])]
  const providers = new Map(
    slugs.map((slug) => [slug, toProvider(slug, configured.get(slug) ?? {}, env, table)]),
  )
  for (const provider of providers.values()) assertFallback(provider, providers)
  const headers = [...providers.values()].flatMap((provider) => provider.credentialHeaders)
  let custom: ReadonlyMap<string, { readonly provider: Provider; readonly from: string }> = new Map()
  return {
    get(slug) {
      const bare = slug.startsWith(customPrefix) ? slug.slice(customPrefix.length) : ''
      const own = providers.get(slug) ?? (configured.has(bare) ? providers.get(bare) : undefined)
      return own ?? custom.get(slug)?.provider
    },
    slugs,
    credentialHeaders: [...new Set(headers)],
    replace(rows, report) {
      const made = new Map<string, { readonly provider: Provider; readonly from: string }>()
      for (const [bare, row] of Object.entries(rows)) {
        const slug = customPrefix + bare
        const from = JSON.stringify(row)
        const known = custom.get(slug)
        try {
          const provider = () => toProvider(slug, row, env, table)
          made.set(slug, known?.from === from ? known : { from, provider: provider() })
        } catch (error) {
          report('a custom provider cannot be used', error)
        }
      }
      custom = made
    },
  }
}

function assertFallback({ slug, fallback, realtime }: Provider, all: ReadonlyMap<string, Provider>): void {
  if (fallback === undefined) return
  const other = all.get(fallback)
  if (!other || other.realtime.dialect !== realtime.dialect)
    throw new TypeError(`providers.${slug}: realtime_fallback is no provider of the same dialect`)
}

function toProvider(slug: string, own: ProviderSettings, env: Env, table: ProviderTable): Provider {
  try {
    return createProvider(slug, rowOf(slug, own, table), own, env)
  } catch (error) {
    throw new TypeError(`providers.${slug}: ${error instanceof TypeError ? error.message : 'not usable'}`)
  }
}

function rowOf(slug: string, own: ProviderSettings, { rows, dialect: usual }: ProviderTable): ProviderRow {
  const builtIn = Object.hasOwn(rows, slug) ? rows[slug] : undefined
  const base_url = own.base_url ?? builtIn?.base_url
  if (!base_url) throw new TypeError('not in the table, so it needs a base_url')
  const dialect =
    own.dialect === undefined ? (builtIn ?? { dialect: usual }).dialect : findDialect(own.dialect, rows)
  return { ...builtIn, base_url, auth: authOf(builtIn?.auth ?? bearer, own), ...(dialect && { dialect }) }
}

const dialectsOf = ({ dialect, variants = [] }: ProviderRow): readonly Dialect[] => [
  ...(dialect ? [dialect] : []),
  ...variants.map(([, variant]) => variant),
]

function findDialect(name: string, rows: ProviderTable['rows']): Dialect {
  const known = Object.values(rows).flatMap(dialectsOf)
  const found = known.find((dialect) => dialect.name === name)
  if (found) return found
  throw new TypeError(`dialect: one of ${[...new Set(known.map((dialect) => dialect.name))].join(', ')}`)
}

function authOf(auth: Auth, { auth_header, auth_scheme }: ProviderSettings): Auth {
  const scheme = auth_scheme === undefined ? {} : { scheme: auth_scheme }
  if (auth_header !== undefined) return { kind: 'header', header: auth_header.toLowerCase(), ...scheme }
  return auth.kind === 'header' ? { ...auth, ...scheme } : auth
}

function createProvider(slug: string, row: ProviderRow, own: ProviderSettings, env: Env): Provider {
  const isOverridden = own.base_url !== undefined
  // A key found in the environment was meant for the row's own host, so it goes to no other.
  const key = own.api_key ?? (row.env && !isOverridden ? env[row.env] || undefined : undefined)
  const authorize = createAuthorize(row.auth, key)
  /** By stored key: tokens and signatures are held from call to call. */
  const others = new Map<string, Authorize>()
  const authorizeWith = (other: string): Authorize => {
    const made = others.get(other) ?? createAuthorize(row.auth, other)
    if (others.size >= otherKeysMax) others.clear()
    others.set(other, made)
    return made
  }
  const settled = new Map(own.account_id === undefined ? [] : [['account_id', own.account_id]])
  const resolve = createResolve({ base_url: row.base_url, isOverridden, paths: row.paths ?? [], settled })
  const fixed = Object.entries(own.headers ?? {})
  const { target, dialect, prefix = '' } = row
  const slots = credentialHeaders(row.auth)
  const socket = (Object.hasOwn(sockets, slug) && sockets[slug]) || {}

  return {
    slug,
    credentialHeaders: slots,
    secrets: [...(key === undefined ? [] : [key]), ...fixed.map(([, value]) => value)],
    takesUsage: own.stream_usage ?? row.stream_usage ?? false,
    refusesUsage: own.stream_usage === false,
    book: row.prices ?? slug,
    prices: own.prices ?? [],
    resolve(path, search, headers) {
      const named = target && headers.get(target.header)
      if (!named) return resolve(path, search)
      const url = checkTarget(named, target.hosts)
      return isOverridden ? resolve(url.pathname, url.search) : url
    },
    fallback: own.realtime_fallback,
    realtime: createRealtime({ row, socket, own, settled, credentialHeaders: slots }),
    assertKey: (other) => void createAuthorize(row.auth, other),
    async authorize(request, fetch, signal) {
      const headers = new Fields(request.headers)
      if (target) headers.delete(target.header)
      // Before a signature, which covers some of them.
      for (const [name, value] of fixed) headers.set(name, value)
      if (request.bringsKey) return { headers, body: request.body }
      const way = request.key === undefined ? authorize : authorizeWith(request.key)
      return way({ ...request, headers }, fetch, signal)
    },
    dialectOf: (model) => row.variants?.find(([pattern]) => pattern.test(model))?.[1] ?? dialect,
    async place(model, { headers, findKey }) {
      const isKeys = /\{\w+\}/.test(prefix)
      const stored = isKeys ? ((await findKey?.()) ?? key) : undefined
      return fillPrefix(prefix, model, isKeys ? placesOf(row.auth, headers, stored) : {})
    },
    present: (headers, value) => presentKey(row.auth, headers, value),
  }
}

function fillPrefix(template: string, model: string, places: Places): { prefix: string; model: string } {
  const rest = model.split('/')
  const prefix = template.replace(/\{(model:)?(\w+)\}/g, (_, isModels: string | undefined, name: string) => {
    const place = isModels ? rest.length > 1 && rest.shift() : places[name]
    if (!place) throw new GatewayError('bad_request', `This provider needs its ${name}`)
    return encodeURIComponent(place)
  })
  return { prefix, model: rest.join('/') }
}

/** @throws GatewayError bad_request for a target that is not on one of the provider's own hosts */
function checkTarget(named: string, hosts: readonly string[]): URL {
  const url = URL.parse(named)
  const isOwn = hosts.some((host) => url?.hostname === host || url?.hostname.endsWith(`.${host}`))
  if (!url || !isOwn || url.protocol !== 'https:' || url.port !== '' || url.username || url.password)
    throw new GatewayError('bad_request', 'The target URL is not on a host of this provider')
  url.hash = ''
  return url
}

/** @throws TypeError for settings that make no custom provider; no secret is quoted */
export function assertCustom(slug: string, settings: ProviderSettings): void {
  toProvider(customPrefix + slug, settings, {}, { rows: {} })
}
