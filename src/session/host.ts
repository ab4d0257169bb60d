import type { Reply } from '../runs/pump.ts'
import type { Owner } from '../runs/terms.ts'
import type { Listener } from '../socket.ts'
import type { ClientRequest, Wire } from './messages.ts'

/** `cf-aig-*` headers that hold for each request of a session. */
export type Defaults = Readonly<Record<string, string>>

/** One request, to be called. */
export interface Asked {
  readonly request: ClientRequest
  readonly eventId: string
  /** Of a run that outlives its connection. */
  readonly runId?: string
  readonly defaults: Defaults
  readonly wire: Wire
}

/** What a session asks of the layer above. */
export interface Host {
  /** Makes the call; the reply's body is still a stream. May reject. */
  start(asked: Asked, signal: AbortSignal): Promise<Reply>
  /**
   * The settings among what a client wants to hold for each request.
   * @throws GatewayError bad_request for values they cannot have
   */
  toDefaults(wanted: Defaults): Defaults
  /** Whether the session's token still opens the gateway. Never rejects. */
  isWelcome(): Promise<boolean>
}

/** What a session is. */
export interface SessionInit {
  readonly id: string
  readonly owner: Owner
  readonly wire: Wire
  readonly defaults: Defaults
  /** Of its connection, where its client counts them. */
  readonly attempt?: number
  /** Its socket was open all along, and only the memory around it is new. */
  readonly isAwake?: boolean
}

/** One client's connection, served. */
export type Session = Listener
