import { GatewayError } from '../errors.ts'
import { newId } from '../ids.ts'
import { limits } from '../limits.ts'
import { createMeter } from '../observe/meter.ts'
import { modelOf } from '../observe/model.ts'
import { createRedact, secretsIn } from '../observe/redact.ts'
import type { Usage } from '../observe/usage.ts'
import type { LogEntry, LogRow } from '../store/logs.ts'
import type { Account, Call, Ending, Step, Watch } from '../types.ts'
import type { Send } from './send.ts'

/** One try of one step of a call. */
export interface Attempt {
  readonly call: Call
  readonly step: Step
  /** Of the step, from 0. */
  readonly index: number
  /** Of its tries, from 1. */
  readonly number: number
}

/** An answer, and who is to be told of its body. */
export interface Sent {
  readonly response: Response
  readonly watch: Watch
  readonly logId?: string
}

/** Makes one attempt. Throws `GatewayError` only. */
export type Try = (attempt: Attempt) => Promise<Sent>

/** What a gateway wants recorded, and where. */
export interface Recording {
  /** Whether requests that do not say are recorded. */
  readonly isOn: boolean
  /** Takes an entry; must not throw. */
  add(entry: LogEntry): void
  /** Refuse what cannot be recorded. */
  readonly isRequired: boolean
  /** False while the store cannot be reached. */
  isHealthy(): boolean
  /** Keys of the gateway's own that are sent to a provider, never to be recorded. */
  secretsOf(provider: string): readonly string[]
}

/** Watches every attempt, and records each once at its end. Without a recording the tokens are counted all the same. */
export function createRecord(send: Send, recording: Recording | undefined): Try {
  return async (attempt) => {
    const { call, step } = attempt
    const { record, isKept } = startRecord(attempt, recording)
    if (isKept && recording?.isRequired && !recording.isHealthy()) throw new GatewayError('log_unavailable')
    try {
      const response = await send(step, call.signal)
      record.begin(response)
      return { response, watch: record, ...(isKept && { logId: record.id }) }
    } catch (error) {
      record.fail(error)
      throw error
    }
  }
}

/** Watches an answer for which no provider was asked. */
export function recordHit(
  attempt: Attempt,
  response: Response,
  recording: Recording | undefined,
): Omit<Sent, 'response'> {
  const { record, isKept } = startRecord(attempt, recording, true)
  record.begin(response)
  return { watch: record, ...(isKept && { logId: record.id }) }
}

function startRecord(attempt: Attempt, recording: Recording | undefined, isHit = false) {
  const isKept = recording !== undefined && (attempt.step.options.collectLog ?? recording.isOn)
  return { record: new AttemptRecord(attempt, isKept ? recording : undefined, isHit), isKept }
}

/** One attempt, from its start to its row. */
class AttemptRecord implements Watch {
  readonly id: string
  readonly #attempt: Attempt
  readonly #recording: Recording | undefined
  readonly #startedAt = Date.now()
  readonly #began = performance.now()
  #response: Response | undefined
  #meter = createMeter('')
  #firstByteMs: number | undefined
  #size = 0
  #keptBytes = 0
  readonly #parts: Uint8Array[] = []
  #isOver = false
  readonly #isHit: boolean

  constructor(attempt: Attempt, recording: Recording | undefined, isHit: boolean) {
    this.#isHit = isHit
    this.#attempt = attempt
    this.#recording = recording
    const isFirst = attempt.index === 0 && attempt.number === 1
    this.id = isFirst ? attempt.call.requestId : newId()
  }

  begin(response: Response): void {
    this.#response = response
    this.#meter = createMeter(this.#contentType)
  }

