import { GatewayError, toGatewayError } from '../errors.ts'
import { newId } from '../ids.ts'
import { limits } from '../limits.ts'
import { type AskElsewhere, readElsewhere } from '../runs/elsewhere.ts'
import type { Home } from '../runs/home.ts'
import type { Reply } from '../runs/pump.ts'
import { Run, type WaitingReading } from '../runs/run.ts'
import { deliver } from './deliver.ts'
import { digestOf } from './digest.ts'
import { frames, type HeldRun, toFrameError } from './frames.ts'
import type { Asked, Defaults, Host, SessionInit } from './host.ts'
import type { Line } from './line.ts'
import {
  type Ack,
  type Cancel,
  type ClientRequest,
  type Resume,
  type RunWishes,
  readWishes,
} from './messages.ts'
import { Queue } from './queue.ts'

/** How a run is to be read over a connection. */
interface Reading {
  readonly line: Line
  readonly eventId: string
  readonly raw: boolean
  readonly from: number
  readonly attached: boolean
  /** Of one that goes on after memory was lost: the last event its client has consumed. */
  readonly acked?: number
}

/** A create that was sent again. */
type Again = Omit<Reading, 'attached'> &
  Pick<RunWishes, 'acks'> & { readonly digest: Promise<string> | undefined }

/** Where a message came from. */
export interface From {
  readonly line: Line
  readonly eventId: string
  /** Characters of the message. */
  readonly size: number
  /** What holds for each request of the session. */
  readonly defaults: Defaults
}

/** The requests of one session: begun once each, read over whatever connection there is. */
export class Requests {
  readonly #init: SessionInit
  readonly #home: Home
  readonly #host: Host
  readonly #runs = new Map<string, Run>()
  readonly #queue: Queue
  /** Last acks by event id; after the first, the window holds for every reading of theirs. */
  readonly #acked = new Map<string, number>()
  /** Event ids whose client has consumed all there is. */
  readonly #consumed = new Set<string>()
  /** Event ids whose runs are gone and may be asked for again, oldest first; and when they were dropped. */
  readonly #gone = new Map<string, number>()
  /** Of the connection, by event id. */
  readonly #waiting = new Map<string, WaitingReading>()
  readonly #changed: () => void

  /**
   * Those of its session that its home still holds are there from the start. `changed` is called when others wait for
   * an ack than before.
   */
  constructor(
    init: SessionInit,
    home: Home,
    host: Host,
    waiting: readonly WaitingReading[],
    changed: () => void,
  ) {
    this.#init = init
    this.#home = home
    this.#host = host
    this.#queue = new Queue(home.limits)
    this.#changed = changed
    for (const reading of waiting) this.#waiting.set(reading.eventId, reading)
    for (const run of home.runsOf(init.id, init.owner)) this.#runs.set(run.init.eventId, run)
  }

