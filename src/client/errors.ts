/** Why a line could not do what was asked. Codes of the gateway (PROTOCOL.md, "universal.error") come as they are. */
export type LineErrorCode =
  /** The answer broke off; what was read of it is true, but not all. */
  | 'incomplete'
  /** The run was stopped by someone else. */
  | 'cancelled'
  /** The line was closed. */
  | 'closed'
  /** No connection could be made; the request was not sent. */
  | 'unreachable'
  /** The request is larger than the gateway takes; it was not sent. */
  | 'too_large'
  /** The token was revoked, or has expired. */
  | 'unauthorized'
  /** Redirects are not followed, and this one cannot be told of. */
  | 'redirected'
  /** Another connection has taken the session over. */
  | 'taken_over'
  | (string & {})

/** What a request over a line rejects with; a `TypeError`, as `fetch` has it where there is no answer. */
export class LineError extends TypeError {
  override readonly name = 'LineError'
  readonly code: LineErrorCode
  /** Whether the same request may succeed later. Says nothing of whether it has been paid for already. */
  readonly retryable: boolean
  /** Milliseconds to wait before that, where the gateway named them. */
  readonly retryAfterMs: number | undefined

  constructor(code: LineErrorCode, message: string, retryable = false, retryAfterMs?: number) {
    super(message)
    this.code = code
    this.retryable = retryable
    this.retryAfterMs = retryAfterMs
  }
}
