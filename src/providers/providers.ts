import type { Env, ProviderSettings } from '../config.ts'
import { GatewayError } from '../errors.ts'
import type { Runtime } from '../types.ts'
import { type Authorized, createAuthorize, credentialHeaders, type Outgoing } from './auth.ts'
import { checkPath, compileRules, matchRule, toUrl, type Variables } from './paths.ts'
import { type Auth, type ProviderRow, table } from './table.ts'

/** A row at work. */
export interface Provider {
  /**
   * Turn what stands behind the slug into the upstream URL. Never leaves the base URL.
   * @throws GatewayError bad_request
   */
  resolve(path: string, search: string, headers: Headers): URL
  /**
   * What to send: the client's own credential untouched if it brought one, else the stored key if there is one,
   * and the row's fixed headers. Fresh for every try, as signatures expire.
   * @throws GatewayError
   */
  authorize(step: Outgoing, fetch: Runtime['fetch'], signal: AbortSignal): Promise<Authorized>
}

/** All providers, built-in and configured. */
export interface Providers {
  get(slug: string): Provider | undefined
  /** Every header in which some provider takes a key: where a gateway token may come as well. */
  readonly credentialHeaders: readonly string[]
}

const bearer: Auth = { kind: 'header', header: 'authorization', scheme: 'Bearer' }

/** Build every row once. `custom-{slug}` finds a configured row of either spelling (contract 1.6). */
export function createProviders(settings: Readonly<Record<string, ProviderSettings>>, env: Env): Providers {
  const providers = new Map<string, Provider>()
  const slots = new Set<string>()
  const add = (slug: string, row: ProviderRow, own: ProviderSettings): void => {
    const auth = toAuth(row.auth, own)
    for (const header of credentialHeaders(auth)) slots.add(header)
    providers.set(slug, createProvider({ ...row, auth }, own, env))
  }
  for (const [slug, row] of Object.entries(table))
    add(slug, row, (Object.hasOwn(settings, slug) && settings[slug]) || {})
  for (const [slug, own] of Object.entries(settings)) {
    if (!Object.hasOwn(table, slug)) {
      if (!own.base_url) throw new TypeError(`providers.${slug}: not in the table, so it needs a base_url`)
      add(slug, { base_url: own.base_url, auth: bearer }, own)
    }
    const found = providers.get(slug)
    if (found && !slug.startsWith('custom-')) providers.set(`custom-${slug}`, found)
  }
  return { get: (slug) => providers.get(slug), credentialHeaders: [...slots] }
}

function toAuth(auth: Auth, { auth_header, auth_scheme }: ProviderSettings): Auth {
  if (auth_header !== undefined) {
    return { kind: 'header', header: auth_header.toLowerCase(), ...(auth_scheme && { scheme: auth_scheme }) }
  }
  return auth.kind === 'header' && auth_scheme !== undefined ? { ...auth, scheme: auth_scheme } : auth
}

function createProvider(row: ProviderRow, own: ProviderSettings, env: Env): Provider {
  const base = own.base_url ?? row.base_url
  const isOverridden = own.base_url !== undefined
  // A key found in the environment was meant for the row's own host, so it goes to no other.
  const key = own.api_key ?? (isOverridden || !row.env ? undefined : env[row.env] || undefined)
  const authorize = createAuthorize(row.auth, key)
  const rules = compileRules(row.paths ?? [], base, isOverridden)
  const fixed = Object.entries(own.headers ?? {})
  const settled: Variables = own.account_id === undefined ? {} : { account_id: own.account_id }

  return {
    resolve(path, search, headers) {
      if (row.target && !isOverridden) {
        const named = headers.get(row.target.header)
        headers.delete(row.target.header)
        if (named !== null) return toNamedTarget(named, row.target.hosts)
      }
      const safe = checkPath(path, search)
      const match = matchRule(rules, safe)
      if (!match) return toUrl(base, '{rest}', search, { ...settled, rest: safe })
      return toUrl(match.rule.base_url, match.rule.to, search, { ...settled, ...match.variables })
    },
    async authorize(step, fetch, signal) {
      const service = rules.find(
        (rule) => rule.service && step.url.hostname.startsWith(`${rule.from[0]}.`),
      )?.service
      const authorized = await authorize(step, service, fetch, signal)
      for (const [name, value] of fixed) authorized.headers.set(name, value)
      return authorized
    },
  }
}

/** @throws GatewayError bad_request for a target that is not one of the provider's own hosts */
function toNamedTarget(named: string, hosts: RegExp): URL {
  const url = URL.parse(named)
  const isOwn =
    url?.protocol === 'https:' && url.port === '' && url.username === '' && hosts.test(url.hostname)
  if (!isOwn) throw new GatewayError('bad_request', 'The target is not a host of this provider')
  return url
}
