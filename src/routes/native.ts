import { readHeaders } from '../controls.ts'
import { GatewayError } from '../errors.ts'
import { Fields } from '../fields.ts'
import { limits } from '../limits.ts'
import type { PlainRequest } from '../plain.ts'
import { readBytes, toStream } from '../streams.ts'
import type { Call, Grant, Step } from '../types.ts'
import { takeToken, toPrincipal } from './authenticate.ts'
import type { Room } from './context.ts'
import { forwardable } from './headers.ts'
import type { Target } from './target.ts'

/**
 * Any method on `/v1/{account}/{gateway}/{provider}/…`: the same request, to the provider. The body is not looked at.
 * @throws GatewayError
 */
export async function readNative(
  request: PlainRequest,
  target: Target,
  requestId: string,
  room: Room,
): Promise<Call> {
  const given = new Fields(request.headers)
  const principal = toPrincipal(await takeToken(given, room.gate), room.gate)
  const provider = room.providers.get(target.slug)
  if (!provider) throw new GatewayError('invalid_provider', `Invalid provider: ${target.slug.slice(0, 80)}`)
  const options = { ...room.defaults, ...readHeaders(given) }
  const url = provider.resolve(target.path, target.search, given)
  const body = await readBody(request, options.maxAttempts ?? 1, principal.grant)
  const headers = forwardable(given)
  const length = given.get('content-length')
  if (length !== null && body instanceof ReadableStream) headers.set('content-length', length) // or it would be chunked
  const step: Step = {
    provider: target.slug,
    method: request.method,
    url,
    headers,
    body,
    options,
  }
  const eventId = options.eventId ?? requestId
  const { onDisconnect = 'stop' } = options
  const { signal } = request
  return { requestId, eventId, gateway: room.settings.id, principal, steps: [step], onDisconnect, signal }
}

/** JSON, and as what curl, browsers and others send a text whose type nobody said. */
const texts = /^(application\/json\b|application\/x-www-form-urlencoded\b|text\/plain\b|$)/i

/**
 * A body goes through as it comes, unless it says that it is small, and must be kept for a retry or is a text that
 * recording, caching and limits look into; or a session token is for some models, and it has to tell which it names.
 */
async function readBody(
  { method, headers, body, signal }: PlainRequest,
  attempts: number,
  grant: Grant | undefined,
): Promise<Step['body']> {
  if (method === 'GET' || method === 'HEAD' || !body) return null
  if (grant?.models) return readBytes(body, limits.bodyBytes, signal)
  const length = Number(headers.get('content-length') ?? Number.POSITIVE_INFINITY)
  const isWanted = attempts > 1 || texts.test(headers.get('content-type') ?? '')
  return isWanted && length <= limits.replayBytes
    ? readBytes(body, limits.replayBytes, signal)
    : toStream(body)
}
