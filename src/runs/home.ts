import { GatewayError } from '../errors.ts'
import { newId } from '../ids.ts'
import { limits, type SessionLimits } from '../limits.ts'
import { pause } from '../pause.ts'
import type { Shared } from '../types.ts'
import type { AskElsewhere } from './elsewhere.ts'
import type { Held, HomeOptions, RunOptions } from './held.ts'
import { pump, type Start } from './pump.ts'
import { Run, type RunRecord, type SessionState } from './run.ts'
import { isSame, type Owner } from './terms.ts'

/** What stands before the number of a run. */
const homePart = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-/

/** What is left after a shrinking; a little less than may be, so that it does not come with each event. */
const shrunken = 7 / 8

interface Entry {
  readonly run: Run
  /** Since when it has been without a reader, or over. */
  idleSince: number | undefined
}

/**
 * Where sessions and runs live: the process, or a Durable Object. All of it is bounded: in time by
 * `detachSeconds`, in bytes by `heldBytes`.
 */
export class Home {
  readonly limits: SessionLimits
  readonly sessions: Map<string, Held> = new Map()
  /** Sockets of clients that are relayed to a provider's. */
  relays = 0
  /** Answers under way that calls made here may read along; part of each of them. */
  readonly sharing: { readonly shared?: Map<string, Shared> }
  readonly #options: HomeOptions
  readonly #held = new Map<string, Entry>()
  readonly #active = new Set<Run>()
  /** Whose runs were that have expired, oldest first. */
  readonly #gone = new Map<string, Owner>()
  #counter = 0
  #keptBytes = 0
  #isRestored = false
  #timer: ReturnType<typeof setTimeout> | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #draining = false
  /** Why all that is left was stopped. */
  #over: GatewayError | undefined
  /** Of the answers that go straight through. */
  readonly #passing = new Set<AbortController>()

  constructor(options: HomeOptions) {
    this.#options = options
    this.limits = options.limits
    this.sharing = (options.shares ?? true) ? { shared: new Map() } : {}
  }

