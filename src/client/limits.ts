/** Waits and counts of a line, with their units. Each can be set in `connect`'s `limits`. */
export interface Limits {
  /** From opening a socket to its `session.ready`, and from closing it to its end. */
  readonly handshakeMs: number
  /** Failed handshakes in a row after which `connect` gives up or, with `fallback`, HTTP stands in. */
  readonly handshakes: number
  /** Without `fallback`: how long requests wait for a lost connection to come back, at least. */
  readonly patienceMs: number
  /** First wait before connecting again; it doubles with each failure, and half of it is left to chance. */
  readonly backoffMs: number
  /** That wait grows no further. */
  readonly backoffMaxMs: number
  /** Between tries of the socket while HTTP stands in for it. */
  readonly httpRetryMs: number
  /** Silence before a ping, and again until the connection counts as dead. 0: as the gateway says. */
  readonly heartbeatMs: number
  /** What was read is acknowledged at the latest after this. */
  readonly ackMs: number
}

/** What holds where `connect` is told nothing else. */
export const defaults: Limits = {
  handshakeMs: 5_000,
  handshakes: 3,
  patienceMs: 10_000,
  backoffMs: 100,
  backoffMaxMs: 10_000,
  httpRetryMs: 60_000,
  heartbeatMs: 0,
  ackMs: 50,
}

/** A window is acknowledged in parts of this size, so that it never runs dry. */
export const windowParts = 4
/** What a gateway holds of the messages of one session, in messages of the largest size (PROTOCOL.md, "Order and limits"). */
export const heldMessages = 2
