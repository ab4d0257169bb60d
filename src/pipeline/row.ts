import { byteLength } from '../cut.ts'
import type { LogRow } from '../store/logs.ts'
import type { Account, Call, Ending, Step } from '../types.ts'

/** What is known of an attempt at its end. */
export interface Ended {
  readonly id: string
  readonly call: Call
  readonly step: Step
  /** Of the step, from 0. */
  readonly index: number
  /** Of its tries, from 1. */
  readonly number: number
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly durationMs: number
  readonly firstByteMs: number | undefined
  /** Null where there was no answer. */
  readonly status: number | null
  /** Of the request and of the answer. */
  readonly contentTypes: readonly [string, string]
  readonly isStreamed: boolean
  /** Bytes of both. */
  readonly sizes: readonly [number | null, number]
  /** Of both, where they are those of a relayed session. */
  readonly frames?: readonly [number, number]
  /** As the provider names it. */
  readonly model: string
  readonly account: Account
  readonly ending: Ending
  /** It came from the cache. */
  readonly isHit: boolean
}

/** The row of an attempt. Its path, error and metadata may still hold secrets. */
export function toRow(ended: Ended): LogRow {
  const { call, step, status, ending, frames } = ended
  const isRefused = status !== null && status >= 400
  const outcome = isRefused && ending.outcome === 'completed' ? 'failed' : ending.outcome
  const { metadata, customCost } = step.options
  return {
    id: ended.id,
    gateway: call.gateway,
    created_at: ended.startedAt,
    request_id: call.requestId,
    event_id: call.eventId,
    run_id: call.runId ?? null,
    principal: call.principal.name,
    provider: step.provider,
    model: ended.model,
    path: step.url.pathname,
    step: ended.index,
    attempt: ended.number,
    status_code: status,
    success: outcome === 'completed',
    cached: ended.isHit,
    outcome,
    upstream_stopped: ending.upstreamStopped,
    error: ending.error?.message ?? null,
    duration: Math.round(ended.durationMs),
    ttft: ended.firstByteMs === undefined ? null : Math.round(ended.firstByteMs),
    streamed: ended.isStreamed,
    request_content_type: ended.contentTypes[0],
    response_content_type: ended.contentTypes[1],
    request_size: whole(ended.sizes[0]),
    response_size: whole(ended.sizes[1]) ?? 0,
    request_frames: frames?.[0] ?? null,
    response_frames: frames?.[1] ?? null,
    ...toSpent(ended.account),
    custom_cost: customCost !== undefined,
    metadata: metadata ? JSON.stringify(metadata) : null,
    user_agent: step.headers.get('user-agent'),
  }
}

/** What a column of whole numbers takes, and every database gives back. */
const whole = (value: number | null | undefined): number | null =>
  value == null || !(value >= 0) ? null : Math.round(Math.min(value, Number.MAX_SAFE_INTEGER))

/** Whether an answer came as a stream of events. */
export const isStreamed = (contentType: string): boolean =>
  /^(?:text\/event-stream|application\/(?:vnd\.amazon\.eventstream|stream\+json))\b/i.test(contentType)

type Spent = Pick<
  LogRow,
  | 'tokens_in'
  | 'tokens_out'
  | 'tokens_cached'
  | 'tokens_cache_written'
  | 'tokens_reasoning'
  | 'usage_basis'
  | 'cost'
  | 'cost_basis'
>

function toSpent({ usage, cost }: Account): Spent {
  return {
    tokens_in: whole(usage?.inputTokens),
    tokens_out: whole(usage?.outputTokens),
    tokens_cached: whole(usage?.cachedTokens),
    tokens_cache_written: whole(usage?.cacheWriteTokens),
    tokens_reasoning: whole(usage?.reasoningTokens),
    usage_basis: usage?.basis ?? null,
    cost: cost && Number.isFinite(cost.value) ? cost.value : null,
    cost_basis: cost?.basis ?? 'unknown',
  }
}

/** Bytes of a request; null where it does not say. */
export function sizeOf({ body, headers }: Step): number | null {
  if (body === null) return 0
  if (body instanceof Uint8Array) return body.byteLength
  if (typeof body === 'string') return byteLength(body)
  const length = headers.get('content-length')
  return length === null ? null : Number(length)
}