  get now(): number {
    return (this.#options.now ?? Date.now)()
  }
  /** Milliseconds a drain takes at most. */
  get drainMs(): number {
    return this.limits.drainSeconds * 1_000
  }
  /** No new runs are taken. */
  get isDraining(): boolean {
    return this.#draining
  }
  /** Runs under way. */
  get active(): number {
    return this.#active.size
  }

  /** Nothing is held. */
  get isEmpty(): boolean {
    return this.#held.size === 0 && this.sessions.size === 0
  }

  /** Resolves when no run is under way. */
  async settled(): Promise<void> {
    while (this.#active.size > 0) await Promise.all([...this.#active].map(untilDone))
  }

  /** The id a new session gets; of a home of one session that is the home's own, while nobody else holds anything. */
  newSessionId(owner: Owner): string {
    const { id } = this.#options
    if (id === undefined || this.sessions.has(id)) return newId()
    const isTaken = [...this.#held.values()].some(({ run }) => !isSame(run.init.owner, owner))
    return isTaken ? newId() : id
  }

  /** A run that can be found again, by its owner. @throws GatewayError too_many_requests over `heldBytes` */
  createRun({ session, ...init }: RunOptions): Run {
    this.#shrink()
    if (this.#keptBytes > this.limits.heldBytes) throw new GatewayError('too_many_requests')
    const run = this.#hold({ ...init, id: `${session}-${(this.#counter++).toString(36)}` })
    this.#options.journal?.create(run)
    this.sweepSoon()
    return run
  }

  /** Hold a run that a journal has kept. */
  restore(record: RunRecord): void {
    this.#isRestored = true
    const run = this.#hold(record.init, record.endedAt ?? this.now)
    run.restore(record)
    this.#counter = Math.max(
      this.#counter,
      Number.parseInt(run.id.slice(run.id.lastIndexOf('-') + 1), 36) + 1,
    )
    this.sweepSoon()
  }

  /** A session that is held, and not due. */
  session(id: string): Held | undefined {
    const held = this.sessions.get(id)
    const { leftAt = Number.POSITIVE_INFINITY } = held ?? {}
    return leftAt + this.#keepMs > this.now ? held : undefined
  }

  /** Whether there is room for one more session; the one that was left the longest, with nothing under way, gives way. */
  makeRoom(): boolean {
    if (this.sessions.size + this.relays < this.limits.sessions) return true
    let oldest: { readonly id: string; readonly leftAt: number } | undefined
    for (const [id, { leftAt, isIdle }] of this.sessions)
      if (leftAt !== undefined && isIdle && leftAt < (oldest?.leftAt ?? Number.POSITIVE_INFINITY))
        oldest = { id, leftAt }
    if (!oldest) return false
    this.sessions.get(oldest.id)?.expire()
    this.sessions.delete(oldest.id)
    return true
  }

  get #keepMs(): number {
    return this.limits.detachSeconds * 1_000
  }

  /** Keep what a session must not lose with its memory. */
  keep(session: string, state: SessionState): void {
    this.#options.journal?.session(session, state)
  }

  /** The runs of an owner's session that were held before the session was. */
  runsOf(session: string, owner: Owner): Run[] {
    if (!this.#isRestored) return []
    const runs = [...this.#held.values()].map(({ run }) => run)
    return runs.filter(({ id, init }) => id.startsWith(`${session}-`) && isSame(init.owner, owner))
  }

  #hold(init: RunRecord['init'], idleSince?: number): Run {
    const { runBytes: keepBytes, windowBytes } = this.limits
    const { journal } = this.#options
    const kept = (bytes: number) => {
      this.#keptBytes += bytes
      if (bytes > 0) this.#shrink()
    }
    const read = (readers: number) => {
      if (run.terminal) return
      entry.idleSince = readers === 0 ? this.now : undefined
      if (readers === 0) this.sweepSoon()
    }
    const run = new Run({ ...init, keepBytes, windowBytes, kept, read, ...(journal && { journal }) })
    const entry: Entry = { run, idleSince }
    this.#held.set(run.id, entry)
    return run
  }

  /** Make the call of a run; resolves at its end. Never rejects. */
  async start(run: Run, start: Start): Promise<void> {
    this.#active.add(run)
    if (this.#over) run.stop(this.#over)
    await pump(run, start)
    this.#active.delete(run)
    const entry = this.#held.get(run.id)
    if (entry) entry.idleSince = this.now
    this.#shrink()
    this.sweepSoon()
  }

  /** @throws GatewayError forbidden for what is not theirs or never was; expired for what was theirs */
  find(runId: string, owner: Owner): Run {
    const entry = this.#held.get(runId)
    if (entry && isSame(entry.run.init.owner, owner)) return entry.run
    const former = entry ? undefined : this.#gone.get(runId)
    throw new GatewayError(former && isSame(former, owner) ? 'expired' : 'forbidden')
  }

  /** Whom to ask for a run of another home; undefined for one that would be here. */
  askFor(runId: string): AskElsewhere | undefined {
    const { id, elsewhere } = this.#options
    return homePart.test(runId) && !runId.startsWith(`${id}-`) ? elsewhere : undefined
  }

  /** Drop what is due, and stop what has been without a reader for too long. */
  sweep(): void {
    const { now } = this
    for (const entry of this.#held.values()) {
      const isIdle = entry.run.terminal !== undefined || entry.run.readers === 0
      if (isIdle) entry.idleSince ??= now
      else entry.idleSince = undefined
      if (entry.idleSince === undefined || now - entry.idleSince < this.#keepMs) continue
      if (entry.run.terminal) this.#drop(entry)
      else {
        entry.run.stop(new GatewayError('expired', 'Without a reader for too long'))
        entry.idleSince = now
      }
    }
    for (const [id, session] of this.sessions) {
      session.check()
      if (session.leftAt === undefined || now - session.leftAt < this.#keepMs) continue
      this.sessions.delete(id)
      session.expire()
    }
  }

  /** See to it that `sweep` comes when what has just become idle is due, and from time to time while anything is held. */
  sweepSoon(): void {
    const { wakeAt } = this.#options
    if (wakeAt && this.#active.size === 0) wakeAt(this.#nextDueAt())
    else this.#sweepAt(this.now + this.#keepMs)
  }

  #sweepAt(dueAt: number): void {
    const at = Math.min(dueAt, this.now + limits.sweepMs)
    if (this.isEmpty || at >= this.#timerAt) return
    clearTimeout(this.#timer)
    this.#timerAt = at
    this.#timer = setTimeout(() => {
      this.#timerAt = Number.POSITIVE_INFINITY
      this.sweep()
      this.#sweepAt(this.#nextDueAt())
    }, at - this.now)
  }

  #nextDueAt(): number {
    const never = Number.POSITIVE_INFINITY
    const runs = [...this.#held.values()].map(({ idleSince = never }) => idleSince)
    const sessions = [...this.sessions.values()].map(({ leftAt = never }) => leftAt)
    return Math.min(...runs, ...sessions) + this.#keepMs
  }

  /**
   * An answer that goes straight through. Its signal aborts when the client has left, and when a drain is over;
   * `ended` must be called at its end.
   */
  enter(client: AbortSignal): { readonly signal: AbortSignal; readonly ended: () => void } {
    const stop = new AbortController()
    this.#passing.add(stop)
    const ended = () => void this.#passing.delete(stop)
    const leave = () => {
      ended()
      stop.abort(client.reason)
    }
    if (client.aborted) leave()
    else if (this.#over) stop.abort(this.#over)
    else client.addEventListener('abort', leave, { once: true })
    return { signal: stop.signal, ended }
  }

  /**
   * Take no new runs, wait until those under way are done and told of, and stop what is left after `deadlineMs`. Never
   * rejects.
   */
  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true
    await this.#settle(deadlineMs)
    const reason = new GatewayError('draining', 'The gateway stopped')
    this.#over = reason
    for (const stop of this.#passing) stop.abort(reason)
    for (const run of this.#active) run.stop(reason)
    await this.#settle(limits.stopMs)
  }

  async #settle(ms: number): Promise<void> {
    const until = this.now + ms
    while (this.#isBusy() && this.now < until) await pause(limits.drainPollMs)
  }

  #isBusy(): boolean {
    if (this.#active.size + this.#passing.size > 0) return true
    for (const { run } of this.#held.values()) if (run.readers > 0) return true
    for (const session of this.sessions.values()) if (session.isTelling) return true
    return false
  }

  /**
   * Over `heldBytes`, the oldest runs that are over go first; then the largest lose their beginnings, as far as no
   * reader needs them.
   */
  #shrink(): void {
    if (this.#keptBytes <= this.limits.heldBytes) return
    const goal = this.limits.heldBytes * shrunken
    for (const entry of this.#held.values()) {
      if (this.#keptBytes <= goal) return
      if (entry.run.terminal && entry.run.readers === 0) this.#drop(entry)
    }
    const runs = [...this.#held.values()].map(({ run }) => run)
    for (const run of runs.sort((one, other) => other.keptBytes - one.keptBytes)) {
      if (this.#keptBytes <= goal) return
      run.trim(run.keptBytes - (this.#keptBytes - goal))
    }
  }

  #drop({ run }: Entry): void {
    this.#held.delete(run.id)
    this.#keptBytes -= run.keptBytes
    this.#gone.set(run.id, run.init.owner)
    for (const id of this.#gone.keys()) {
      if (this.#gone.size <= limits.formerRuns) break
      this.#gone.delete(id)
    }
    this.#options.journal?.drop(run.id)
    this.sessions.get(run.id.slice(0, run.id.lastIndexOf('-')))?.forget(run)
  }
}

async function untilDone(run: Run): Promise<void> {
  while (!run.terminal) await run.changed()
}
