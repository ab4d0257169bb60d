import { GatewayError } from '../errors.ts'
import { newId } from '../ids.ts'
import { modelOf } from '../observe/model.ts'
import type { Pricing } from '../observe/pricing.ts'
import { addUsage, createFrameMeter, type FrameMeter } from '../observe/realtime.ts'
import { secretsIn } from '../observe/redact.ts'
import type { Providers } from '../providers/providers.ts'
import { isHarmless } from '../providers/sockets.ts'
import type { Connected, Frame, Listener, RealtimeDialect, RelayEnd, RelayWatch, Side } from '../socket.ts'
import type { Account, Call, Cost, Ending, Runtime, Step, Usage } from '../types.ts'
import { type BudgetOptions, openTab, type Tab, withoutPrices } from './budget.ts'
import type { DialProvider } from './dial.ts'
import { makeEntry } from './entry.ts'
import { assertGranted, countGranted, createFrameGuard } from './grant.ts'
import { countRequest } from './limit.ts'
import type { Attempt, Recording } from './record.ts'
import { toRow } from './row.ts'

/** Status of an upgrade. */
const opened = 101

/** The two ends of a relay, as far as they are known here. */
export interface Relaying {
  /** Hears the provider. */
  readonly provider: Listener
  /** Close both sides. */
  end(code: number, reason: string): void
}

/** What a client asks of a relay. */
export interface RelayRequest {
  readonly call: Call
  /** Subprotocols to offer to the provider. */
  readonly protocols: readonly string[]
  /** Makes the relay that is watched. */
  relay(watch: RelayWatch): Relaying
}

/** A provider that was reached. */
export interface Relayed extends Connected {
  /** Index of the step that was. */
  readonly step: number
  readonly logId?: string
  /** For the client: how its limits stand. */
  readonly headers?: Readonly<Record<string, string>>
}

/** A provider's refusal. */
export interface Refused {
  readonly response: Response
  readonly step: number
  readonly logId?: string
}

/** Dials the steps of a call in order, until one opens a socket. Throws `GatewayError` only. */
export type RelayHandler = (request: RelayRequest) => Promise<Relayed | Refused>

/** What sessions that are relayed pass on their way. */
export interface RelayOptions {
  readonly providers: Providers
  readonly dial: DialProvider
  readonly budget: BudgetOptions
  readonly pricing: Pricing
  readonly recording: Recording | undefined
}

/** The way of a relayed session: requests are counted, each dial is held against the limits, and recorded once. */
export function createRelayHandler(given: RelayOptions): RelayHandler {
  // What a session will use up cannot be told before it is held, so it is counted as it comes.
  const dialectOf = ({ provider }: Step) => given.providers.get(provider)?.realtime.dialect
  const budget: BudgetOptions = {
    ...given.budget,
    pricing: { ...given.pricing, estimateCost: () => undefined },
    namesLater: (step) => namesLater(step, dialectOf(step)),
  }
  const options = { ...given, budget, dialectOf }
  return async (request) => {
    const { call } = request
    const { steps } = call
    for (const step of steps) assertGranted(call, step, options.dialectOf(step) !== undefined)
    await countGranted(call, budget.counters)
    const headers = await countRequest(budget, call)
    for (const [index, step] of steps.entries()) {
      const isLast = index === steps.length - 1
      try {
        // A client's secret is for the provider it named, and may be in a name of any form.
        const protocols = index === 0 ? request.protocols : request.protocols.filter(isHarmless)
        const reached = await attempt(options, { ...request, protocols }, { call, step, index, number: 1 })
        if ('socket' in reached) return { ...reached, ...(headers && { headers }) }
        if (isLast) return reached
      } catch (error) {
        const isFinal = isLast || !(error instanceof GatewayError) || error.code === 'client_closed'
        if (isFinal) throw error
      }
    }
    throw new GatewayError('internal')
  }
}

/** Gemini Live never minds its URL, and OpenAI's sockets for Responses have a model in each frame. */
function namesLater({ url }: Step, dialect: RealtimeDialect | undefined): boolean {
  const isFramed = dialect === 'gemini' || (dialect === 'openai' && !url.pathname.endsWith('/realtime'))
  return isFramed || modelOf(url, null) === ''
}

async function attempt(
  options: RelayOptions & { dialectOf: (step: Step) => RealtimeDialect | undefined },
  { relay, protocols, call }: RelayRequest,
  one: Attempt,
): Promise<Relayed | Refused> {
  const { dial, budget, pricing, dialectOf } = options
  const { step, index } = one
  const tab = await openTab(budget, one)
  const isKept = options.recording !== undefined && (step.options.collectLog ?? options.recording.isOn)
  const recording = isKept ? options.recording : undefined
  const meter = createFrameMeter(dialectOf(step), modelOf(step.url, null))
  const forbids = createFrameGuard(call, step.provider, dialectOf(step))
  const { defer } = budget.runtime
  const record = new SessionRecord({ attempt: one, recording, pricing, meter, tab, forbids, defer })
  try {
    if (recording?.isRequired && !recording.isHealthy()) throw new GatewayError('log_unavailable')
    const relaying = relay(record)
    record.stop = (reason) => relaying.end(1008, reason)
    const reached = await dial({ step, protocols, listener: relaying.provider, signal: call.signal })
    const logId = recording && { logId: record.id }
    if (!(reached instanceof Response)) return { ...reached, step: index, ...logId }
    record.refused(reached)
    return { response: reached, step: index, ...logId }
  } catch (error) {
    record.failed(error)
    throw error
  }
}

