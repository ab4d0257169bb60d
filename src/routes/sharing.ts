import { readHeaders } from '../controls.ts'
import { sha256 } from '../hash.ts'
import { limits } from '../limits.ts'
import { readBytes } from '../streams.ts'
import type { Room } from './context.ts'

/** A request, and the id of the home where others who ask the same are met. */
export interface Meeting {
  readonly home: string
  /** The same request, its body held. */
  readonly request: Request
}

/**
 * Where each session has a home of its own: the home in which a request that may be answered with others' answer is to
 * be made. The same for the same request; undefined for one that is not cached, or too large to be held.
 * @throws GatewayError bad_request, or what reading its body throws
 */
export async function meetingOf(request: Request, room: Room): Promise<Meeting | undefined> {
  const { method, headers, body } = request
  const { skipCache, cacheTtl, cacheKey } = readHeaders(headers)
  const isCached = cacheTtl ?? (cacheKey === undefined ? room.settings.cache_ttl : 1)
  if (!isCached || skipCache || !/^(GET|POST)$/.test(method)) return undefined
  const length = Number(headers.get('content-length') ?? (body ? Number.POSITIVE_INFINITY : 0))
  if (length > limits.replayBytes) return undefined
  const bytes = body && (await readBytes(body, limits.replayBytes, request.signal))
  const { pathname, search } = new URL(request.url)
  const asked =
    cacheKey ?? JSON.stringify([pathname, search, bytes && new TextDecoder('latin1').decode(bytes)])
  const digest = await sha256(asked)
  const home = digest.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, '$1-$2-$3-$4-$5')
  return { home, request: bytes ? new Request(request, { body: bytes }) : request }
}
