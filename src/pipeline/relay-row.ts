import { modelOf } from '../observe/model.ts'
import { createRedact, secretsIn } from '../observe/redact.ts'
import type { LogEntry, LogRow } from '../store/logs.ts'
import type { Ending, Side, Usage } from '../types.ts'
import type { Attempt } from './record.ts'

/** Frames and bytes of one side. */
export interface Traffic {
  frames: number
  bytes: number
}

/** What is told of one relayed session. */
export interface SessionFacts {
  readonly id: string
  readonly attempt: Attempt
  /** 101, or that of a refusal; null without an answer. */
  readonly status: number | null
  readonly ending: Ending
  /** As its frames named it. */
  readonly model: string
  readonly usage: Usage | undefined
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly durationMs: number
  readonly firstFrameMs: number | undefined
  readonly traffic: Readonly<Record<Side, Readonly<Traffic>>>
  /** Of the gateway's own. */
  readonly secrets: readonly string[]
}

/** The record of a session: one row, and no bodies. */
export function toRelayEntry(facts: SessionFacts): LogEntry {
  const { attempt, ending, usage, traffic } = facts
  const { call, step } = attempt
  const { metadata } = step.options
  const redact = createRedact([...secretsIn(step), ...facts.secrets])
  const row: LogRow = {
    id: facts.id,
    gateway: call.gateway,
    created_at: facts.startedAt,
    request_id: call.requestId,
    event_id: call.eventId,
    run_id: null,
    principal: call.principal.name,
    provider: step.provider,
    model: modelOf(step, null, null) || facts.model,
    path: redact(step.url.pathname),
    step: attempt.index,
    attempt: attempt.number,
    status_code: facts.status,
    success: ending.outcome === 'completed',
    cached: false,
    outcome: ending.outcome,
    upstream_stopped: ending.upstreamStopped,
    error: ending.error ? redact(ending.error.message) : null,
    duration: Math.round(facts.durationMs),
    ttft: facts.firstFrameMs === undefined ? null : Math.round(facts.firstFrameMs),
    streamed: true,
    request_content_type: 'websocket',
    response_content_type: 'websocket',
    request_size: traffic.client.bytes,
    response_size: traffic.provider.bytes,
    request_frames: traffic.client.frames,
    response_frames: traffic.provider.frames,
    tokens_in: usage?.inputTokens ?? null,
    tokens_out: usage?.outputTokens ?? null,
    tokens_cached: usage?.cachedTokens ?? null,
    usage_basis: usage?.basis ?? null,
    cost: null,
    metadata: metadata ? redact(JSON.stringify(metadata)) : null,
    user_agent: step.headers.get('user-agent'),
  }
  return { row, bodies: { request: null, response: null } }
}
