import { LineError } from './errors.ts'
import { type Run, unsent } from './run.ts'
import { Session } from './session.ts'
import type { Route } from './uplink.ts'

/** How a line is doing. */
export type LineState =
  /** Before the first connection. */
  | 'connecting'
  | 'open'
  /** The connection is lost and another is sought: streams stand still, new requests wait. */
  | 'reconnecting'
  /** Sockets do not get through: requests go over plain HTTP, and a socket is still sought. */
  | 'http'
  /** For good. */
  | 'closed'

/** What a link tells, and asks. */
export interface LinkHost {
  /** The state has changed, or sockets have failed for too long. */
  changed(): void
  /** Whether the gateway is there and refuses the token. May reject. */
  isRefused(): Promise<boolean>
}

/** Where runs go: the session that is now, those that drain, and a queue before them. */
export class Link {
  /** What closed it. */
  failure: unknown
  readonly #route: Route
  readonly #host: LinkHost
  readonly #waiting = new Set<Run>()
  readonly #draining = new Set<Session>()
  #session: Session
  #state: LineState = 'connecting'
  #lostAt = 0
  /** Whether sockets are known to fail for another reason than the token. */
  #isTokenGood = false
  #isAsking = false

  /** @throws what the socket's constructor does */
  constructor(route: Route, host: LinkHost) {
    this.#route = route
    this.#host = host
    this.#session = this.#open(0)
  }

  get state(): LineState {
    return this.#state
  }

  /** Sockets have failed for so often, and for so long, that nothing should wait for one. */
  get isStuck(): boolean {
    const { limits, isPatient } = this.#route
    const isLate = isPatient || Date.now() - this.#lostAt >= limits.patienceMs
    return isLate && !this.#isAsking && this.#session.failures >= limits.handshakes
  }

  /** Send a run as soon as there is room; it fails when that takes too long for want of a connection. */
  start(run: Run): void {
    if (this.#state === 'closed') throw this.failure
    if (this.#state === 'http') run.fail(unsent)
    else this.#waiting.add(run)
    this.#pump()
  }

  /** Stop every run with this reason, and close for good. */
  close(reason: unknown): void {
    if (this.#state === 'closed') return
    this.failure = reason
    for (const run of this.#waiting) run.stop(reason)
    this.#waiting.clear()
    for (const session of [this.#session, ...this.#draining]) session.close(reason)
    this.#draining.clear()
    this.#enter('closed')
  }

  #open(idle: number): Session {
    const host = {
      changed: () => this.#update(),
      goaway: () => this.#replace(session),
      refused: (run: Run) => this.#waiting.add(run),
      ended: (error?: LineError) => this.#ended(session, error),
    }
    const session: Session = new Session(this.#route, host, idle)
    return session
  }

  #update(): void {
    if (this.#state === 'closed') return
    if (this.#session.failures > 0) void this.#ask()
    if (this.#session.isOpen) {
      this.#isTokenGood = false
      this.#enter('open')
    } else if (this.isStuck) this.#turnAway()
    else if (this.#state === 'open') this.#enter('reconnecting')
    this.#pump()
  }

  /** Until there is an answer: to try on with a token that is not taken would have no end. */
  async #ask(): Promise<void> {
    if (this.#isTokenGood || this.#isAsking) return
    this.#isAsking = true
    const isRefused = await this.#host.isRefused().catch(() => undefined)
    this.#isAsking = false
    this.#isTokenGood = isRefused === false
    if (isRefused) this.close(new LineError('unauthorized', 'The gateway does not take the token'))
    else if (this.#state !== 'closed' && this.isStuck) this.#turnAway()
  }

  #turnAway(): void {
    const reason = this.#route.isPatient
      ? unsent
      : new LineError('unreachable', 'No connection to the gateway', true)
    if (this.#route.isPatient) this.#enter('http')
    for (const run of this.#waiting) run.fail(reason)
    this.#waiting.clear()
    this.#host.changed()
  }

  #enter(state: LineState): void {
    if (this.#state === state) return
    this.#state = state
    if (state === 'reconnecting') this.#lostAt = Date.now()
    this.#host.changed()
  }

  #pump(): void {
    for (const run of this.#waiting) {
      if (!run.isStopped && !this.#session.hasRoom(run)) return
      this.#waiting.delete(run)
      if (!run.isStopped) this.#session.send(run)
    }
  }

  /** The gateway behind a session stops: it is left to finish, and another one stands in. */
  #replace(session: Session): void {
    if (session !== this.#session) return
    this.#draining.add(session)
    this.#session = this.#open(Math.max(1, session.idle))
    session.drain()
    this.#update()
  }

  #ended(session: Session, error: LineError | undefined): void {
    if (!this.#draining.delete(session)) this.close(error)
  }
}
