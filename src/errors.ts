/**
 * Every error a client can meet, in one table. Codes and envelope are AI Gateway's own, whose clients key on
 * `400 + 2001` and `401 + 2009`; the symbolic names are ours.
 */
const errors = {
  bad_request: { status: 400, code: 2002, message: 'Bad request' },
  bad_format: { status: 400, code: 2019, message: 'Chat completion bad format' },
  unknown_gateway: { status: 400, code: 2001, message: 'Unknown gateway' },
  invalid_provider: { status: 400, code: 2008, message: 'Invalid provider' },
  unknown_alias: { status: 400, code: 2040, message: 'No stored key has this alias' },
  unauthorized: { status: 401, code: 2009, message: 'Unauthorized' },
  forbidden: { status: 403, code: 2009, message: 'Forbidden' },
  not_found: { status: 404, code: 7000, message: 'No route for that URI' },
  method_not_allowed: { status: 405, code: 7001, message: 'Method not allowed' },
  conflict: { status: 409, code: 2002, message: 'A request with this eventId is in flight' },
  too_large: { status: 413, code: 2002, message: 'Body too large' },
  upgrade_required: { status: 426, code: 2002, message: 'This path takes a WebSocket upgrade or a POST' },
  client_closed: { status: 499, code: 2002, message: 'The client closed the request' },
  log_unavailable: {
    status: 503,
    code: 2002,
    message: 'Requests cannot be recorded now, as this gateway requires',
  },
  too_many_requests: { status: 429, code: 2003, message: 'Too many requests' },
  internal: { status: 500, code: 2002, message: 'Internal error' },
  provider_failed: { status: 502, code: 2005, message: 'Failed to get response from provider' },
  not_configured: {
    status: 503,
    code: 2001,
    message: 'This gateway has no token: set TRUNKLINE_TOKEN, then send it as cf-aig-authorization',
  },
  draining: { status: 503, code: 2002, message: 'The gateway is stopping' },
  gap: { status: 410, code: 2002, message: 'The event asked for was not kept' },
  expired: { status: 404, code: 2002, message: 'No longer held' },
  timeout: { status: 504, code: 2005, message: 'The provider did not answer in time' },
} as const

/** Symbolic name of an error. */
export type ErrorCode = keyof typeof errors

/** What an error tells beside its message. */
export interface ErrorDetail {
  /** Index of the step that failed, where one was tried. */
  readonly step?: number
  /** Id of the request that met it, on a socket. */
  readonly requestId?: string
  /** Headers of its response. */
  readonly headers?: Readonly<Record<string, string>>
  /** What an API other than the gateway's own tells of it. */
  readonly body?: object
}

/** The one exception that may leave a stage, a route or a message handler. Its message is shown to the client. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError'
  readonly code: ErrorCode
  readonly detail: ErrorDetail

  constructor(code: ErrorCode, message: string = errors[code].message, detail: ErrorDetail = {}) {
    super(message)
    this.code = code
    this.detail = detail
  }

  /** HTTP status of this error. */
  get status(): number {
    return errors[this.code].status
  }
}

/**
 * The body every gateway error has, on HTTP and inside socket frames. Note `error`, singular, holding a list, but for
 * callers of `compat`, where it is their API's.
 */
export interface ErrorBody {
  success: false
  result: []
  messages: []
  error: [{ code: number; message: string }] | object
  name: 'AiGatewayError'
  httpCode: number
  internalCode: number
  message: string
}

/** What is safe to tell a client of any thrown value: a `GatewayError` as it is, all else as `internal`. */
export function toGatewayError(error: unknown): GatewayError {
  return error instanceof GatewayError ? error : new GatewayError('internal')
}

/**
 * A provider that cannot be reached, with the system's word for why where the runtime has one, as `ECONNREFUSED`. What
 * else it says of a connection may hold its URL, and that a key.
 */
export function toUnreachable(error: unknown): GatewayError {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: { code?: unknown } }
  const word = [code, cause?.code].find((one) => typeof one === 'string' && /^[A-Z][A-Z_\d]{2,40}$/.test(one))
  return new GatewayError('provider_failed', errors.provider_failed.message + (word ? ` (${word})` : ''))
}

/** Why a call was stopped: the gateway's own reason, or its client's leaving. */
export function toStopReason(signal: AbortSignal): GatewayError {
  return signal.reason instanceof GatewayError ? signal.reason : new GatewayError('client_closed')
}

/** The envelope of AI Gateway's errors (contract: "Error envelope"). */
export function toErrorBody(error: GatewayError): ErrorBody {
  const { status, code } = errors[error.code]
  return {
    success: false,
    result: [],
    messages: [],
    error: [{ code, message: error.message }],
    name: 'AiGatewayError',
    httpCode: status,
    internalCode: code,
    message: error.message,
    ...error.detail.body,
  }
}

/** The same as an HTTP response. */
export function toErrorResponse(error: GatewayError, headers?: HeadersInit): Response {
  return Response.json(toErrorBody(error), { status: error.status, ...(headers && { headers }) })
}
