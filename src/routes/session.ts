import { readHeaders } from '../controls.ts'
import { GatewayError } from '../errors.ts'
import { newId } from '../ids.ts'
import type { Reply } from '../session/deliver.ts'
import { type Session, serveSession } from '../session/server.ts'
import type { Result, Socket } from '../types.ts'
import { readOffer, takeToken, toPrincipal } from './authenticate.ts'
import type { Room } from './context.ts'
import { isAllowed } from './cors.ts'
import { responseHeaders } from './respond.ts'
import { toUniversalCall } from './universal.ts'

/** What a session is begun from, and begun again from after a hibernation. Plain JSON, free of secrets. */
export interface SessionStart {
  readonly gateway: string
  /** SHA-256 of the gateway token in hex, or null. */
  readonly credential: string | null
  /** `cf-aig-*` headers of the connection, credentials excepted. */
  readonly defaults: Readonly<Record<string, string>>
}

/** An upgrade that was granted. */
export interface Upgrade {
  /** Subprotocol to select. */
  readonly protocol?: string
  /** Headers for the 101. */
  readonly headers: Readonly<Record<string, string>>
  readonly session: SessionStart
}

/** Decide on an upgrade. @throws GatewayError, to be answered before upgrading */
export async function grantUpgrade(request: Request, requestId: string, room: Room): Promise<Upgrade> {
  const headers = new Headers(request.headers)
  const origin = headers.get('origin')
  if (origin !== null && !isAllowed(origin, room))
    throw new GatewayError('forbidden', 'Origin not in cors_origins')
  const offer = readOffer(headers.get('sec-websocket-protocol'))
  if (offer.token !== undefined && !headers.has('cf-aig-authorization'))
    headers.set('cf-aig-authorization', offer.token)
  const token = await takeToken(headers, room.gate)
  toPrincipal(token, room.gate)
  if (offer.offered && offer.selected === undefined) {
    throw new GatewayError('bad_request', 'None of the offered subprotocols can be selected')
  }
  const { eventId: _, ...options } = readHeaders(headers)
  return {
    ...(offer.selected !== undefined && { protocol: offer.selected }),
    headers: { [responseHeaders.requestId]: requestId },
    session: {
      gateway: room.settings.id,
      credential: token?.digest ?? null,
      defaults: settingsOf(headers, options),
    },
  }
}

/** Serve a socket whose upgrade was granted. Settings were checked then; the token is checked for each request. */
export function openSession(socket: Socket, start: SessionStart, room: Room): Session {
  const options = readHeaders(new Headers(start.defaults))
  return serveSession(socket, async (request, eventId, signal) => {
    const token = start.credential === null ? undefined : await room.gate.tokens.get(start.credential)
    const call = await toUniversalCall(request, { requestId: newId(), eventId, token, options, signal }, room)
    return toReply(eventId, await room.run(call))
  })
}

function toReply(eventId: string, { response, step, cacheStatus }: Result): Reply {
  return {
    metadata: { cacheStatus, eventId, step: String(step), status: response.status },
    contentType: response.headers.get('content-type') ?? '',
    body: response.body,
  }
}

/** The connection's settings as they came; the credential has been taken out, anything else is dropped. */
function settingsOf(headers: Headers, options: object): Record<string, string> {
  if (Object.keys(options).length === 0) return {}
  return Object.fromEntries(
    [...headers].filter(([name]) => name.startsWith('cf-aig-') && name !== 'cf-aig-event-id'),
  )
}
