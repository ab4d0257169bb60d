import { isOpen, type Scope } from '../config.ts'
import { isLoopback } from '../loopback.ts'
import { ManageError } from './answer.ts'
import type { Desk } from './desk.ts'

/** Who asks, and what they may. */
export interface Access {
  /** For the audit trail. */
  readonly name: string
  /** Milliseconds since the epoch, from when on they may do nothing; null: never. */
  readonly expiresAt: number | null
  /** Whether a scope is theirs for a gateway; without one, for all that there is. */
  may(scope: Scope, gateway?: string): boolean
}

/**
 * Who asks. Where no token is configured at all and some gateway is open, which only a loopback address allows, whoever
 * asks by a loopback name may do all; a page cannot, for want of the name or by its `Origin`.
 * @throws ManageError unauthenticated, forbidden
 */
export async function readAccess(request: Request, desk: Desk): Promise<Access> {
  assertOrigin(request)
  const { tokens, live } = desk.rooms
  const stale = live?.check()
  if (stale) await stale
  const [, shown] = /^Bearer\s+(\S+)\s*$/i.exec(request.headers.get('authorization') ?? '') ?? []
  if (shown === undefined) {
    // A name that was bound to a loopback address elsewhere is none: that is how pages would get past their browser.
    if (tokens.size > 0 || !isOpen(desk.config) || !isLoopback(new URL(request.url).hostname))
      throw new ManageError('unauthenticated')
    return { name: 'anonymous', expiresAt: null, may: () => true }
  }
  const token = await tokens.find(shown)
  if (!token) throw new ManageError('unauthenticated')
  await live?.latest()
  // Asked for again, as it may have been revoked elsewhere.
  const still = await tokens.get(token.digest)
  if (!still) throw new ManageError('unauthenticated')
  return still
}

/** No page of another origin is served, whatever it knows, and none is ever told that it is. */
function assertOrigin(request: Request): void {
  const origin = request.headers.get('origin')
  if (origin === null) return
  // By host alone: who ends TLS before the gateway changes the scheme.
  if (URL.parse(origin)?.host !== new URL(request.url).host)
    throw new ManageError('forbidden', 'Pages of other origins are not served here')
}
