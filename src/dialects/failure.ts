import type { ApiName, Json } from './hub.ts'

/** What went wrong, in words that every API has a shape for. */
export class Failure extends Error {
  override readonly name = 'Failure'
  readonly status: number
  /** The provider's own name of it, or ours. */
  readonly code: string | null
  /** The field of the request that is to blame. */
  readonly param: string | null

  constructor(status: number, message: string, code: string | null = null, param: string | null = null) {
    super(message)
    this.status = status
    this.code = code
    this.param = param
  }
}

/** A field that is not what it must be. */
export const malformed = (param: string, reason: string): Failure =>
  new Failure(400, `${param}: ${reason}`, 'invalid_value', param)

/** A stream that ended before its answer did. */
export const brokenOff = (): Failure =>
  new Failure(502, 'The provider broke off its answer', 'provider_failed')

/** Statuses of errors that come inside a stream, which has none: by Anthropic's, Google's, AWS's and OpenAI's names. */
const statuses: readonly (readonly [RegExp, number])[] = [
  [/overloaded/i, 529],
  [/rate.?limit|throttl|exhausted|quota/i, 429],
  [/unavailable/i, 503],
  [/authentication|unauthenticated/i, 401],
  [/permission/i, 403],
  [/not.?found/i, 404],
  [/timeout|deadline/i, 504],
  [/too_large/i, 413],
  [/invalid|validation|precondition|context_length/i, 400],
]

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null

/**
 * The error a provider tells of, whichever its shape: `{error: {message, type, code, status}}`, alone or in a list,
 * `{error: text}`, `{message}`, `{errors: [{message}]}`, or no JSON at all. `status` is absent inside a stream.
 */
export function readFailure(body: unknown, status?: number): Failure {
  const outer: unknown = Array.isArray(body) ? body[0] : body
  const own = isObject(outer) ? (first(outer.errors) ?? outer.error ?? outer) : outer
  const { message, Message, type, status: name, code, __type, param } = isObject(own) ? own : ({} as Json)
  const said = message ?? Message ?? own
  const text = typeof said === 'string' && said !== '' ? said.slice(0, 10_000) : 'The provider failed'
  const named = [name, type === 'error' ? undefined : type, __type, code].find(
    (word) => typeof word === 'string',
  )
  const found =
    status ??
    (typeof code === 'number' && code >= 400 && code < 600 ? code : undefined) ??
    statuses.find(([pattern]) => pattern.test(String(named)))?.[1] ??
    500
  const own_code = typeof code === 'string' ? code : ((named as string | undefined) ?? null) // found by its type
  return new Failure(found, text, own_code, typeof param === 'string' ? param : null)
}

const first = (list: unknown): unknown => (Array.isArray(list) ? list[0] : undefined)

const openaiTypes: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  429: 'rate_limit_error',
}
const anthropicTypes: Readonly<Record<number, string>> = {
  ...openaiTypes,
  404: 'not_found_error',
  413: 'request_too_large',
  504: 'timeout_error',
  529: 'overloaded_error',
}

/** A failure as the body that an API answers with; also the data of its stream's error event. */
export function toFailureBody(api: ApiName, { status, message, code, param }: Failure): Json {
  const isServers = status >= 500
  if (api === 'messages') {
    const type = anthropicTypes[status] ?? (isServers ? 'api_error' : 'invalid_request_error')
    return { type: 'error', error: { type, message } }
  }
  const type = openaiTypes[status] ?? (isServers ? 'server_error' : 'invalid_request_error')
  return { error: { message, type, param, code } }
}
