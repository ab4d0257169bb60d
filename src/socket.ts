/** The words of sockets, a part of those of the whole project. */

/** Text frames are strings, binary frames are bytes. */
export type Frame = string | Uint8Array

/** One end of a WebSocket, a client's or a provider's. No method throws: a closed peer swallows what it is told. */
export interface Socket {
  /** Undefined while more may follow at once; else resolves once the peer has read enough. Never rejects. */
  send(frame: Frame): Promise<void> | undefined
  /** Bytes that were sent and have not left; absent where the runtime does not tell. */
  buffered?(): number
  /** The code 1005 closes without one. */
  close(code: number, reason: string): void
  /** Stop reading until `resume`. Absent where the runtime reads on all the same. */
  pause?(): void
  resume?(): void
}

/** What hears a socket. No method throws. */
export interface Listener {
  receive(frame: Frame): void
  /** The socket has closed; 1006 without a closing handshake, 1005 without a code. Later calls have no effect. */
  closed(code: number, reason: string): void
}

/** How a provider's socket is dialled. */
export interface Dial {
  readonly headers: Headers
  /** Subprotocols to offer. */
  readonly protocols: readonly string[]
  readonly signal: AbortSignal
}

/** A provider's socket that is open. */
export interface Connected {
  readonly socket: Socket
  /** The subprotocol it selected; empty for none. */
  readonly protocol: string
}

/** Wires whose frames tell of models and tokens: OpenAI's Realtime and Responses, and Gemini Live. */
export type RealtimeDialect = 'openai' | 'gemini'

/** The two ends of a relay. */
export type Side = 'client' | 'provider'

/** How a relay ended: who closed first, and with what. */
export interface RelayEnd {
  readonly by: Side | 'gateway'
  readonly code: number
  readonly reason: string
}

/** Watches a relay. No method throws. */
export interface RelayWatch {
  /** A frame is to be passed on. A text is the reason why it is not: then both sides are closed with 1008. */
  passes(from: Side, frame: Frame): string | undefined
  ended(end: RelayEnd): void
}
