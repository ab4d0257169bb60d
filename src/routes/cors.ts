import { GatewayError } from '../errors.ts'
import { isLoopback } from '../loopback.ts'
import type { PlainRequest, PlainResponse } from '../plain.ts'
import type { Room } from './context.ts'

const preflightSeconds = 600

/** Whether pages of this origin may use the gateway. */
export function isAllowed(origin: string, room: Room): boolean {
  const { cors_origins: origins } = room.settings
  return origins.includes('*') || origins.includes(origin)
}

/**
 * A page can bind its own name to a loopback address, and is then of the gateway's own origin, with no `Origin` to tell
 * it by. So a gateway without tokens that only its machine can reach answers to the machine's names alone.
 * @throws GatewayError forbidden
 */
export function assertHost({ url }: Pick<Request, 'url'>, { gate }: Room): void {
  if (!gate.isLocal || gate.required || isLoopback(new URL(url).hostname)) return
  throw new GatewayError('forbidden', 'Without tokens this gateway answers to localhost and 127.0.0.1 alone')
}

/**
 * A gateway without tokens would run whatever a page in its user's browser posts to it, so there a foreign
 * `Origin` is refused; one with tokens is guarded by them, and by what the browser lets pages read.
 * @throws GatewayError forbidden
 */
export function assertOrigin(headers: Headers, room: Room): void {
  const origin = headers.get('origin')
  if (origin === null || room.gate.required || isAllowed(origin, room)) return
  throw new GatewayError('forbidden', 'Pages of this origin may not use this gateway (cors_origins)')
}

/** The answer to a preflight (Fetch standard, "CORS-preflight request"), or undefined for any other request. */
export function preflight(request: PlainRequest, room: Room): Response | undefined {
  const origin = request.headers.get('origin')
  if (request.method !== 'OPTIONS' || origin === null) return undefined
  if (!request.headers.has('access-control-request-method')) return undefined
  if (!isAllowed(origin, room)) throw new GatewayError('forbidden', 'Origin not in cors_origins')
  const headers = new Headers({
    'access-control-allow-methods': request.headers.get('access-control-request-method') ?? '',
    'access-control-allow-headers': request.headers.get('access-control-request-headers') ?? '',
    'access-control-max-age': String(preflightSeconds),
  })
  return new Response(null, { status: 204, headers })
}

/** Let pages of an allowed origin read a response, the gateway's own headers included. */
export function share(response: PlainResponse, request: PlainRequest, room: Room): PlainResponse {
  const origin = request.headers.get('origin')
  if (origin === null) return response
  response.headers.append('vary', 'origin')
  if (!isAllowed(origin, room)) return response
  response.headers.set('access-control-allow-origin', origin)
  response.headers.set('access-control-expose-headers', '*, retry-after')
  return response
}
