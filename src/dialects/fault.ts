import type { Translated } from '../types.ts'
import { Failure, toFailureBody } from './failure.ts'
import { toSse } from './framing.ts'
import type { ApiName } from './hub.ts'

const encoder = new TextEncoder()

/** What broke, as the client's API tells it: alone as a body, and as an event in a stream that has begun. */
export function toFault(api: ApiName, error: unknown): NonNullable<Translated['fault']> {
  const failure =
    error instanceof Failure
      ? error
      : new Failure(502, 'The provider sent an answer that cannot be read', 'provider_failed')
  const body = toFailureBody(api, failure)
  const { code, param, message } = failure
  const data = api === 'responses' ? { type: 'error', code, message, param } : body
  const event = toSse({ ...(api !== 'chat' && { event: 'error' }), data })
  return { status: failure.status, message, body: JSON.stringify(body), event: encoder.encode(event) }
}
