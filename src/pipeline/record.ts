import { GatewayError } from '../errors.ts'
import { newId } from '../ids.ts'
import { limits } from '../limits.ts'
import { askUsage, hideUsage } from '../observe/asked.ts'
import type { Assemble } from '../observe/assemble/assemble.ts'
import { estimateInput } from '../observe/estimate.ts'
import { createMeter, type Meter } from '../observe/meter.ts'
import type { Pricing } from '../observe/pricing.ts'
import { secretsIn } from '../observe/redact.ts'
import type { PlainResponse } from '../plain.ts'
import { isEventStream } from '../runs/pump.ts'
import type { PendingEntry } from '../store/writer.ts'
import type { Account, Call, Cost, Ending, Step, Watch } from '../types.ts'
import { makeEntry } from './entry.ts'
import { isStreamed, sizeOf, toRow } from './row.ts'
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
  readonly response: PlainResponse
  readonly watch: Watch
  readonly logId?: string
  /** Response headers of the gateway's own. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Makes one attempt. Throws `GatewayError` only. */
export type Try = (attempt: Attempt) => Promise<Sent>

/** What a gateway wants recorded, and where. */
export interface Recording {
  /** Whether requests that do not say are recorded. */
  readonly isOn: boolean
  /** Takes an entry; must not throw. */
  add(entry: PendingEntry): void
  /** Makes one body of a stream's events; absent: streams are recorded as they came. */
  readonly assemble?: Assemble | undefined
  /** Refuse what cannot be recorded. */
  readonly isRequired: boolean
  /** False while the store cannot be reached. */
  isHealthy(): boolean
  /** Keys of the gateway's own that are sent to a provider, never to be recorded. */
  secretsOf(provider: string): readonly string[]
}

/** What attempts are recorded with. */
export interface RecordOptions {
  readonly pricing: Pricing
  /** Absent: nowhere. */
  readonly recording: Recording | undefined
  /** Whether a provider is asked for the usage of streams whose client has not asked. */
  readonly asksUsage: (provider: string) => boolean
}

/** Watches every attempt, and records each once at its end. Without a recording its cost is counted all the same. */
export function createRecord(send: Send, { pricing, recording, asksUsage }: RecordOptions): Try {
  return async (attempt) => {
    const { step, call } = attempt
    const record = new AttemptRecord({ attempt, pricing, recording, isHit: false })
    if (record.isKept && recording?.isRequired && !recording.isHealthy())
      throw new GatewayError('log_unavailable')
    try {
      const asking = asksUsage(step.provider) ? askUsage(step) : undefined
      const answer = await send(asking ?? step, call.signal)
      const response =
        asking && isEventStream(answer.headers.get('content-type') ?? '')
          ? hideUsage(answer, (event) => record.hide(event))
          : answer
      record.begin(response)
      return { response, watch: record, ...(record.isKept && { logId: record.id }) }
    } catch (error) {
      record.fail(error)
      throw error
    }
  }
}

/** Watches an answer for which no provider was asked. */
export function recordHit(
  attempt: Attempt,
  response: PlainResponse,
  { pricing, recording }: Pick<RecordOptions, 'pricing' | 'recording'>,
): Omit<Sent, 'response'> {
  const record = new AttemptRecord({ attempt, pricing, recording, isHit: true })
  record.begin(response)
  return { watch: record, ...(record.isKept && { logId: record.id }) }
}

/** What was kept costs nothing more. */
const free: Cost = { value: 0, currency: 'USD', basis: 'reported' }

interface RecordInit {
  readonly attempt: Attempt
  readonly pricing: Pricing
  readonly recording: Recording | undefined
  readonly isHit: boolean
}

/** One attempt, from its start to its row. */
class AttemptRecord implements Watch {
  readonly id: string
  readonly #init: RecordInit
  /** Absent where the attempt is not to be recorded. */
  readonly #recording: Recording | undefined
  readonly #startedAt = Date.now()
  readonly #began = performance.now()
  #response: PlainResponse | undefined
  #meter: Meter | undefined
  /** Not yet counted, as events of before it may still be on their way here. */
  #hidden: Uint8Array | undefined
  /** Of what was read so far. */
  #account: Account | undefined
  /** As the provider names it. */
  #model = ''
  #firstByteMs: number | undefined
  #size = 0
  /** Of the body, for the record. */
  #keepBytes = 0
  #keptBytes = 0
  readonly #parts: Uint8Array[] = []
  #isOver = false

  constructor(init: RecordInit) {
    const { attempt, recording, isHit } = init
    this.#init = init
    this.#recording = (attempt.step.options.collectLog ?? recording?.isOn) ? recording : undefined
    // What was kept of a later step is all that is recorded of its request.
    const isFirst = isHit || (attempt.index === 0 && attempt.number === 1)
    this.id = isFirst ? attempt.call.requestId : newId()
  }

  get isKept(): boolean {
    return this.#recording !== undefined
  }

  begin(response: PlainResponse): void {
    this.#response = response
    this.#keepBytes = this.#toKeep(response)
    this.#meter = createMeter(response.headers, () => estimateInput(this.#init.attempt.step))
  }

  #toKeep({ headers }: PlainResponse): number {
    if (!this.#recording || this.#init.attempt.step.options.collectLogPayload === false) return 0
    const isMadeOne = this.#recording.assemble && isStreamed(headers.get('content-type') ?? '')
    return isMadeOne ? limits.logStreamBytes : limits.logBodyBytes
  }

  /** An event that tells of the usage, and that its client is not sent. */
  hide(event: Uint8Array): void {
    this.#hidden = event.slice()
  }

  read(bytes: Uint8Array): void {
    this.#account = undefined
    this.#firstByteMs ??= this.#elapsedMs
    this.#size += bytes.byteLength
    this.#meter?.read(bytes)
    if (this.#keptBytes >= this.#keepBytes) return
    this.#keptBytes += bytes.byteLength
    this.#parts.push(bytes)
  }

  account(): Account {
    this.#account ??= this.#settle()
    return this.#account
  }

  #settle(): Account {
    const { attempt, pricing, isHit } = this.#init
    if (this.#hidden) this.#meter?.read(this.#hidden)
    this.#hidden = undefined
    const reading = this.#meter?.reading() ?? {}
    const { usage, model = '' } = reading
    this.#model = model
    const cost = isHit ? free : pricing.costOf(attempt.step, reading, this.#response?.status ?? null)
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
    const { attempt, isHit } = this.#init
    const { step } = attempt
    const contentType = this.#response?.headers.get('content-type') ?? ''
    const row = toRow({
      ...attempt,
      id: this.id,
      startedAt: this.#startedAt,
      durationMs: this.#elapsedMs,
      firstByteMs: this.#firstByteMs,
      status: this.#response?.status ?? null,
      contentTypes: [step.headers.get('content-type') ?? '', contentType],
      isStreamed: isStreamed(contentType),
      sizes: [sizeOf(step), this.#size],
      account: this.account(),
      model: this.#model,
      ending,
      isHit,
    })
    const pending = {
      row,
      url: step.url,
      request: step.body instanceof ReadableStream ? null : step.body,
      response: this.#response ? this.#parts.splice(0) : null,
      keepsBodies: step.options.collectLogPayload ?? true,
      secrets: [...secretsIn(step), ...this.#recording.secretsOf(step.provider)],
      assemble: this.#recording.assemble,
    }
    this.#recording.add(makeEntry(pending))
  }

  get #elapsedMs(): number {
    return performance.now() - this.#began
  }
}
