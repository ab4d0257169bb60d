import { isLasting, readHeaders } from '../controls.ts'
import { GatewayError, toGatewayError } from '../errors.ts'
import { Fields } from '../fields.ts'
import { newId } from '../ids.ts'
import { limits } from '../limits.ts'
import type { Home } from '../runs/home.ts'
import type { SessionState } from '../runs/run.ts'
import { isSame, type Owner } from '../runs/terms.ts'
import type { Defaults, Host, Session, SessionInit } from '../session/host.ts'
import { holdSession, openSession } from '../session/server.ts'
import type { Socket } from '../socket.ts'
import type { Options } from '../types.ts'
import { takeToken, toPrincipal } from './authenticate.ts'
import type { Asking, Room } from './context.ts'
import { fromItem } from './headers.ts'
import { responseHeaders, toReply } from './respond.ts'
import { toUniversalCall } from './universal.ts'
import { assertSelectable, readUpgrade, type SessionStart, type Upgrade } from './upgrade.ts'

/** Decide on an upgrade. @throws GatewayError, to be answered before upgrading */
export async function grantUpgrade({ request, requestId, room, home }: Asking): Promise<Upgrade> {
  if (home.isDraining) throw new GatewayError('draining')
  const { headers, offer } = readUpgrade(request, room)
  const origin = headers.get('origin')
  const token = await takeToken(headers, room.gate)
  toPrincipal(token, room.gate)
  assertSelectable(offer)
  readHeaders(headers) // refused here, if they are wrong
  const owner = { gateway: room.settings.id, credential: token?.digest ?? null }
  const wire = offer.selected === 'trunkline.v1' ? 'trunkline.v1' : 'base'
  const asked = wire === 'trunkline.v1' ? findSession(request, owner, home) : undefined
  return {
    ...(offer.selected !== undefined && { protocol: offer.selected }),
    headers: { [responseHeaders.requestId]: requestId },
    start: {
      ...owner,
      ...(token?.grant && { grant: token.grant }),
      ...(origin !== null && { origin }),
      defaults: settingsOf(headers),
      id: home.newSessionId(owner),
      wire,
      ...asked,
    },
  }
}

/**
 * The session a client wants to take up again, if it is held and his.
 * @throws GatewayError bad_request; conflict for a connection that a later one has replaced
 */
function findSession(
  request: Pick<Request, 'url'>,
  owner: Owner,
  home: Home,
): Pick<SessionStart, 'id' | 'attempt'> | undefined {
  const { searchParams } = new URL(request.url)
  const [id, count] = [searchParams.get('session'), searchParams.get('attempt')]
  if (count !== null && !/^\d{1,15}$/.test(count))
    throw new GatewayError('bad_request', 'attempt: a whole number')
  const held = id === null ? undefined : home.session(id)
  if (id === null || !held || !isSame(held.owner, owner)) return undefined
  if (count === null) return { id }
  if (Number(count) < held.attempt) throw new GatewayError('conflict', 'A later connection has this session')
  return { id, attempt: Number(count) }
}

/** Finds the gateway of a session, as it is by then. @throws GatewayError unknown_gateway */
export type FindRoom = () => Promise<Room>

/** Serve a socket whose upgrade was granted. Settings were checked then; the token is checked for each request. */
export function serveSocket(socket: Socket, start: SessionStart, find: FindRoom, home: Home): Session {
  return openSession(socket, toInit(start), home, hostOf(start, find, home))
}

/** Hold a session whose memory is gone, and whose socket and runs may be. */
export function keepSession(start: SessionStart, find: FindRoom, home: Home, kept: SessionState): void {
  holdSession(toInit(start), home, hostOf(start, find, home), kept)
}

const toInit = ({ gateway, credential, grant: _, origin: __, ...init }: SessionStart): SessionInit => ({
  ...init,
  owner: { gateway, credential },
})

function hostOf(start: SessionStart, find: FindRoom, home: Home): Host {
  const { gateway, credential, grant, origin = null } = start
  const tokenIn = async ({ gate: { tokens } }: Room) => {
    if (credential === null) return undefined
    return grant ? tokens.renew(grant, credential) : tokens.get(credential)
  }
  return {
    async start({ request, eventId, runId, wire, defaults }, signal) {
      const requestId = newId()
      try {
        const room = await find()
        const options = readDefaults(defaults)
        const token = await tokenIn(room)
        const asker = { requestId, eventId, token, origin, options, wire, signal }
        const asked = await toUniversalCall(request, asker, room)
        const call = { ...asked, ...(runId !== undefined && { runId }), ...home.sharing }
        return toReply(call, await room.run(call))
      } catch (error) {
        const { code, message, detail } = toGatewayError(error)
        throw new GatewayError(code, message, { ...detail, requestId })
      }
    },
    toDefaults(wanted) {
      const defaults = settingsOf(Object.entries(wanted))
      const length = Object.entries(defaults).flat().join('').length
      if (length > limits.defaultsLength) throw new GatewayError('bad_request', 'headers: too long')
      readHeaders(fromItem(defaults))
      return defaults
    },
    async isWelcome() {
      const room = await find().catch(() => undefined) // the gateway is gone
      if (!room) return false
      return !room.gate.required || (await tokenIn(room))?.opens(gateway) === true
    },
  }
}

const readDefaults = (defaults: Defaults): Options => readHeaders(new Fields(Object.entries(defaults)))

/** The settings among headers, as they came; anything else is dropped. */
const settingsOf = (headers: Iterable<[name: string, value: string]>): Defaults =>
  Object.fromEntries([...headers].filter(([name]) => isLasting(name)))
