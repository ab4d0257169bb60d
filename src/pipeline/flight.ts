import { GatewayError, toStopReason } from '../errors.ts'
import { limits } from '../limits.ts'
import type { ByteReader, ByteSource, Part } from '../plain.ts'
import { halfEvent, isEventStream, isWholeEnd } from '../runs/pump.ts'
import { toTerminal } from '../runs/terms.ts'
import { createSplitter } from '../splitter.ts'
import { join, readUntil, toBreak, toFault } from '../streams.ts'
import type { Call, Ending, Handler, Result, Shared } from '../types.ts'

/** An answer that came whole. */
export interface Landed {
  readonly result: Result
  readonly body: Uint8Array<ArrayBuffer>
  /** End of each event in the body, and when it came, in milliseconds since the epoch; empty for what is no stream. */
  readonly events: readonly (readonly [end: number, at: number])[]
}

/** Who is told what becomes of a flight. */
export interface FlightOptions {
  /** An answer came whole, and is small enough to be kept. */
  readonly landed: (landed: Landed) => void
  /** It is over, in whatever way: nobody can join it any more. */
  readonly over: () => void
}

/**
 * One call of a provider for all who ask the same while it is under way: each of them reads it from its beginning, and
 * the fastest reads on for all. It stops when the last of them has left.
 */
export class Flight implements Shared {
  readonly #options: FlightOptions
  readonly #controller = new AbortController()
  readonly #answer: Promise<Result>
  readonly #readers = new Set<Follower>()
  /** Parts of the body, and when each came; of a body over `limits.cacheBodyBytes` those that some still need. */
  readonly #parts: Uint8Array[] = []
  readonly #times: number[] = []
  #heldBytes = 0
  /** Number of the first part that is held. */
  #first = 0
  #result: Result | undefined
  #source: ByteReader | undefined
  #pulling: Promise<void> | undefined
  #moved: PromiseWithResolvers<void> | undefined
  #ending: Ending | undefined
  #fault: GatewayError | undefined

