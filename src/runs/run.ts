import { GatewayError } from '../errors.ts'
import { limits } from '../limits.ts'
import type { Watch } from '../types.ts'
import { type Head, type OnDisconnect, type Owner, type Terminal, toTerminal } from './terms.ts'

/** What a run is made of. */
export interface RunInit {
  readonly id: string
  readonly eventId: string
  readonly owner: Owner
  readonly onDisconnect: OnDisconnect
  /** Frames carry its bytes as they are (PROTOCOL.md, "universal.create"). */
  readonly raw: boolean
  /** Of its request, to tell whether another create is the same; never rejects. Absent: nobody may join. */
  readonly digest?: Promise<string>
  /** Bytes kept for readers that come later; 0 keeps nothing that all readers have passed. */
  readonly keepBytes: number
  /** Bytes a reader may lag behind before the provider is read no further. */
  readonly windowBytes: number
  /** Told how much more, or less, is kept. */
  readonly kept?: (bytes: number) => void
  /** Told of everything that happens to the run, in order. Must not throw. */
  readonly journal?: Journal
}

/** Keeps runs beyond the life of the object in memory. No method may throw. */
export interface Journal {
  create(run: Run): void
  head(run: Run, head: Head): void
  append(run: Run, seq: number, bytes: Uint8Array): void
  end(run: Run, terminal: Terminal): void
  drop(runId: string): void
}

/** A run as a journal has kept it. */
export interface RunRecord {
  readonly init: Omit<RunInit, 'journal' | 'kept' | 'keepBytes' | 'windowBytes'>
  readonly head?: Head
  readonly terminal?: Terminal
  /** Milliseconds since the epoch. */
  readonly endedAt?: number
  /** Number of the first event. */
  readonly first: number
  readonly events: readonly Uint8Array[]
}

/** One request's life: a log of events numbered from 0, ended by exactly one terminal record. */
export class Run {
  readonly init: RunInit
  readonly #controller = new AbortController()
  readonly #readers = new Set<Reader>()
  readonly #events: Uint8Array[] = []
  /** Offset in the body at which each kept event starts. */
  readonly #starts: number[] = []
  #first = 0
  #bytes = 0
  #keptBytes = 0
  #head: Head | undefined
  #terminal: Terminal | undefined
  #isStarted = false
  #watch: Watch | undefined
  #changed: PromiseWithResolvers<void> | undefined
  #drained: PromiseWithResolvers<void> | undefined

  /** `first` is the number of its first event, where earlier ones are not there to be read. */
  constructor(init: RunInit, first = 0) {
    this.init = init
    this.#first = first
  }

  get id(): string {
    return this.init.id
  }
  /** Aborts when the run is to be stopped; the reason is a `GatewayError`. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }
  get head(): Head | undefined {
    return this.#head
  }
  get terminal(): Terminal | undefined {
    return this.#terminal
  }
  /** Number of the first event that is kept. */
  get first(): number {
    return this.#first
  }
  /** Number of the next event. */
  get end(): number {
    return this.#first + this.#events.length
  }
  /** Bytes held for readers. */
  get keptBytes(): number {
    return this.#keptBytes
  }
  get readers(): number {
    return this.#readers.size
  }

  /** What a journal has kept; without a terminal record it was cut. */
  restore({ head, terminal, first, events }: RunRecord): void {
    this.#first = first
    this.#head = head
    for (const bytes of events) this.#push(bytes)
    if (terminal) this.#terminal = terminal
    else this.finish(toTerminal(new GatewayError('provider_failed', 'What ran this request has ended'), true))
  }

  /** Its call is made. */
  start(): void {
    this.#isStarted = true
  }

  /** The answer begins; `watch` is told of the end. */
  begin(head: Head, watch?: Watch): void {
    if (this.#terminal) watch?.end(this.#terminal)
    if (this.#head || this.#terminal) return
    this.#head = head
    this.#watch = watch
    this.init.journal?.head(this, head)
    this.#notify()
  }

  /** The next event. Nothing is appended after the end. */
  append(bytes: Uint8Array): void {
    if (this.#terminal) return
    this.init.journal?.append(this, this.end, bytes)
    this.#push(bytes)
    this.#trim()
    this.#notify()
  }

  #push(bytes: Uint8Array): void {
    this.#starts.push(this.#bytes)
    this.#events.push(bytes)
    this.#bytes += bytes.byteLength
    this.#keptBytes += bytes.byteLength
    this.init.kept?.(bytes.byteLength)
  }

  /** The end; later ones have no effect. */
  finish(terminal: Terminal): void {
    if (this.#terminal) return
    this.#terminal = { ...this.#watch?.account(), ...terminal }
    this.#watch?.end(this.#terminal)
    this.init.journal?.end(this, this.#terminal)
    this.#notify()
    this.#release()
  }

  /**
   * Stop the provider. The terminal record follows when its connection has ended, or, unseen, after
   * `limits.stopMs`. Again, or after the end: no effect.
   */
  stop(reason: GatewayError): void {
    if (this.#terminal || this.signal.aborted) return
    this.#controller.abort(reason)
    this.#release()
    if (this.#isStarted) setTimeout(() => this.finish(toTerminal(reason, false)), limits.stopMs)
    else this.finish(toTerminal(reason, true))
  }

  /** Wait until no reader lags. */
  async room(): Promise<void> {
    while (!this.#terminal && !this.signal.aborted && this.#isLagging()) {
      this.#drained ??= Promise.withResolvers()
      await this.#drained.promise
    }
  }

  /** Wait for the next event, the head, or the end. */
  changed(): Promise<void> {
    this.#changed ??= Promise.withResolvers()
    return this.#changed.promise
  }

  /** Read from an event on. */
  read(from: number): Reader {
    const reader = new Reader(this, from, () => {
      this.#readers.delete(reader)
      this.#release()
      this.#notify()
    })
    this.#readers.add(reader)
    return reader
  }

  /** An event that is kept. */
  at(seq: number): Uint8Array | undefined {
    return this.#events[seq - this.#first]
  }

  /** Bytes from an event to the end of what came so far. */
  bytesFrom(seq: number): number {
    return this.#bytes - (this.#starts[Math.max(seq - this.#first, 0)] ?? this.#bytes)
  }

  /** A reader has moved. */
  moved(): void {
    this.#trim()
    this.#release()
  }

  /** Wake the readers. */
  wake(): void {
    this.#notify()
  }

  #isLagging(): boolean {
    for (const reader of this.#readers) if (reader.lagBytes > this.init.windowBytes) return true
    return false
  }

  #trim(): void {
    let floor = this.end
    for (const reader of this.#readers) floor = Math.min(floor, reader.floor)
    while (this.#keptBytes > this.init.keepBytes && this.#first < floor) {
      const bytes = this.#events.shift()?.byteLength ?? 0
      this.#keptBytes -= bytes
      this.init.kept?.(-bytes)
      this.#starts.shift()
      this.#first += 1
    }
  }

  #notify(): void {
    this.#changed?.resolve()
    this.#changed = undefined
  }

  #release(): void {
    this.#drained?.resolve()
    this.#drained = undefined
  }
}

/** An event, with its number. */
export interface RunEvent {
  readonly seq: number
  readonly bytes: Uint8Array
}

/** One reading of a run. */
export class Reader {
  readonly run: Run
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

  constructor(run: Run, from: number, left: () => void) {
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
      const bytes = this.#aheadBytes < run.init.windowBytes ? run.at(this.#position) : undefined
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
