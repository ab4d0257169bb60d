import { LineError } from './errors.ts'
import { heldMessages, windowParts } from './limits.ts'
import type { Failed, HeldRun, Ready, RunFrame } from './messages.ts'
import type { Carrier, Run } from './run.ts'
import { closeCodes } from './socket.ts'
import { type Route, Uplink } from './uplink.ts'

/** What a session tells its link. */
export interface Host {
  /** It has opened, was lost, could not connect, or has room for another run. */
  changed(): void
  /** The gateway stops: what is new belongs on another session. */
  goaway(): void
  /** A create was not taken, and may go over another session. */
  refused(run: Run): void
  /** It is over: drained, or for a reason that would meet the next one too. */
  ended(error?: LineError): void
}

/** The runs of one session of a gateway, over all of its connections (PROTOCOL.md, "Connecting again"). */
export class Session implements Carrier {
  readonly #host: Host
  readonly #uplink: Uplink
  readonly #ackMs: number
  readonly #handshakes: number
  readonly #runs = new Map<string, Run>()
  readonly #owing = new Set<Run>()
  #ackTimer: ReturnType<typeof setTimeout> | undefined
  #heldBytes = 0
  #isDraining = false
  /** The connection was closed for the size of a message. */
  #hasTooBig = false
  /** For how long a gateway keeps what nobody reads, in milliseconds; 0 before the first connection. */
  #detachMs = 0
  #seenAt = 0

  /** Begins to connect. `idle` is that of the session it stands in for. @throws what the socket's constructor does */
  constructor(route: Route, host: Host, idle: number) {
    this.#host = host
    this.#ackMs = route.limits.ackMs
    this.#handshakes = route.limits.handshakes
    const receiver = {
      ready: (ready: Ready) => this.#begin(ready),
      goaway: () => this.#goaway(),
      frame: (frame: RunFrame | Failed, size: number) => this.#take(frame, size),
      lost: (code: number | undefined) => this.#lost(code),
    }
    this.#uplink = new Uplink(route, receiver, idle)
  }

  get isOpen(): boolean {
    return this.#uplink.current !== undefined
  }
  /** Failed handshakes in a row. */
  get failures(): number {
    return this.#uplink.failures
  }
  /** Short connections in a row of which nothing came. */
  get idle(): number {
    return this.#uplink.idle
  }