  constructor(call: Call, next: Handler, options: FlightOptions) {
    this.#options = options
    this.#answer = next({ ...call, signal: this.#controller.signal })
    this.#answer.then(
      (result) => this.#begin(result),
      () => options.over(), // whoever waits is told
    )
  }

  /** The answer as one more reader's own; undefined once it is too late to read it from its beginning. */
  join(call: Call): Promise<Result> | undefined {
    const isOpen = this.#first === 0 && !this.#controller.signal.aborted && !this.#ending
    return isOpen ? this.#read(call) : undefined
  }

  async #read({ signal }: Call): Promise<Result> {
    const follower = new Follower(this)
    this.#readers.add(follower)
    const left = Promise.withResolvers<never>()
    const leave = (): void => {
      left.reject(toStopReason(signal))
      void follower.cancel()
    }
    left.promise.catch(() => undefined) // nobody waits for it any more
    if (signal.aborted) leave()
    else signal.addEventListener('abort', leave, { once: true })
    try {
      const result = await Promise.race([this.#answer, left.promise])
      if (signal.aborted) throw toStopReason(signal)
      const { status, statusText, ok, headers } = result.response
      const body = result.response.body && follower
      return { ...result, response: { status, statusText, ok, headers, body } }
    } catch (error) {
      await follower.cancel()
      throw error
    }
  }

  #begin(result: Result): void {
    this.#result = result
    if (this.#ending) result.watch.end(this.#ending)
    if (result.response.body) this.#source = readUntil(result.response.body, this.#controller.signal)
    else this.#land()
  }

  /** A part by its number; undefined for one that has not come. */
  at(number: number): Uint8Array | undefined {
    return this.#parts[number - this.#first]
  }

  /** Nothing more will come. */
  get isOver(): boolean {
    return this.#ending !== undefined
  }
  /** Why it did not come whole. */
  get fault(): GatewayError | undefined {
    return this.#fault
  }

  /** Wait until there may be one part more. */
  more(): Promise<void> {
    if (this.#heldBytes > limits.cacheBodyBytes) {
      this.#moved ??= Promise.withResolvers()
      return this.#moved.promise
    }
    this.#pulling ??= this.#pull().finally(() => {
      this.#pulling = undefined
    })
    return this.#pulling
  }

  async #pull(): Promise<void> {
    try {
      const part = await this.#source!.read()
      if (this.#ending) return
      if (part.done) this.#land()
      else this.#take(part.value)
    } catch (error) {
      this.#fail(error)
    }
  }

  #take(bytes: Uint8Array): void {
    this.#result?.watch.read(bytes)
    this.#parts.push(bytes)
    this.#times.push(Date.now())
    this.#heldBytes += bytes.byteLength
    this.trim()
  }

  /** Let go of what all have read, once it is too much to be kept. */
  trim(): void {
    if (this.#heldBytes > limits.cacheBodyBytes) {
      let needed = Number.POSITIVE_INFINITY
      for (const { position } of this.#readers) needed = Math.min(needed, position)
      while (this.#heldBytes > limits.cacheBodyBytes && this.#first < needed) {
        this.#heldBytes -= this.#parts.shift()?.byteLength ?? 0
        this.#times.shift()
        this.#first += 1
      }
    }
    this.#moved?.resolve()
    this.#moved = undefined
  }

  /** All of it has come. Half an event must not pass for a whole one. */
  #land(): void {
    const result = this.#result!
    const { ok, headers } = result.response
    const events = isEventStream(headers.get('content-type') ?? '') ? this.#events() : []
    if (events) this.#end({ outcome: ok ? 'completed' : 'failed', upstreamStopped: true })
    else this.#fail(halfEvent())
    if (!events || !ok || this.#first > 0) return
    this.#options.landed({ result, body: join(this.#parts, this.#heldBytes), events })
  }

  /** Where its events end, and when they came; undefined where the last one does not. */
  #events(): [number, number][] | undefined {
    const splitter = createSplitter()
    const events: [number, number][] = []
    let end = 0
    const note = (bytes: Uint8Array, at = 0): void => {
      end += bytes.byteLength
      events.push([end, at])
    }
    try {
      for (const [index, part] of this.#parts.entries())
        for (const event of splitter.push(part)) note(event, this.#times[index])
    } catch {
      return [] // one of its events is too large to be looked at
    }
    const rest = splitter.rest()
    if (rest.byteLength > 0) note(rest, this.#times.at(-1))
    return isWholeEnd(rest) ? events : undefined
  }

  #fail(error: unknown): void {
    this.#fault = toFault(error)
    this.#end(toBreak(error))
  }

  #end(ending: Ending): void {
    if (this.#ending) return
    this.#ending = ending
    this.#result?.watch.end(ending)
    this.#options.over()
    this.trim()
  }

  /** A reader has left; with the last one the provider is stopped, unless all has come. */
  async leave(reader: Follower): Promise<void> {
    this.#readers.delete(reader)
    this.trim()
    if (this.#readers.size > 0 || this.#ending) return
    const reason = new GatewayError('client_closed')
    this.#controller.abort(reason)
    this.#end(toTerminal(reason, true))
    await this.#source?.cancel(reason).catch(() => undefined) // a body that has failed rejects, and is closed all the same
  }
}

/** One who reads along. */
class Follower implements ByteSource, ByteReader {
  readonly #flight: Flight
  /** Number of the part it reads next. */
  position = 0
  readonly #closed = Promise.withResolvers<void>()
  #isClosed = false

  constructor(flight: Flight) {
    this.#flight = flight
  }

  getReader(): ByteReader {
    return this
  }

  async read(): Promise<Part> {
    const flight = this.#flight
    while (!this.#isClosed) {
      const value = flight.at(this.position)
      if (value) {
        this.position += 1
        flight.trim()
        return { done: false, value }
      }
      if (!flight.isOver) await Promise.race([flight.more(), this.#closed.promise])
      else if (flight.fault) throw flight.fault
      else break
    }
    return { done: true }
  }

  /** Resolves once the provider is stopped, where this was the last. */
  async cancel(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#closed.resolve() // a read that is under way ends now
    await this.#flight.leave(this)
  }
}
