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

/** Where runs go: the session that is now, those that drain, and a queue before them. */
export class Link {
  /** What closed it. */
  failure: unknown
  readonly #route: Route
  readonly #changed: () => void
  readonly #waiting = new Set<Run>()
  readonly #draining = new Set<Session>()
  #session: Session
  #state: LineState = 'connecting'
  #lostAt = 0

  /** `changed` is called at each change of state, and after each failed handshake. @throws what the socket's constructor does */
  constructor(route: Route, changed: () => void) {
    this.#route = route
    this.#changed = changed
    this.#session = this.#open(0)
  }

  get state(): LineState {
    return this.#state
  }

  /** Sockets have failed for so often, and for so long, that nothing should wait for one. */
  get isStuck(): boolean {
    const { limits, isPatient } = this.#route
    const isLate = isPatient || Date.now() - this.#lostAt >= limits.patienceMs
    return isLate && this.#session.failures >= limits.handshakes
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
    if (this.#session.isOpen) this.#enter('open')
    else if (this.isStuck) this.#turnAway()
    else if (this.#state === 'open') this.#enter('reconnecting')
    this.#pump()
  }

  #turnAway(): void {
    const reason = this.#route.isPatient
      ? unsent
      : new LineError('unreachable', 'No connection to the gateway', true)
    if (this.#route.isPatient) this.#enter('http')
    for (const run of this.#waiting) run.fail(reason)
    this.#waiting.clear()
    this.#changed()
  }

  #enter(state: LineState): void {
    if (this.#state === state) return
    this.#state = state
    if (state === 'reconnecting') this.#lostAt = Date.now()
    this.#changed()
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
