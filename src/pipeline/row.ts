import type { LogRow } from '../store/logs.ts'
import type { Account, Call, Ending, Step } from '../types.ts'

/** One try of one step of a call. */
export interface Attempt {
  readonly call: Call
  readonly step: Step
  /** Of the step, from 0. */
  readonly index: number
  /** Of its tries, from 1. */
  readonly number: number
}

/** Takes secrets out of a text. */
export type Redact = (text: string) => string

/** What is recorded of one attempt, beside what its call tells. Of pairs, the client's comes first. */
export interface Facts {
  readonly id: string
  readonly model: string
  /** Null where there was no answer. */
  readonly status: number | null
  readonly cached: boolean
  readonly ending: Ending
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly durationMs: number
  readonly firstByteMs: number | undefined
  readonly account: Account
  readonly streamed: boolean
  readonly contentTypes: readonly [string, string]
  readonly sizes: readonly [number | null, number]
  /** Of a relayed session. */
  readonly frames?: readonly [number, number]
}

/** An attempt as it is written. */
export function toRow({ call, step, index, number }: Attempt, redact: Redact, facts: Facts): LogRow {
  const { ending, account, frames } = facts
  const { metadata, customCost } = step.options
  return {
    id: facts.id,
    gateway: call.gateway,
    created_at: facts.startedAt,
    request_id: call.requestId,
    event_id: call.eventId,
    run_id: call.runId ?? null,
    principal: call.principal.name,
    provider: step.provider,
    model: facts.model,
    path: redact(step.url.pathname),
    step: index,
    attempt: number,
    status_code: facts.status,
    success: ending.outcome === 'completed',
    cached: facts.cached,
    outcome: ending.outcome,
    upstream_stopped: ending.upstreamStopped,
    error: ending.error ? redact(ending.error.message) : null,
    duration: Math.round(facts.durationMs),
    ttft: facts.firstByteMs === undefined ? null : Math.round(facts.firstByteMs),
    streamed: facts.streamed,
    request_content_type: facts.contentTypes[0],
    response_content_type: facts.contentTypes[1],
    request_size: facts.sizes[0],
    response_size: facts.sizes[1],
    request_frames: frames?.[0] ?? null,
    response_frames: frames?.[1] ?? null,
    ...toSpent(account),
    custom_cost: customCost !== undefined,
    metadata: metadata ? redact(JSON.stringify(metadata)) : null,
    user_agent: step.headers.get('user-agent'),
  }
}

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
    tokens_in: usage?.inputTokens ?? null,
    tokens_out: usage?.outputTokens ?? null,
    tokens_cached: usage?.cachedTokens ?? null,
    tokens_cache_written: usage?.cacheWriteTokens ?? null,
    tokens_reasoning: usage?.reasoningTokens ?? null,
    usage_basis: usage?.basis ?? null,
    cost: cost?.value ?? null,
    cost_basis: cost?.basis ?? 'unknown',
  }
}