  /** Readings that wait for an ack. */
  get waiting(): readonly WaitingReading[] {
    return [...this.#waiting.values()]
  }

  /** None is under way, or waits for its turn. */
  get isIdle(): boolean {
    return [...this.#runs.values()].every((run) => run.terminal)
  }

  /** A connection comes, and says itself what it wants to read. */
  arrive(): void {
    this.#waiting.clear()
  }

  /** What is held, and not consumed to its end. */
  list(): HeldRun[] {
    const wanted = [...this.#runs].filter(([eventId]) => !this.#consumed.has(eventId))
    return wanted.map(([eventId, run]) => ({
      eventId,
      runId: run.id,
      seq: run.end - 1,
      ...(run.terminal && { outcome: run.terminal.outcome }),
    }))
  }

  /** It is no longer held. A client that has acked an event of it never sends its create again. */
  forget(run: Run): void {
    const { eventId } = run.init
    if ((this.#acked.get(eventId) ?? -1) < 0) this.#gone.set(eventId, this.#home.now)
    for (const [id] of this.#gone) {
      if (this.#gone.size <= limits.formerRuns && this.#isGone(id)) break
      this.#gone.delete(id)
    }
    this.#forget(eventId)
  }

  #isGone(eventId: string): boolean {
    const since = this.#gone.get(eventId)
    return since !== undefined && this.#home.now - since < this.#home.limits.detachSeconds * 1_000
  }

  #forget(eventId: string): void {
    this.#runs.delete(eventId)
    this.#acked.delete(eventId)
    this.#consumed.delete(eventId)
  }

  /** The client has consumed a run's events up to `seq`. */
  ack({ eventId, seq }: Ack, line: Line): void {
    const run = this.#runs.get(eventId)
    if (run) this.#acked.set(eventId, seq)
    if (run?.terminal && seq >= run.end - 1) this.#consumed.add(eventId)
    const reader = line.reading(eventId)
    if (reader) reader.ack(seq)
    else this.#goOn(eventId, seq, line)
  }

  /** A reading that waited when memory was lost goes on. */
  #goOn(eventId: string, acked: number, line: Line): void {
    const known = this.#waiting.get(eventId)
    if (!known) return
    this.#waiting.delete(eventId)
    const { runId, raw, next: from } = known
    const reading = { line, eventId, raw, from, attached: true, acked }
    const ask = this.#home.askFor(runId)
    if (ask) return void this.#readElsewhere(ask, runId, reading)
    try {
      this.#tell(this.#home.find(runId, this.#init.owner), reading)
    } catch (error) {
      line.answer(frames.failure(toFrameError(toGatewayError(error)), { eventId }))
    }
  }

  /** Stop those that end with their connection. */
  leave(): void {
    for (const run of this.#runs.values()) if (run.init.onDisconnect === 'stop') this.#stop(run)
  }

  /** @throws GatewayError bad_request, forbidden */
  cancel(message: Cancel, line: Line): void {
    if (this.#isElsewhere(message, line)) return
    const run = this.#findRun(message, false)
    if (run) this.#stop(run)
  }

  /** @throws GatewayError bad_request, forbidden, expired, too_many_requests */
  resume(message: Resume, line: Line): void {
    line.assertRoom()
    if (this.#isElsewhere(message, line)) return
    const run = this.#findRun(message, true)
    if (!run) return
    const { eventId = run.init.eventId, raw = run.init.raw, from } = message
    this.#tell(run, { line, eventId, raw, from, attached: true })
  }

  /** @throws GatewayError bad_request, conflict, expired, draining, too_many_requests */
  create(request: ClientRequest, { line, eventId, size, defaults }: From): void {
    const { wire } = this.#init
    const wishes: RunWishes | string =
      wire === 'base' ? { onDisconnect: 'stop', raw: false, from: 0, acks: false } : readWishes(request)
    if (typeof wishes === 'string') throw new GatewayError('bad_request', wishes)
    line.assertRoom()
    const digest = wire === 'base' ? undefined : digestOf(request)
    const known = this.#runs.get(eventId)
    if (known) {
      this.#join(known, { line, eventId, digest, ...wishes })
      return
    }
    if (this.#isGone(eventId)) throw new GatewayError('expired')
    if (this.#home.isDraining) throw new GatewayError('draining')
    this.#queue.assertRoom(size)

    const run = this.#newRun(eventId, wishes, digest)
    this.#runs.set(eventId, run)
    if (wishes.acks) this.#acked.set(eventId, -1)
    this.#tell(run, { line, eventId, raw: wishes.raw, from: wishes.from, attached: false })
    const asked = { request, eventId, defaults, wire, ...(wire !== 'base' && { runId: run.id }) }
    const start = (signal: AbortSignal) => this.#call(asked, line, signal)
    this.#queue.add(run, size, () => this.#home.start(run, start))
  }

  /** On the base wire a run ends with its socket, so that nothing is kept for later readers. */
  #newRun(eventId: string, { onDisconnect, raw }: RunWishes, digest: Promise<string> | undefined): Run {
    const { wire, owner, id: session } = this.#init
    const { windowBytes } = this.#home.limits
    const init = { eventId, owner, onDisconnect, raw, ...(digest && { digest }) }
    if (wire === 'base') return new Run({ ...init, id: newId(), keepBytes: 0, windowBytes })
    return this.#home.createRun({ ...init, session })
  }

  /** A create for a run that is there: exactly once (PROTOCOL.md, "universal.create"). */
  #join(run: Run, again: Again): void {
    const { line, eventId, digest, raw, from, acks } = again
    if (!digest || !run.init.digest) throw new GatewayError('conflict')
    const conflict = new GatewayError('conflict', 'This eventId is held, with another request in it')
    void Promise.all([digest, run.init.digest]).then(([one, other]) => {
      if (one === other) {
        if (acks && !this.#acked.has(eventId)) this.#acked.set(eventId, -1)
        this.#tell(run, { line, eventId, raw, from, attached: true })
      } else line.send(frames.failure(conflict, { eventId }))
    })
  }

  #tell(run: Run, { line, eventId, raw, from, attached, acked }: Reading): void {
    const reader = run.read(from)
    if (acked !== undefined || this.#acked.has(eventId)) reader.ack(acked ?? from - 1)
    line.begin(eventId, reader)
    const waits = () => {
      this.#waiting.set(eventId, { eventId, runId: run.id, raw, next: reader.position })
      this.#changed()
    }
    const telling = { wire: this.#init.wire, eventId, raw, attached, isContinued: acked !== undefined, waits }
    void deliver(line.socket, reader, telling).then(() => {
      line.end(eventId, reader)
      if (line.isOpen && this.#waiting.delete(eventId)) this.#changed()
      if (this.#init.wire === 'base') this.#forget(eventId)
    })
  }

  async #call(asked: Asked, line: Line, signal: AbortSignal): Promise<Reply> {
    if (this.#init.wire !== 'base' && !(await this.#host.isWelcome())) {
      line.close(4401, 'token revoked or expired')
      throw new GatewayError('unauthorized')
    }
    return this.#host.start(asked, signal)
  }

  #stop(run: Run): void {
    this.#queue.remove(run)
    run.stop(new GatewayError('client_closed'))
  }

  /** Asks the run's own home, if that is another. */
  #isElsewhere(message: Cancel | Resume, line: Line): boolean {
    const { runId } = message
    const ask = runId === undefined ? undefined : this.#home.askFor(runId)
    if (ask && runId !== undefined) void this.#askElsewhere(ask, { ...message, runId }, line)
    return ask !== undefined
  }

  /** For a run of another home. Never rejects. */
  async #askElsewhere(
    ask: AskElsewhere,
    message: (Cancel | Resume) & { runId: string },
    line: Line,
  ): Promise<void> {
    const { runId } = message
    if (message.type === 'universal.resume') {
      const { eventId, raw = false, from } = message
      return this.#readElsewhere(ask, runId, { line, eventId, raw, from, attached: true })
    }
    try {
      const answer = await ask({ verb: 'stop', runId, owner: this.#init.owner, from: 0 })
      if (!answer.ok) throw new GatewayError('forbidden')
    } catch (error) {
      line.answer(frames.failure(toFrameError(toGatewayError(error)), { runId }))
    }
  }

  /** Never rejects. */
  async #readElsewhere(
    ask: AskElsewhere,
    runId: string,
    { eventId, ...reading }: Omit<Reading, 'eventId'> & { readonly eventId?: string | undefined },
  ): Promise<void> {
    const { owner } = this.#init
    const { windowBytes } = this.#home.limits
    try {
      const query = { verb: 'resume', runId, owner, from: reading.from } as const
      const run = await readElsewhere(ask, query, windowBytes)
      this.#tell(run, { ...reading, eventId: eventId ?? run.init.eventId })
    } catch (error) {
      const named = eventId === undefined ? { runId } : { eventId, runId }
      reading.line.answer(frames.failure(toFrameError(toGatewayError(error)), named))
    }
  }

  /** @throws GatewayError forbidden, expired; expired also for an event id that is not held, where one must be */
  #findRun(
    named: { runId?: string | undefined; eventId?: string | undefined },
    must: boolean,
  ): Run | undefined {
    if (named.runId !== undefined) {
      try {
        return this.#home.find(named.runId, this.#init.owner)
      } catch (error) {
        if (must || toGatewayError(error).code !== 'expired') throw error
        return undefined
      }
    }
    if (named.eventId === undefined) throw new GatewayError('bad_request', 'eventId or runId: required')
    const run = this.#runs.get(named.eventId)
    if (!run && must) throw new GatewayError('expired')
    return run
  }
}