interface RecordParts {
  readonly attempt: Attempt
  readonly recording: Recording | undefined
  readonly pricing: Pricing
  readonly meter: FrameMeter
  readonly tab: Tab | undefined
  readonly forbids: ReturnType<typeof createFrameGuard>
  readonly defer: Runtime['defer']
}

/** One relayed session, from its dial to its row. */
class SessionRecord implements RelayWatch {
  readonly id: string
  stop: ((reason: string) => void) | undefined
  readonly #parts: RecordParts
  readonly #startedAt = Date.now()
  readonly #began = performance.now()
  #firstByteMs: number | undefined
  readonly #frames: Record<Side, number> = { client: 0, provider: 0 }
  readonly #bytes: Record<Side, number> = { client: 0, provider: 0 }
  #account: Account = {}
  #isOver = false

  constructor(parts: RecordParts) {
    this.#parts = parts
    this.id = parts.attempt.index === 0 ? parts.attempt.call.requestId : newId()
  }

  passes(from: Side, frame: Frame): string | undefined {
    const { forbids, meter } = this.#parts
    const refusal = from === 'client' ? forbids?.(frame) : undefined
    if (refusal !== undefined) return refusal
    this.#frames[from] += 1
    this.#bytes[from] += typeof frame === 'string' ? utf8Length(frame) : frame.byteLength
    if (from === 'provider') this.#firstByteMs ??= this.#elapsedMs
    const usage = meter.read(from, frame)
    if (usage) this.#use(usage)
    return undefined
  }

  /** What was reported is counted at once; a limit that it reaches ends the session behind the frame that told it. */
  #use(usage: Usage): void {
    const { attempt, pricing, meter, tab } = this.#parts
    const { step } = attempt
    const model = meter.model()
    const reading = { usage, ...(model && { model }) }
    const { usage: before, cost: spent, listedCost = 0 } = this.#account
    this.#account = {
      usage: before ? addUsage(before, usage) : usage,
      cost: addCost(spent, pricing.costOf(step, reading, opened), step),
      ...(step.options.customCost && {
        listedCost: listedCost + (pricing.costOf(withoutPrices(step), reading, opened).value ?? 0),
      }),
    }
    if (tab) this.#defer(this.#settle(tab))
  }

  async #settle(tab: Tab): Promise<void> {
    await tab.settle(this.#account)
    const limit = this.#isOver ? undefined : await tab.reached()
    if (limit !== undefined) this.stop?.(`The limit of the ${limit} is reached`)
  }

  #defer(work: Promise<void>): void {
    this.#parts.defer?.(work)
  }

  ended(end: RelayEnd): void {
    this.#end(opened, toEnding(end))
  }

  refused({ status }: Response): void {
    this.#end(status, { outcome: 'failed', upstreamStopped: true })
  }

  failed(error: unknown): void {
    const { code, message } = error instanceof GatewayError ? error : new GatewayError('internal')
    const outcome = code === 'client_closed' ? 'cancelled' : 'failed'
    this.#end(null, { outcome, upstreamStopped: true, error: { code, message } })
  }

  #end(status: number | null, ending: Ending): void {
    if (this.#isOver) return
    this.#isOver = true
    const { attempt, recording, pricing, meter } = this.#parts
    if (!recording) return
    const { step } = attempt
    const cost = this.#account.cost ?? pricing.costOf(step, {}, status)
    const row = toRow({
      ...attempt,
      id: this.id,
      startedAt: this.#startedAt,
      durationMs: this.#elapsedMs,
      firstByteMs: this.#firstByteMs,
      status,
      contentTypes: ['websocket', 'websocket'],
      isStreamed: true,
      sizes: [this.#bytes.client, this.#bytes.provider],
      frames: [this.#frames.client, this.#frames.provider],
      model: meter.model(),
      account: { ...this.#account, cost },
      ending,
      isHit: false,
    })
    const secrets = [...secretsIn(step), ...recording.secretsOf(step.provider)]
    const none = { request: null, response: null, keepsBodies: false, assemble: undefined }
    recording.add(makeEntry({ row, url: step.url, secrets, ...none }))
  }

  get #elapsedMs(): number {
    return performance.now() - this.#began
  }
}

/** What one more use adds; a price for the whole is not added to itself. */
function addCost(spent: Cost | undefined, cost: Cost, { options }: Step): Cost {
  if (!spent || options.customCost?.total_cost !== undefined) return cost
  const { value } = spent
  if (value === null) return cost
  return cost.value === null ? spent : { ...spent, value: value + cost.value }
}

/** What an end says of a session: whoever closes it in good order has completed it. */
function toEnding({ by, code, reason }: RelayEnd): Ending {
  const isOrderly = code === 1000 || code === 1001 || code === 1005
  if (by === 'gateway') return incomplete('internal', reason)
  if (isOrderly || (by === 'client' && code >= 3_000)) return { outcome: 'completed', upstreamStopped: true }
  if (by === 'client') return { outcome: 'cancelled', upstreamStopped: true }
  const told = `The provider closed the session with ${code}${reason && `: ${reason}`}`
  const error = { code: 'provider_failed', message: told }
  return { outcome: code === 1006 ? 'incomplete' : 'failed', upstreamStopped: true, error }
}

const incomplete = (code: string, message: string): Ending => ({
  outcome: 'incomplete',
  upstreamStopped: true,
  error: { code, message },
})

/** Bytes of a text on the wire. */
function utf8Length(text: string): number {
  let length = text.length
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code < 0x80) continue
    // A surrogate is half of four bytes.
    length += code < 0x800 || (code >= 0xd800 && code <= 0xdfff) ? 1 : 2
  }
  return length
}
