import { GatewayError } from '../errors.ts'
import type { Defaults, Session } from '../session/host.ts'
import type { Wire } from '../session/messages.ts'
import type { Socket } from '../socket.ts'
import type { Grant } from '../types.ts'
import { type Offer, readOffer } from './authenticate.ts'
import type { Room } from './context.ts'
import { assertHost, isAllowed } from './cors.ts'

/** What a session is begun from, and begun again from after a hibernation. Plain JSON, free of secrets. */
export interface SessionStart {
  readonly gateway: string
  /** SHA-256 of the gateway token in hex, or null. */
  readonly credential: string | null
  /** Of a session token. */
  readonly grant?: Grant
  /** Of the page that opened the socket. */
  readonly origin?: string
  /** `cf-aig-*` headers of the connection, credentials excepted. */
  readonly defaults: Defaults
  /** The session's, which may be there already. */
  readonly id: string
  readonly wire: Wire
  /** Of the connection, where the client counts them (PROTOCOL.md, "Connecting again"). */
  readonly attempt?: number
  /** The socket was open all along, and only the memory around it is new. */
  readonly isAwake?: boolean
}

/** A session with a provider of its own, begun already. Not to be kept. */
export interface RelayStart {
  serve(socket: Socket): Session
}

/** An upgrade that was granted. */
export interface Upgrade {
  /** Subprotocol to select. */
  readonly protocol?: string
  /** Headers for the 101. */
  readonly headers: Readonly<Record<string, string>>
  readonly start: SessionStart | RelayStart
}

/**
 * What an upgrade shows of its caller, and which pages may ask for one.
 * @throws GatewayError forbidden for a host or a page of an origin that is not listed
 */
export function readUpgrade(
  request: Pick<Request, 'url' | 'headers'>,
  room: Room,
  keyNames: readonly string[] = [],
): { headers: Headers; offer: Offer } {
  assertHost(request, room)
  const headers = new Headers(request.headers)
  const origin = headers.get('origin')
  if (origin !== null && !isAllowed(origin, room))
    throw new GatewayError('forbidden', 'Origin not in cors_origins')
  const offer = readOffer(headers.get('sec-websocket-protocol'), keyNames)
  if (offer.token !== undefined && !headers.has('cf-aig-authorization'))
    headers.set('cf-aig-authorization', offer.token)
  return { headers, offer }
}

/** @throws GatewayError bad_request for what is no list of names, and where browsers would fail for want of a selection */
export function assertSelectable({ offered, selected, isLegal }: Offer): void {
  if (!isLegal) throw new GatewayError('bad_request', 'The subprotocols are no list of different names')
  if (offered && selected === undefined)
    throw new GatewayError('bad_request', 'None of the offered subprotocols can be selected')
}