  /** Whether a run can be sent now. One that is alone always can, however large. */
  hasRoom(run: Run): boolean {
    const limits = this.#uplink.current?.limits
    if (!limits) return false
    if (this.#runs.size === 0) return true
    return (
      this.#runs.size < limits.inFlight && this.#heldBytes + run.size <= heldMessages * limits.messageBytes
    )
  }

  /** Send a run, or fail it where no gateway would take it. Needs `hasRoom`. */
  send(run: Run): void {
    const bytesMax = this.#uplink.current?.limits.messageBytes ?? 0
    if (run.size > bytesMax) {
      run.fail(new LineError('too_large', `The request is over ${bytesMax} bytes, as one message`))
    } else if (this.#runs.has(run.eventId)) {
      run.fail(new LineError('conflict', 'This eventId is in use'))
    } else {
      this.#runs.set(run.eventId, run)
      this.#heldBytes += run.size
      run.carrier = this
      run.sentAt = Date.now()
      this.#create(run)
    }
  }

  /** No new runs; it ends with those it has. */
  drain(): void {
    this.#isDraining = true
    this.#endIfDrained()
  }

  /** End it, and stop its runs for this reason. */
  close(reason: unknown): void {
    const eventIds = [...this.#runs.keys()]
    for (const run of this.#runs.values()) {
      run.carrier = undefined
      run.stop(reason)
    }
    this.#runs.clear()
    this.#finish(eventIds)
  }

  consumed(run: Run, size: number): void {
    run.owed += size
    const { current } = this.#uplink
    if (!current || !this.#has(run)) return
    if (run.owed >= current.limits.windowBytes / windowParts) {
      this.#ack(run)
      return
    }
    this.#owing.add(run)
    this.#ackTimer ??= setTimeout(() => {
      this.#ackTimer = undefined
      for (const owing of this.#owing) this.#ack(owing)
    }, this.#ackMs)
  }

  /** So that the gateway need not name it again. */
  ended(run: Run): void {
    if (!this.#runs.has(run.eventId)) this.#ack(run)
  }

  cancel(run: Run): void {
    if (this.#has(run)) this.#uplink.send({ type: 'universal.cancel', eventId: run.eventId })
  }

  #has(run: Run): boolean {
    return this.#runs.get(run.eventId) === run
  }

  #create(run: Run): void {
    if (run.create !== undefined) this.#uplink.send(run.create)
  }

  #ack(run: Run): void {
    run.owed = 0
    this.#owing.delete(run)
    this.#uplink.send({ type: 'universal.ack', eventId: run.eventId, seq: run.consumed })
  }

  #begin({ session, detachSeconds }: Ready): void {
    this.#detachMs = detachSeconds * 1_000
    const held = new Map(session.runs?.map((run) => [run.eventId, run]))
    if (!session.resumed) this.#breakOff()
    this.#failTooBig(held)
    for (const run of this.#runs.values()) this.#resume(run, held.get(run.eventId))
    for (const { eventId, seq, outcome } of held.values())
      if (outcome && !this.#runs.has(eventId)) this.#uplink.send({ type: 'universal.ack', eventId, seq })
    this.#freed()
  }

  /** Go on with a run on a new connection of its session. */
  #resume(run: Run, held: HeldRun | undefined): void {
    const { eventId } = run
    if (run.isStopped) this.#stopAgain(run, held)
    else if (held || run.create === undefined) {
      this.#uplink.send({ type: 'universal.resume', eventId, from: run.rewind() })
      this.#ack(run)
    } else if (Date.now() - run.sentAt < this.#detachMs) this.#create(run)
    // It may have come, run, ended and been dropped since.
    else this.#drop(run, incomplete())
  }

  /** The cancel may have been lost; reading on from the end brings the word that it was not. */
  #stopAgain(run: Run, held: HeldRun | undefined): void {
    if (!held || held.outcome) {
      this.#drop(run)
      return
    }
    this.cancel(run)
    this.#uplink.send({ type: 'universal.resume', eventId: run.eventId, from: held.seq + 1 })
  }

  #take(frame: RunFrame | Failed, size: number): void {
    const run = this.#runs.get(frame.metadata?.eventId ?? '')
    if (!run) return
    if (isFailed(frame)) this.#failed(run, frame.error)
    else if (!run.accept(frame, size)) {
      run.fail(incomplete())
      run.isStopped = true
      this.cancel(run)
    } else if (frame.type === 'universal.done') this.#release(run)
    if (!this.#runs.has(run.eventId)) this.#freed()
  }

  #failed(run: Run, { code, message, retryable, retryAfterMs }: Failed['error']): void {
    if (code === 'gap') this.cancel(run) // nobody can read it to its end
    if (code === 'expired' || code === 'gap') this.#drop(run, incomplete())
    else if (code === 'draining' && run.create !== undefined) {
      this.#drop(run)
      this.#goaway()
      this.#host.refused(run)
    } else this.#drop(run, new LineError(code, message, retryable, retryAfterMs))
  }

  #goaway(): void {
    if (!this.#isDraining) this.#host.goaway()
  }

  #lost(code: number | undefined): void {
    clearTimeout(this.#ackTimer)
    this.#ackTimer = undefined
    this.#owing.clear()
    if (this.#uplink.failures === 0) this.#seenAt = Date.now()
    else if (Date.now() - this.#seenAt > this.#detachMs) this.#breakOff()
    this.#hasTooBig ||= code === closeCodes.tooBig
    const isLost = this.#isDraining && (this.#runs.size === 0 || this.#uplink.failures >= this.#handshakes)
    if (code === closeCodes.unauthorized)
      this.#end(new LineError('unauthorized', 'The token was revoked, or has expired'))
    else if (code === closeCodes.takenOver)
      this.#end(new LineError('taken_over', 'Another connection has taken the session over'))
    else if (isLost) this.#end()
    else this.#host.changed()
  }

  /** Of the creates that the gateway has not taken, the largest was too large, and would be again. */
  #failTooBig(held: ReadonlyMap<string, HeldRun>): void {
    if (!this.#hasTooBig) return
    this.#hasTooBig = false
    const [largest] = [...this.#runs.values()]
      .filter(({ eventId, create }) => create !== undefined && !held.has(eventId))
      .sort((one, other) => other.size - one.size)
    const message = 'The request was too large for the gateway, or for something before it'
    if (largest) this.#drop(largest, new LineError('too_large', message))
  }

  /** What was sent is lost; to send it again would be paid for twice. */
  #breakOff(): void {
    for (const run of this.#runs.values()) this.#drop(run, incomplete())
  }

  #drop(run: Run, error?: LineError): void {
    this.#release(run)
    run.carrier = undefined
    if (error) run.fail(error)
  }

  /** All of it has come, read or not. */
  #release(run: Run): void {
    if (!this.#has(run)) return
    this.#runs.delete(run.eventId)
    this.#heldBytes -= run.size
    this.#owing.delete(run)
  }

  #freed(): void {
    this.#endIfDrained()
    this.#host.changed()
  }

  #endIfDrained(): void {
    if (this.#isDraining && this.isOpen && this.#runs.size === 0) this.#end()
  }

  #end(error?: LineError): void {
    this.#breakOff()
    this.#finish([])
    this.#host.ended(error)
  }

  #finish(cancels: readonly string[]): void {
    clearTimeout(this.#ackTimer)
    this.#uplink.finish(cancels)
  }
}

const incomplete = (): LineError =>
  new LineError('incomplete', 'The connection was lost, and the answer with it')

const isFailed = (frame: RunFrame | Failed): frame is Failed =>
  (frame.type === 'universal.error' || frame.type === 'error') && Boolean(frame.error)
