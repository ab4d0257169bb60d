import { GatewayError } from '../errors.ts'
import { newId } from '../ids.ts'
import { limits } from '../limits.ts'
import { estimateInput, textOf } from '../observe/estimate.ts'
import { createMeter, type Meter } from '../observe/meter.ts'
import { modelOf } from '../observe/model.ts'
import type { Pricing } from '../observe/pricing.ts'
import { createRedact, secretsIn } from '../observe/redact.ts'
import type { LogEntry, LogRow } from '../store/logs.ts'
import type { Account, Cost, Ending, Step, Watch } from '../types.ts'
import { type Attempt, type Redact, toRow } from './row.ts'
import type { Send } from './send.ts'

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

/** Watches every attempt, and records each once at its end. Without a recording its cost is counted all the same. */
export function createRecord(send: Send, pricing: Pricing, recording: Recording | undefined): Try {
  return async (attempt) => {
    const { call, step } = attempt
    const { record, isKept } = startRecord(attempt, pricing, recording)
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

/** Watches an answer for which no provider was asked, so that it costs nothing. */
export function recordHit(
  attempt: Attempt,
  response: Response,
  recording: Recording | undefined,
): Omit<Sent, 'response'> {
  const { record, isKept } = startRecord(attempt, undefined, recording)
  record.begin(response)
  return { watch: record, ...(isKept && { logId: record.id }) }
}

function startRecord(attempt: Attempt, pricing: Pricing | undefined, recording: Recording | undefined) {
  const isKept = recording !== undefined && (attempt.step.options.collectLog ?? recording.isOn)
  return { record: new AttemptRecord(attempt, pricing, isKept ? recording : undefined), isKept }
}

const free: Cost = { value: 0, currency: 'USD', basis: 'reported' }

/** One attempt, from its start to its row. */
class AttemptRecord implements Watch {
  readonly id: string
  readonly #attempt: Attempt
  /** Undefined for one that no provider was asked for. */
  readonly #pricing: Pricing | undefined
  readonly #recording: Recording | undefined
  readonly #startedAt = Date.now()
  readonly #began = performance.now()
  #response: Response | undefined
  #meter: Meter | undefined
  /** Of what was read so far. */
  #account: Account | undefined
  #firstByteMs: number | undefined
  #size = 0
  #keptBytes = 0
  readonly #parts: Uint8Array[] = []
  #isOver = false

  constructor(attempt: Attempt, pricing: Pricing | undefined, recording: Recording | undefined) {
    this.#attempt = attempt
    this.#pricing = pricing
    this.#recording = recording
    const isFirst = attempt.index === 0 && attempt.number === 1
    this.id = isFirst ? attempt.call.requestId : newId()
  }

  begin(response: Response): void {
    this.#response = response
    this.#meter = createMeter(response.headers, () => estimateInput(this.#attempt.step))
  }

  read(bytes: Uint8Array): void {
    this.#account = undefined
    this.#firstByteMs ??= this.#elapsedMs
    this.#size += bytes.byteLength
    this.#meter?.read(bytes)
    if (!this.#recording || this.#keptBytes >= limits.logBodyBytes) return
    this.#keptBytes += bytes.byteLength
    this.#parts.push(bytes)
  }

  account(): Account {
    this.#account ??= this.#settle()
    return this.#account
  }

  #settle(): Account {
    const reading = this.#meter?.reading() ?? {}
    const { usage } = reading
    const status = this.#response?.status ?? null
    const cost = this.#pricing?.costOf(this.#attempt.step, reading, status) ?? free
    return { ...(usage && { usage }), cost }
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
    const request = textOf(step)?.slice(0, limits.logBodyBytes) ?? null
    const row = this.#toRow(ending, modelOf(step, request, response), redact)
    const bodies = keepsBodies
      ? { request: request && redact(request), response: response && redact(response) }
      : { request: null, response: null }
    this.#recording.add({ row, bodies })
  }

  #toRow(ending: Ending, model: string, redact: Redact): LogRow {
    const { step } = this.#attempt
    const status = this.#response?.status ?? null
    const isRefused = status !== null && status >= 400
    const outcome = isRefused && ending.outcome === 'completed' ? 'failed' : ending.outcome
    return toRow(this.#attempt, redact, {
      id: this.id,
      model,
      status,
      cached: this.#pricing === undefined,
      ending: { ...ending, outcome },
      startedAt: this.#startedAt,
      durationMs: this.#elapsedMs,
      firstByteMs: this.#firstByteMs,
      account: this.account(),
      streamed: /^text\/event-stream\b/i.test(this.#contentType),
      contentTypes: [step.headers.get('content-type') ?? '', this.#contentType],
      sizes: [sizeOf(step), this.#size],
    })
  }

  get #contentType(): string {
    return this.#response?.headers.get('content-type') ?? ''
  }
  get #elapsedMs(): number {
    return performance.now() - this.#began
  }
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