  read(bytes: Uint8Array): void {
    this.#firstByteMs ??= this.#elapsedMs
    this.#size += bytes.byteLength
    this.#meter.read(bytes)
    if (!this.#recording || this.#keptBytes >= limits.logBodyBytes) return
    this.#keptBytes += bytes.byteLength
    this.#parts.push(bytes)
  }

  account(): Account {
    const usage = this.#meter.usage()
    return usage ? { usage } : {}
  }

  fail(error: unknown): void {
    const { code, message } = error instanceof GatewayError ? error : new GatewayError('internal')
    const outcome = code === 'client_closed' ? 'cancelled' : 'failed'
    this.end({ outcome, upstreamStopped: true, error: { code, message } })
  }

  end(ending: Ending): void {
    if (this.#isOver) return
    this.#isOver = true
    if (!this.#recording) return
    const { step } = this.#attempt
    const redact = createRedact([...secretsIn(step), ...this.#recording.secretsOf(step.provider)])
    const keepsBodies = step.options.collectLogPayload ?? true
    const response = this.#response ? decode(this.#parts) : null
    const request = toText(step.body)
    const row = this.#toRow(ending, modelOf(step, request, response), redact)
    const bodies = keepsBodies
      ? { request: request && redact(request), response: response && redact(response) }
      : { request: null, response: null }
    this.#recording.add({ row, bodies })
  }

  #toRow(ending: Ending, model: string, redact: (text: string) => string): LogRow {
    const { call, step, index, number } = this.#attempt
    const status = this.#response?.status ?? null
    const isRefused = status !== null && status >= 400
    const outcome = isRefused && ending.outcome === 'completed' ? 'failed' : ending.outcome
    const { metadata } = step.options
    return {
      id: this.id,
      gateway: call.gateway,
      created_at: this.#startedAt,
      request_id: call.requestId,
      event_id: call.eventId,
      run_id: call.runId ?? null,
      principal: call.principal.name,
      provider: step.provider,
      model,
      path: redact(step.url.pathname),
      step: index,
      attempt: number,
      status_code: status,
      success: outcome === 'completed',
      cached: this.#isHit,
      outcome,
      upstream_stopped: ending.upstreamStopped,
      error: ending.error ? redact(ending.error.message) : null,
      duration: Math.round(this.#elapsedMs),
      ttft: this.#firstByteMs === undefined ? null : Math.round(this.#firstByteMs),
      streamed: /^text\/event-stream\b/i.test(this.#contentType),
      request_content_type: step.headers.get('content-type') ?? '',
      response_content_type: this.#contentType,
      request_size: sizeOf(step),
      response_size: this.#size,
      request_frames: null,
      response_frames: null,
      ...toTokens(this.#meter.usage()),
      cost: this.#isHit ? 0 : null,
      metadata: metadata ? redact(JSON.stringify(metadata)) : null,
      user_agent: step.headers.get('user-agent'),
    }
  }

  get #contentType(): string {
    return this.#response?.headers.get('content-type') ?? ''
  }
  get #elapsedMs(): number {
    return performance.now() - this.#began
  }
}

function toTokens(
  usage: Usage | undefined,
): Pick<LogRow, 'tokens_in' | 'tokens_out' | 'tokens_cached' | 'usage_basis'> {
  return {
    tokens_in: usage?.inputTokens ?? null,
    tokens_out: usage?.outputTokens ?? null,
    tokens_cached: usage?.cachedTokens ?? null,
    usage_basis: usage?.basis ?? null,
  }
}

/** A body that streams through is not kept. */
function toText(body: Step['body']): string | null {
  if (body === null || body instanceof ReadableStream) return null
  return typeof body === 'string' ? body.slice(0, limits.logBodyBytes) : decode([body])
}

/** Of the first bytes that are kept; null for what is no text. */
function decode(parts: readonly Uint8Array[]): string | null {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let text = ''
  let left: number = limits.logBodyBytes
  try {
    for (const part of parts) {
      text += decoder.decode(part.subarray(0, left), { stream: true })
      left -= Math.min(part.byteLength, left)
    }
  } catch {
    return null
  }
  return text
}

function sizeOf({ body, headers }: Step): number | null {
  if (body === null) return 0
  if (body instanceof Uint8Array) return body.byteLength
  if (typeof body === 'string') return body.length
  const length = headers.get('content-length')
  return length === null ? null : Number(length)
}
