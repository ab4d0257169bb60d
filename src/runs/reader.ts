import { GatewayError } from '../errors.ts'
import type { Head, Terminal } from './terms.ts'

/** The log of a run, as its readers know it. */
export interface Log {
  readonly id: string
  readonly init: { readonly keepBytes: number; readonly windowBytes: number }
  readonly head: Head | undefined
  readonly terminal: Terminal | undefined
  /** Number of the first event that is kept. */
  readonly first: number
  /** Number of the next event. */
  readonly end: number
  /** An event that is kept. */
  at(seq: number): Uint8Array | undefined
  /** Bytes from an event to the end of what came so far. */
  bytesFrom(seq: number): number
  /** Wait for the next event, the head, or the end. */
  changed(): Promise<void>
  /** A reader has moved. */
  moved(): void
  /** Wake the readers. */
  wake(): void
  /** Stop the provider. */
  stop(reason: GatewayError): void
}

/** An event, with its number. */
export interface RunEvent {
  readonly seq: number
  readonly bytes: Uint8Array
}

/** One reading of a run. */
export class Reader {
  readonly run: Log
  readonly #left: () => void
  #position: number
  #acked: number
  /** Number of the last event that its client was told, and of the one before. */
  #told: number
  #toldBefore: number
  /** What was told and is not acked; empty before the first ack. */
  readonly #ahead: { readonly seq: number; readonly bytes: number }[] = []
  #aheadBytes = 0
  #isWindowed = false
  #isClosed = false

  constructor(run: Log, from: number, left: () => void) {
    this.run = run
    this.#position = from
    this.#acked = from - 1
    this.#told = from - 1
    this.#toldBefore = from - 1
    this.#left = left
  }

  /** It has left. */
  get isClosed(): boolean {
    return this.#isClosed
  }
  /** Number of the event it takes next. */
  get position(): number {
    return this.#position
  }
  /** It takes nothing before the next ack. */
  get isFull(): boolean {
    return this.#aheadBytes >= this.run.init.windowBytes
  }
  /** The first event it may still need, or its client when that comes back. */
  get floor(): number {
    if (!this.#isWindowed) return this.#position
    const { run } = this
    const passedBytes = run.bytesFrom(this.#acked + 1) - run.bytesFrom(this.#position) - this.#aheadBytes
    // The window does not count what was passed over, so that this must not keep it without a limit.
    return passedBytes > run.init.keepBytes ? this.#position : this.#acked + 1
  }
  /** Bytes that its client has not consumed. */
  get lagBytes(): number {
    return this.#aheadBytes + this.run.bytesFrom(this.#position)
  }

  /** The head, once there is one; undefined for a run that ended without. */
  async head(): Promise<Head | undefined> {
    while (!this.run.head && !this.run.terminal && !this.#isClosed) await this.run.changed()
    return this.run.head
  }

  /** The next event; undefined after the last, and after `close`. @throws GatewayError gap */
  async next(): Promise<RunEvent | undefined> {
    const { run } = this
    for (;;) {
      if (this.#isClosed) return undefined
      if (this.#position < run.first) throw new GatewayError('gap')
      const bytes = this.isFull ? undefined : run.at(this.#position)
      if (bytes) return this.#take(bytes)
      if (run.terminal && this.#position >= run.end) return undefined
      await run.changed()
    }
  }

  #take(bytes: Uint8Array): RunEvent {
    const seq = this.#position
    this.#position += 1
    this.#toldBefore = this.#told
    this.#told = seq
    if (this.#isWindowed) this.#wait(seq, bytes.byteLength)
    else this.run.moved()
    return { seq, bytes }
  }

  /** The client is not told of the last event, and so can never ack it. */
  pass(): void {
    this.#told = this.#toldBefore
    if (!this.#isWindowed) return
    this.#aheadBytes -= this.#ahead.pop()?.bytes ?? 0
    if (this.#ahead.length === 0) this.#acked = this.#position - 1
    this.run.moved()
  }

  /** The client has consumed the events up to `seq`; from the first call on, the window holds. */
  ack(seq: number): void {
    const upTo = Math.min(seq, this.#position - 1)
    const { run } = this
    if (!this.#isWindowed && upTo < this.#told)
      this.#wait(this.#told, run.bytesFrom(upTo + 1) - run.bytesFrom(this.#position))
    this.#isWindowed = true
    for (let [first] = this.#ahead; first && first.seq <= upTo; [first] = this.#ahead) {
      this.#aheadBytes -= first.bytes
      this.#ahead.shift()
    }
    this.#acked = Math.max(this.#acked, this.#ahead.length === 0 ? this.#position - 1 : upTo)
    run.moved()
    run.wake()
  }

  #wait(seq: number, bytes: number): void {
    this.#ahead.push({ seq, bytes })
    this.#aheadBytes += bytes
  }

  /** Leave; the run goes on. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#left()
  }
}
