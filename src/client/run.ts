import { LineError } from './errors.ts'
import type { Created, Done, RunFrame, Streamed } from './messages.ts'

/** What carries a run, once it was sent: a session. */
export interface Carrier {
  /** The reader has taken an event of this size, in characters. */
  consumed(run: Run, size: number): void
  /** The reader has read to the end. */
  ended(run: Run): void
  /** The reader wants no more. */
  cancel(run: Run): void
}

interface Received {
  readonly frame: RunFrame
  readonly size: number
}

/** A request that was not sent, and may go another way. */
export const unsent: LineError = new LineError('unreachable', 'The request was not sent', true)

/** One request as the client sees it: what came and is not yet read, and how it ended. */
export class Run {
  readonly eventId: string
  /** Whether events come without gaps in their numbers. */
  readonly raw: boolean
  /** Of its create, in UTF-8. */
  readonly size: number
  /** Its create as JSON; until it is confirmed, after which it is never sent again. */
  create: string | undefined
  carrier: Carrier | undefined
  /** When its create was first sent, in milliseconds since the epoch. */
  sentAt = 0
  /** Number of the event that comes next. */
  next = 0
  /** Number of the last event that was read. */
  consumed = -1
  /** Bytes that were read and not acknowledged. */
  owed = 0
  /** Lets go of what could stop it; called once all of it has come, or it has failed. */
  settle: (() => void) | undefined
  /** Nobody reads it any more. */
  isStopped = false
  #inbox: Received[] = []
  #failure: { readonly reason: unknown } | undefined
  #wake: (() => void) | undefined

  constructor(eventId: string, create: string, size: number, raw: boolean) {
    this.eventId = eventId
    this.create = create
    this.size = size
    this.raw = raw
  }

  /** Take in a frame; one that came before is dropped. False if one is missing before it. */
  accept(frame: RunFrame, size: number): boolean {
    if (this.isStopped || this.#failure) return true
    if (frame.type === 'universal.created') this.#begin(frame, size)
    else if (frame.type === 'universal.done') {
      this.settle?.()
      this.#push(frame, size)
    }
    if (frame.type === 'universal.stream') return this.#event(frame, size)
    return true
  }

  #begin(frame: Created, size: number): void {
    if (this.create === undefined) return
    this.create = undefined
    this.#push(frame, size)
  }

  #event(frame: Streamed, size: number): boolean {
    const { seq } = frame.metadata
    if (!(seq >= this.next)) return true
    if (this.raw && seq > this.next) return false
    this.next = seq + 1
    this.#push(frame, size)
    return true
  }

  #push(frame: RunFrame, size: number): void {
    this.#inbox.push({ frame, size })
    this.#wake?.()
  }

  /** It ends with an error, once what came before has been read. */
  fail(reason: unknown): void {
    this.#failure ??= { reason }
    this.create = undefined
    this.settle?.()
    this.#wake?.()
  }

  /** The reader wants no more: what is unread is dropped, later reads reject with `reason`. */
  stop(reason: unknown): void {
    if (this.isStopped) return
    this.isStopped = true
    this.#inbox = []
    this.fail(reason)
    this.carrier?.cancel(this)
  }

  /**
   * Drop the events that came and are unread; returns the number of the first event needed. Without this, each
   * connection would add a window to what a slow reader has lying here.
   */
  rewind(): number {
    this.#inbox = this.#inbox.filter(({ frame }) => frame.type !== 'universal.stream')
    this.owed = 0
    this.next = this.consumed + 1
    return this.next
  }

  /** The next frame; at most one call at a time. @throws what `fail` or `stop` was given */
  async read(): Promise<RunFrame> {
    for (;;) {
      const received = this.#inbox.shift()
      if (received) return this.#take(received)
      if (this.#failure) throw this.#failure.reason
      await new Promise<void>((wake) => {
        this.#wake = wake
      })
    }
  }

  #take({ frame, size }: Received): RunFrame {
    if (frame.type === 'universal.created') return frame
    // Numbers that were left out have been passed over by now.
    this.consumed = frame.metadata.seq ?? this.consumed
    if (frame.type === 'universal.done') this.carrier?.ended(this)
    else this.carrier?.consumed(this, size)
    return frame
  }
}

/** Why a run ended that did not end well; undefined for one that did. */
export function faultOf({ metadata: { outcome }, error }: Done): LineError | undefined {
  if (outcome === 'completed' || outcome === 'failed') return undefined
  const reason = error ? `: ${error.message}` : ''
  return new LineError(
    outcome,
    outcome === 'cancelled' ? `The run was stopped${reason}` : `The answer broke off${reason}`,
  )
}
