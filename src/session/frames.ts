import type { GatewayError } from '../errors.ts'
import type { SessionLimits } from '../limits.ts'
import type { Named } from './messages.ts'

/** Metadata of a frame (contract 3.3), `status` added. */
export type Metadata = Readonly<Record<string, string | number | boolean | object>>

/** An error as frames carry it. */
export interface FrameError {
  readonly code: string
  readonly message: string
}

/** As the wire names it. */
export const toFrameError = ({ code, message }: GatewayError): FrameError => ({
  code: code === 'bad_request' ? 'bad_message' : code,
  message,
})

/** A run as `session.ready` lists it. */
export interface HeldRun {
  readonly eventId: string
  readonly runId: string
  readonly seq: number
  readonly outcome?: string
}

const retryable = new Set(['too_many_requests', 'draining', 'provider_failed', 'timeout', 'internal'])
const retryAfterMs = 1_000

/** What the gateway sends. Answers are spliced in as JSON text, so that their numbers and key order stay. */
export const frames = {
  created: (metadata: Metadata, response?: string): string => frame('universal.created', metadata, response),
  createdRaw: (metadata: Metadata, headers: readonly (readonly [string, string])[]): string =>
    frame('universal.created', metadata, undefined, `,"headers":${JSON.stringify(headers)}`),
  stream: (metadata: Metadata, event: string | undefined, response: string): string =>
    frame(
      'universal.stream',
      metadata,
      response,
      event === undefined ? '' : `,"event":${JSON.stringify(event)}`,
    ),
  streamRaw: (metadata: Metadata, data: string, encoding?: 'base64'): string =>
    frame(
      'universal.stream',
      metadata,
      undefined,
      `${encoding ? `,"encoding":"${encoding}"` : ''},"data":${JSON.stringify(data)}`,
    ),
  done: (metadata: Metadata, error?: FrameError): string =>
    frame('universal.done', metadata, undefined, error ? `,"error":${JSON.stringify(error)}` : ''),
  /** PROTOCOL.md, "error": ends nothing but the message itself. */
  error: (error: FrameError, { eventId }: Named): string =>
    JSON.stringify({ type: 'error', error, metadata: eventId === undefined ? {} : { eventId } }),
  /** PROTOCOL.md, "universal.error". */
  failure: ({ code, message }: GatewayError | FrameError, metadata: Named): string =>
    JSON.stringify({
      type: 'universal.error',
      metadata,
      error: {
        code,
        message,
        retryable: retryable.has(code),
        ...(code === 'too_many_requests' && { retryAfterMs }),
      },
    }),
  ready: (
    session: { id: string; resumed: boolean; runs?: readonly HeldRun[] },
    own: SessionLimits,
    messageBytes: number,
  ): string =>
    JSON.stringify({
      type: 'session.ready',
      session,
      limits: {
        inFlight: own.inFlight,
        queued: own.queued,
        messageBytes,
        windowBytes: own.windowBytes,
        runBytes: own.runBytes,
      },
      detachSeconds: own.detachSeconds,
      heartbeatSeconds: own.heartbeatSeconds,
      version: 'trunkline.v1',
    }),
  pong: (id?: string): string => JSON.stringify({ type: 'session.pong', ...(id !== undefined && { id }) }),
  updated: (): string => '{"type":"session.updated"}',
  goaway: (deadlineMs: number): string =>
    JSON.stringify({ type: 'session.goaway', reason: 'shutdown', deadlineMs }),
}

function frame(type: string, metadata: Metadata, response?: string, extra = ''): string {
  const body = response === undefined ? '' : `,"response":${response}`
  return `{"type":"${type}","metadata":${JSON.stringify(metadata)}${extra}${body}}`
}
