import type { ProviderSettings } from '../config.ts'
import { GatewayError } from '../errors.ts'
import type { RealtimeDialect } from '../socket.ts'
import { presentKey } from './auth.ts'
import type { Outgoing } from './outgoing.ts'
import { createResolve } from './paths.ts'
import type { PathRule, ProviderRow } from './row.ts'
import type { SocketRow } from './sockets.ts'

/** How a provider's own sockets are reached. */
export interface Realtime {
  /** What its frames are, as far as they are understood. */
  readonly dialect: RealtimeDialect | undefined
  /** Parameters that hold credentials the provider made. */
  readonly passes: readonly string[]
  /** Subprotocols behind which its key stands as a subprotocol of its own; lower case. */
  readonly keyNames: readonly string[]
  /**
   * Move the client's key from the query, or from a subprotocol, to the header in which this provider takes one. A key
   * with a scheme comes as it goes into the header. @returns the query without it
   * @throws GatewayError bad_request for a key that no header can hold
   */
  takeKey(headers: Headers, search: string, key: string | undefined): string
  /** Turn what stands behind the slug into the URL to dial. @throws GatewayError bad_request */
  resolve(path: string, search: string): URL
  /** Bring the key of a request that is ready to be sent to where this provider wants it. */
  place(url: URL, headers: Headers): Pick<Outgoing, 'url' | 'headers'>
}

/** What makes one. */
export interface RealtimeParts {
  readonly row: ProviderRow
  readonly socket: SocketRow
  readonly own: ProviderSettings
  /** Placeholders that no path fills. */
  readonly settled: ReadonlyMap<string, string>
  /** Headers in which this provider takes a client's key, its own first. */
  readonly credentialHeaders: readonly [string, ...string[]]
}

/** Query parameters in which every provider's key may come. */
const keyParams = ['api_key']

/** @throws TypeError for an address that is none */
export function createRealtime(parts: RealtimeParts): Realtime {
  const { row, socket, credentialHeaders } = parts
  const { query, keyNames = [], passes = [], dialect, params = [] } = socket
  const [native] = credentialHeaders
  const places = [...keyParams, ...params, ...(query ? [query] : [])]
  return {
    dialect,
    passes,
    keyNames,
    takeKey(headers, search, key) {
      let rest = search
      let found = key
      for (const name of places) {
        const taken = takeParam(rest, name)
        rest = taken.rest
        found ??= taken.value
      }
      if (found === undefined || credentialHeaders.some((name) => headers.has(name))) return rest
      // Not by the runtime, whose fault would quote it. ASCII only, since they write the rest differently.
      if (!/^[\x20-\x7e]+$/.test(found))
        throw new GatewayError('bad_request', "The provider's key holds what no header may")
      if (/^\w+ /.test(found)) headers.set(native, found)
      else presentKey(row.auth, headers, found)
      return rest
    },
    resolve: createAddress(parts),
    place: (url, headers) => (query ? inQuery(url, headers, query, native) : { url, headers }),
  }
}

/** Addresses of upgrades: the operator's `realtime_url`, else his `base_url`, else the row's. */
function createAddress({ row, socket, own, settled }: RealtimeParts): Realtime['resolve'] {
  const given = own.realtime_url?.replace(/^ws/i, 'http') ?? own.base_url
  const paths = [...(socket.paths ?? []), ...(row.paths ?? [])]
  const resolve = createResolve({
    base_url: given ?? socket.base_url ?? row.base_url,
    isOverridden: given !== undefined,
    paths: own.realtime_url === undefined ? paths : toRoot(paths),
    settled,
  })
  return (path, search) => {
    const model = path === '' && socket.model ? takeParam(search, 'model') : undefined
    const url = model?.value
      ? resolve(socket.model!.replace('{model}', model.value), model.rest)
      : resolve(path, search)
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:'
    return url
  }
}

/** With an address of its own, every spelling of the row's default endpoint means just that address. */
function toRoot(paths: readonly PathRule[]): readonly PathRule[] {
  const home = paths.find(({ from }) => from === '')?.to
  if (home === undefined) return paths
  const prefixed = paths.filter(({ to }) => to === '{rest}').map(({ from }) => from.replace('{rest}', home))
  return [...['', home, ...prefixed].map((from) => ({ from, to: '' })), ...paths]
}

function inQuery(
  url: URL,
  headers: Headers,
  name: string,
  header: string,
): Pick<Outgoing, 'url' | 'headers'> {
  const key = headers.get(header)
  if (key === null) return { url, headers }
  headers.delete(header)
  const keyed = new URL(url)
  keyed.search += `${keyed.search ? '&' : '?'}${name}=${encodeURIComponent(key)}`
  return { url: keyed, headers }
}

/** One parameter of a query, and the rest of it as it was written. */
export function takeParam(search: string, name: string): { value: string | undefined; rest: string } {
  const value = new URLSearchParams(search).get(name) ?? undefined
  if (value === undefined) return { value, rest: search }
  const kept = search
    .slice(1)
    .split('&')
    .filter((pair) => !new URLSearchParams(pair).has(name))
  return { value, rest: kept.length > 0 ? `?${kept.join('&')}` : '' }
}
