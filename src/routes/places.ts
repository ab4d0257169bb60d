import { readHeaders } from '../controls.ts'
import { GatewayError } from '../errors.ts'
import { sha256 } from '../hash.ts'
import { newId } from '../ids.ts'
import { limits } from '../limits.ts'
import { readBytes } from '../streams.ts'
import { takeToken, toPrincipal } from './authenticate.ts'
import type { Room } from './context.ts'
import { readUniversal } from './universal.ts'

/** Where each session has a home of its own: a request without an upgrade, and where it is to be made. */
export interface Place {
  /** The same request; its body may have been held. */
  readonly request: Request
  /** Id of the home; absent for a request that needs none. */
  readonly home?: string
}

type Bytes = Uint8Array<ArrayBuffer>

/** The home's part of a run's id. */
const runPath = /^\/v1\/[^/]+\/[^/]+\/run\/([0-9a-f-]{36})-/
const universalPath = /^\/v1\/[^/]+\/[^/]+\/?$/
/** In a body, where a first item may say it. */
const detaching = /cf-aig-on-disconnect/i

/**
 * The home of a request: that of the run it names, a new one for a run that it starts, or the one in which those that
 * ask the same meet. None for one that is refused, which is done where it is answered: no stranger wakes a home.
 * @throws GatewayError too_large, client_closed
 */
export async function placeOf(request: Request, room: Room): Promise<Place> {
  const body = await hold(request, room)
  const again = body ? new Request(request, { body }) : request
  try {
    const home = await homeOf(request, body, room)
    return { request: again, ...(home !== undefined && { home }) }
  } catch (error) {
    if (error instanceof GatewayError) return { request: again }
    throw error
  }
}

async function homeOf(request: Request, body: Bytes | undefined, room: Room): Promise<string | undefined> {
  const { headers, url } = request
  const named = runPath.exec(new URL(url).pathname)?.[1]
  if (named !== undefined) {
    await assertWelcome(headers, room)
    return named
  }
  const meets = isShared(request, room) && (!request.body || (body && body.byteLength <= limits.replayBytes))
  const isUniversal = body && isUniversalPost(request)
  const mayDetach = isDetached(headers) || (isUniversal && detaching.test(new TextDecoder().decode(body)))
  if (!meets && !mayDetach) return undefined
  if (isUniversal) {
    const call = await readUniversal(new Request(request, { body }), newId(), room)
    if (call.onDisconnect === 'detach') return newId()
  } else {
    await assertWelcome(headers, room)
    if (isDetached(headers)) return newId()
  }
  return meets ? meetingOf(request, body) : undefined
}

const isUniversalPost = ({ method, url }: Request): boolean =>
  method === 'POST' && universalPath.test(new URL(url).pathname)

const isDetached = (headers: Headers): boolean => readHeaders(headers).onDisconnect === 'detach'

/** @throws GatewayError unauthorized */
async function assertWelcome(headers: Headers, room: Room): Promise<void> {
  toPrincipal(await takeToken(new Headers(headers), room.gate), room.gate)
}

/** Whether a request may be answered with the answer of others. */
function isShared({ method, headers }: Request, room: Room): boolean {
  const { skipCache, cacheTtl, cacheKey } = readHeaders(headers)
  const isCached = cacheTtl ?? (cacheKey === undefined ? room.settings.cache_ttl : 1)
  return Boolean(isCached) && !skipCache && /^(GET|POST)$/.test(method)
}

/** The body, where it says what home it wants; undefined where it is passed on as it comes. */
async function hold(request: Request, room: Room): Promise<Bytes | undefined> {
  const { body, headers, signal } = request
  if (!body) return undefined
  if (isUniversalPost(request)) return readBytes(body, limits.bodyBytes, signal)
  const length = Number(headers.get('content-length') ?? Number.POSITIVE_INFINITY)
  const isWanted = length <= limits.replayBytes && isSharedOrBad(request, room)
  return isWanted ? readBytes(body, limits.replayBytes, signal) : undefined
}

/** Headers that cannot be read are refused where they are answered. */
function isSharedOrBad(request: Request, room: Room): boolean {
  try {
    return isShared(request, room)
  } catch {
    return true
  }
}

const noId = '00000000-0000-0000-0000-000000000000'
/** Of a home where those meet who ask the same. */
const meetingDigits = 1

/** The same for the same request: one of 16, as a home of its own for each would cost more than it saves. */
async function meetingOf({ headers, url }: Request, body: Bytes | undefined): Promise<string> {
  const { pathname, search } = new URL(url)
  const { cacheKey } = readHeaders(headers)
  const asked = cacheKey ?? JSON.stringify([pathname, search, body && new TextDecoder('latin1').decode(body)])
  const digest = await sha256(asked)
  return digest.slice(0, meetingDigits) + noId.slice(meetingDigits)
}
