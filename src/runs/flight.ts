import { GatewayError, toStopReason } from '../errors.ts'
import { limits } from '../limits.ts'
import type { Call, Handler, Result, Shared, Watch } from '../types.ts'
import { toBody } from './body.ts'
import { pump } from './pump.ts'
import { Run } from './run.ts'

/** An answer that came whole. */
export interface Landed {
  readonly result: Result
  readonly body: Uint8Array<ArrayBuffer>
  /** End of each event in the body, and when it came, in milliseconds since the epoch. */
  readonly events: readonly (readonly [end: number, at: number])[]
}

/**
 * One call of a provider for all who ask the same while it is under way: a run that each of them reads from its first
 * event on. It stops when the last of them has left.
 */
export class Flight implements Shared {
  readonly #run: Run
  readonly #answer: Promise<Result>
  readonly #times: number[] = []

  /** `landed` is told of an answer that came whole, and is small enough to be kept. */
  constructor(call: Call, next: Handler, landed: (landed: Landed) => void, over: () => void) {
    this.#run = new Run({
      id: call.requestId,
      eventId: call.eventId,
      owner: { gateway: call.gateway, credential: null },
      onDisconnect: 'detach',
      raw: false,
      keepBytes: limits.cacheBodyBytes,
      windowBytes: limits.cacheBodyBytes,
    })
    this.#answer = next({ ...call, signal: this.#run.signal })
    this.#answer.catch(over) // whoever waits is told
    void pump(this.#run, () => this.#start())
      .then(() => this.#land(landed))
      .finally(over)
  }

  async #start() {
    const { response, watch } = await this.#answer
    const contentType = response.headers.get('content-type') ?? ''
    return {
      head: { status: response.status, contentType, headers: [], metadata: {} },
      body: response.body,
      watch: this.#timed(watch),
    }
  }

  #timed(watch: Watch): Watch {
    return {
      read: (bytes) => {
        this.#times.push(Date.now())
        watch.read(bytes)
      },
      account: () => watch.account(),
      end: (ending) => watch.end(ending),
    }
  }

  async #land(landed: (landed: Landed) => void): Promise<void> {
    const run = this.#run
    if (run.terminal?.outcome !== 'completed' || run.first > 0) return
    const body = new Uint8Array(run.bytesFrom(0))
    const events: [number, number][] = []
    let end = 0
    for (let seq = 0; seq < run.end; seq += 1) {
      const bytes = run.at(seq) ?? new Uint8Array(0)
      body.set(bytes, end)
      end += bytes.byteLength
      events.push([end, this.#times[seq] ?? this.#times.at(-1) ?? 0])
    }
    landed({ result: await this.#answer, body, events })
  }

  /** The answer as one more reader's own; undefined once it is too late to read it from its beginning. */
  join(call: Call): Promise<Result> | undefined {
    const run = this.#run
    const isOpen = run.first === 0 && !run.signal.aborted && run.terminal === undefined
    return isOpen ? this.#read(call) : undefined
  }

  async #read({ signal }: Call): Promise<Result> {
    const run = this.#run
    const reader = run.read(0)
    const leave = () => {
      reader.close()
      if (run.readers === 0) run.stop(new GatewayError('client_closed'))
    }
    signal.addEventListener('abort', leave, { once: true })
    const left = Promise.withResolvers<never>()
    signal.addEventListener('abort', () => left.reject(toStopReason(signal)), { once: true })
    try {
      if (signal.aborted) throw toStopReason(signal)
      const result = await Promise.race([this.#answer, left.promise])
      const { status, statusText, ok, headers } = result.response
      const body = result.response.body && toBody(reader, leave)
      return { ...result, response: { status, statusText, ok, headers, body } }
    } catch (error) {
      leave()
      throw error
    }
  }
}
