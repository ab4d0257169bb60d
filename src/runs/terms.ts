import type { GatewayError } from '../errors.ts'
import type { Account, Ending } from '../types.ts'

/** The one record that ends a run. */
export type Terminal = Ending & Account

/** What is known once the answer begins. */
export interface Head {
  readonly status: number
  readonly contentType: string
  /** The answer's, as a client may see them. */
  readonly headers: readonly (readonly [string, string])[]
  /** The metadata of its frames (contract 3.3). */
  readonly metadata: Readonly<Record<string, string | number>>
}

/** Whose a run or a session is. */
export interface Owner {
  readonly gateway: string
  /** SHA-256 of the gateway token in hex; null without one. */
  readonly credential: string | null
}

/** Whether two owners are the same. */
export const isSame = (one: Owner, other: Owner): boolean =>
  one.gateway === other.gateway && one.credential === other.credential

/** What the end of the connection that made a run means for it. */
export type OnDisconnect = 'stop' | 'detach'

/** What a stop's reason makes of a run: the client's own is a cancel, all else broke it off. */
export function toTerminal(reason: GatewayError, upstreamStopped: boolean): Terminal {
  const { code, message } = reason
  if (code === 'client_closed') return { outcome: 'cancelled', upstreamStopped }
  const outcome = code === 'expired' ? 'cancelled' : 'incomplete'
  return { outcome, upstreamStopped, error: { code, message } }
}
