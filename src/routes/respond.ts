import { type GatewayError, toErrorResponse } from '../errors.ts'
import { lengthOf } from '../fields.ts'
import type { PlainResponse } from '../plain.ts'
import type { Reply } from '../runs/pump.ts'
import { readUntil, relay } from '../streams.ts'
import type { Call, Result } from '../types.ts'
import { returnable } from './headers.ts'

/** Names of the response headers of contract 2.5. */
export const responseHeaders = {
  requestId: 'cf-aig-request-id',
  eventId: 'cf-aig-event-id',
  step: 'cf-aig-step',
  cacheStatus: 'cf-aig-cache-status',
  runId: 'cf-aig-run-id',
  logId: 'cf-aig-log-id',
} as const

/** A result as an HTTP response: the provider's status, headers and bytes, and what became of the call. */
export function toResponse(call: Call, result: Result, ended: () => void): PlainResponse {
  const { response, step, cacheStatus, watch, logId } = result
  const { signal } = call
  const headers = toHeaders(result)
  headers.set(responseHeaders.requestId, call.requestId)
  headers.set(responseHeaders.eventId, call.eventId)
  headers.set(responseHeaders.step, itemOf(call, step))
  headers.set(responseHeaders.cacheStatus, cacheStatus)
  if (logId !== undefined) headers.set(responseHeaders.logId, logId)
  const length = lengthOf(response.headers)
  if (length !== null) headers.set('content-length', length)
  const isBodiless = !response.body || call.steps[step]?.method === 'HEAD'
  const body = isBodiless
    ? response.body
    : relay(readUntil(response.body, signal), { signal, watch, ended, requestId: call.requestId })
  if (isBodiless) {
    watch.end({ outcome: 'completed', upstreamStopped: true })
    ended()
  }
  const { status, statusText, ok } = response
  return { status, statusText, ok, headers, body }
}

/** The client's item that a step came from. */
const itemOf = ({ steps }: Call, step: number): string => String(steps[step]?.item ?? step)

/** The provider's headers, and the gateway's own. */
function toHeaders({ response, headers }: Result): Headers {
  const all = returnable(response.headers)
  for (const [name, value] of Object.entries(headers ?? {})) all.set(name, value)
  return all
}

/** A result as the answer of a run. */
export function toReply(call: Call, result: Result): Reply {
  const { response, step, cacheStatus, watch, logId, headers: own = {} } = result
  const { status } = response
  const contentType = response.headers.get('content-type') ?? ''
  return {
    head: {
      status,
      contentType,
      headers: [...toHeaders(result)],
      metadata: {
        cacheStatus,
        eventId: call.eventId,
        ...(logId !== undefined && { logId }),
        ...own,
        step: itemOf(call, step),
        status,
        contentType,
      },
    },
    body: response.body,
    watch,
  }
}

/** An error as an HTTP response that names its request. */
export function toFailure(error: GatewayError, requestId: string, eventId: string = requestId): Response {
  const { step, headers } = error.detail
  return toErrorResponse(error, {
    [responseHeaders.requestId]: requestId,
    [responseHeaders.eventId]: eventId,
    ...(step !== undefined && { [responseHeaders.step]: String(step) }),
    ...headers,
  })
}
