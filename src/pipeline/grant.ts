import { GatewayError } from '../errors.ts'
import { textOf } from '../observe/estimate.ts'
import { modelsInText, modelsInUrl } from '../observe/model.ts'
import type { Frame, RealtimeDialect } from '../socket.ts'
import type { Counters } from '../store/counters.ts'
import type { Call, Grant, Stage, Step } from '../types.ts'
import { fits } from '../wildcard.ts'
import { admit, type Limit } from './limit.ts'

/** Longer than a session token lives, so that what it has used up never comes back. */
const windowMs = 7_200_000

/** A limit of what a session token may use up while it lives. */
export const grantLimit = (
  { id }: Grant,
  what: 'requests' | 'cost',
  limit: number,
  amount: number,
): Limit => ({
  name: `session token's ${what}`,
  key: `session ${id} ${what}`,
  limit,
  amount,
  windowMs,
  technique: 'sliding',
})

/** Holds each call of a session token against what the token is for, and counts it. */
export function createGrantStage(counters: Counters): Stage {
  return async (call, next) => {
    for (const step of call.steps) assertGranted(call, step, false)
    await countGranted(call, counters)
    return next(call)
  }
}

/** @throws GatewayError too_many_requests, once the token's requests are used up */
export async function countGranted(
  { gateway, principal: { grant } }: Call,
  counters: Counters,
): Promise<void> {
  if (grant?.requests === undefined) return
  await admit(gateway, [grantLimit(grant, 'requests', grant.requests, 1)], counters)
}

/**
 * @param namesLater whether the model may also be named by what follows, and is looked for there
 * @throws GatewayError forbidden, with what the token is not for
 */
export function assertGranted({ principal: { grant } }: Call, step: Step, namesLater: boolean): void {
  if (!grant) return
  const { provider } = step
  if (grant.providers && !grant.providers.includes(provider)) refuse(`the provider ${provider}`)
  const path = decodeURIComponent(step.url.pathname)
  if (grant.endpoints && !grant.endpoints.some((endpoint) => fits(path, ['', ...`/${endpoint}`.split('*')])))
    refuse('this endpoint')
  if (!grant.models) return
  const named = [...modelsInUrl(path, step.url.searchParams), ...modelsInBody(step)]
  if (named.length === 0 && !namesLater)
    throw new GatewayError('forbidden', 'The session token is for some models, and the request names none')
  const other = named.find((model) => !isGranted(grant, provider, model))
  if (other !== undefined) refuse(`the model ${other}`)
}

/** A body of another type may say two things at once: as JSON, and as what its provider takes it for. */
const plainType = /^(application\/([\w.-]+\+)?json|text\/plain)?$/

/** @throws GatewayError forbidden for a body that is no plain JSON */
function modelsInBody({ body, headers }: Step): string[] {
  const text = textOf({ body })
  if (body === null || text === '') return []
  const [type = ''] = (headers.get('content-type') ?? '').toLowerCase().split(';')
  const isPlain =
    plainType.test(type.trim()) && (headers.get('content-encoding') ?? 'identity') === 'identity'
  const named = isPlain && text !== null ? modelsInText(text) : undefined
  if (named) return named
  throw new GatewayError('forbidden', 'The session token is for some models, and the body is not plain JSON')
}

/** Looks at what a client sends in a session, whose frames may name models; tells why one may not pass. Never throws. */
export function createFrameGuard(
  { principal: { grant } }: Call,
  provider: string,
  dialect: RealtimeDialect | undefined,
): ((frame: Frame) => string | undefined) | undefined {
  if (!grant?.models) return undefined
  const look = (frame: Frame): string | undefined => {
    const models = modelsInText(typeof frame === 'string' ? frame : new TextDecoder().decode(frame))
    // Bytes are sound, but with Google; and JSON as well, where a provider may take it from them.
    if (!models && typeof frame !== 'string' && dialect !== 'gemini') return undefined
    if (!models) return 'The session token is for some models, and the frame is not JSON'
    const other = models.find((model) => !isGranted(grant, provider, model))
    return other === undefined ? undefined : `The session token is not for the model ${other}`
  }
  return (frame) => {
    try {
      return look(frame)
    } catch {
      return 'The session token is for some models, and the frame cannot be looked into'
    }
  }
}

function refuse(what: string): never {
  throw new GatewayError('forbidden', `The session token is not for ${what.slice(0, 200)}`)
}

/** With and without the provider before it, as the unified API writes it. */
const isGranted = ({ models = [] }: Grant, provider: string, model: string): boolean =>
  models.some((pattern) => [model, `${provider}/${model}`].some((name) => fits(name, pattern.split('*'))))
