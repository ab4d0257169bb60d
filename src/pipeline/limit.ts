import { GatewayError } from '../errors.ts'
import type { Claim, Counters, Standing } from '../store/counters.ts'
import type { Call, RateSettings, Stage } from '../types.ts'

/** The window of a rate limit, as a claim on it. */
type Window = Pick<Claim, 'windowMs' | 'technique'>

/** A claim, and the name its client is told. */
export interface Limit extends Claim {
  readonly name: string
}

/** Requests of the gateway, and of the token, within their windows; counted before anything is sent. */
export function createLimit(gateway: string, rates: RateSettings, counters: Counters): Stage {
  return async (call, next) => {
    const headers = await countRequest({ gateway, rates, counters }, call)
    const result = await next(call)
    return headers ? { ...result, headers: { ...headers, ...result.headers } } : result
  }
}

/**
 * Count one request of a call.
 * @returns how its limits stand, as headers; undefined without any
 * @throws GatewayError too_many_requests
 */
export async function countRequest(
  { gateway, rates, counters }: { gateway: string; rates: RateSettings; counters: Counters },
  call: Call,
): Promise<Readonly<Record<string, string>> | undefined> {
  const limits = scopesOf(gateway, rates, call).flatMap(({ name, key, own }): Limit[] => {
    const window = windowOf(own)
    const limit = own.rate_limiting_limit
    return window && limit
      ? [{ ...window, name, key: `requests ${key} ${toName(window)}`, limit, amount: 1 }]
      : []
  })
  return limits.length === 0 ? undefined : (await admit(gateway, limits, counters)).headers
}

/** Whose limits bear on a call. */
export function scopesOf(
  gateway: string,
  rates: RateSettings,
  { principal }: Pick<Call, 'principal'>,
): { name: string; key: string; own: RateSettings }[] {
  const { rates: own, grant } = principal
  // What a token has made counts as its own.
  const credential = grant?.parent ?? principal.credential
  return [
    { name: 'gateway', key: gateway, own: rates },
    ...(own && credential ? [{ name: 'token', key: `${gateway} ${credential}`, own }] : []),
  ]
}

/** A window in the name of a counter, since what was counted within another one says nothing of it. */
export const toName = ({ windowMs, technique }: Window): string => `${technique} ${windowMs}`

/** The window of a rate limit; undefined where there is none. */
export function windowOf({
  rate_limiting_interval,
  rate_limiting_technique,
}: RateSettings): Window | undefined {
  if (!rate_limiting_interval) return undefined
  return { windowMs: rate_limiting_interval * 1_000, technique: rate_limiting_technique ?? 'fixed' }
}

/**
 * Count a request against its limits.
 * @returns when it was counted, in ms since the epoch, and how the limits stand, as headers
 * @throws GatewayError too_many_requests, once one of them is reached
 */
export async function admit(
  gateway: string,
  limits: readonly Limit[],
  counters: Counters,
): Promise<{ at: number; headers: Readonly<Record<string, string>> }> {
  const at = Date.now()
  const { refused, standings } = await counters.take(
    gateway,
    limits.map(({ name: _, ...claim }) => claim),
  )
  const headers = toHeaders(limits, standings)
  if (refused === undefined) return { at, headers }
  const seconds = String(Math.ceil((standings[refused]?.resetMs ?? 0) / 1_000))
  throw new GatewayError('too_many_requests', `The limit of the ${limits[refused]?.name} is reached`, {
    headers: { ...headers, 'retry-after': seconds },
  })
}

/** `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10): whole numbers, and seconds. */
function toHeaders(limits: readonly Limit[], standings: readonly Standing[]): Record<string, string> {
  const quote = (name: string) => JSON.stringify(name.replace(/[^\x20-\x7e]/g, '?'))
  const policies = limits.map(
    ({ name, limit, windowMs }) => `${quote(name)};q=${Math.floor(limit)};w=${windowMs / 1_000}`,
  )
  const states = limits.map(({ name }, index) => {
    const { remaining = 0, resetMs = 0 } = standings[index] ?? {}
    return `${quote(name)};r=${Math.floor(remaining)};t=${Math.ceil(resetMs / 1_000)}`
  })
  return { 'ratelimit-policy': policies.join(', '), ratelimit: states.join(', ') }
}
