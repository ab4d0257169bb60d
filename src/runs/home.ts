import { GatewayError } from '../errors.ts'
import { newId } from '../ids.ts'
import { limits, type SessionLimits } from '../limits.ts'
import { pause } from '../pause.ts'
import type { Shared } from '../types.ts'
import type { AskElsewhere } from './elsewhere.ts'
import { pump, type Start } from './pump.ts'
import { type Journal, Run, type RunRecord } from './run.ts'
import { isSame, type Owner } from './terms.ts'

/** Something a home holds until it is due. */
export interface Held {
  readonly owner: Owner
  /** Number of its latest connection. */
  readonly attempt: number
  /** Its connection is still being told of runs. */
  readonly isTelling: boolean
  /** Milliseconds since the epoch; undefined while it is in use. */
  dueAt(): number | undefined
  /** It is due. */
  expire(): void
  /** One of its runs is no longer held. */
  forget(run: Run): void
}

/** How a new run is kept. */
export interface RunOptions extends Omit<RunRecord['init'], 'id'> {
  /** Id of the session that makes it; a home of one session has its own. */
  readonly session: string
}

/** What a home is made of. */
export interface HomeOptions {
  readonly limits: SessionLimits
  /** The id of the only session of this home, where each has its own. */
  readonly id?: string
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number
  readonly journal?: Journal
  /** Asks the homes of other sessions; absent where all live in this one. */
  readonly elsewhere?: AskElsewhere
  /**
   * Asks to be woken by `sweep` at a time, in milliseconds since the epoch, once nothing is under way; default: a
   * timer, which would keep an object from hibernating.
   */
  readonly wakeAt?: (at: number) => void
  /** Whether one call may wait for another here; default true. Not where a runtime ends work with its own request. */
  readonly shares?: boolean
}

/** What stands before the number of a run. */
const homePart = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-/

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
  #sweeping = false
  #draining = false
  readonly #over = new AbortController()
  #passing = 0

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
    }
    const run = new Run({ ...init, keepBytes, windowBytes, kept, ...(journal && { journal }) })
    this.#held.set(run.id, { run, idleSince })
    return run
  }

  /** Make the call of a run; resolves at its end. Never rejects. */
  async start(run: Run, start: Start): Promise<void> {
    this.#active.add(run)
    const { aborted, reason } = this.#over.signal
    if (aborted) run.stop(reason)
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
    const keepMs = this.limits.detachSeconds * 1_000
    for (const entry of this.#held.values()) {
      const isIdle = entry.run.terminal !== undefined || entry.run.readers === 0
      if (isIdle) entry.idleSince ??= now
      else entry.idleSince = undefined
      if (entry.idleSince === undefined || now - entry.idleSince < keepMs) continue
      if (entry.run.terminal) this.#drop(entry)
      else entry.run.stop(new GatewayError('expired', 'Without a reader for too long'))
    }
    for (const [id, session] of this.sessions) {
      const dueAt = session.dueAt()
      if (dueAt === undefined || dueAt > now) continue
      this.sessions.delete(id)
      session.expire()
    }
  }

  /** See to it that `sweep` comes while anything is held. */
  sweepSoon(): void {
    const { wakeAt } = this.#options
    if (wakeAt && this.#active.size === 0) {
      wakeAt(this.#nextDueAt())
      return
    }
    if (this.#sweeping || this.isEmpty) return
    this.#sweeping = true
    setTimeout(() => {
      this.#sweeping = false
      this.sweep()
      this.sweepSoon()
    }, limits.sweepMs)
  }

  #nextDueAt(): number {
    const keepMs = this.limits.detachSeconds * 1_000
    const runs = [...this.#held.values()].map(({ idleSince = this.now }) => idleSince + keepMs)
    const sessions = [...this.sessions.values()].map((session) => session.dueAt() ?? Number.POSITIVE_INFINITY)
    return Math.min(...runs, ...sessions)
  }

  /**
   * An answer that goes straight through. Its signal aborts when the client has left, and when a drain is over;
   * `ended` must be called at its end.
   */
  enter(client: AbortSignal): { readonly signal: AbortSignal; readonly ended: () => void } {
    this.#passing += 1
    let isPassing = true
    const ended = () => {
      if (isPassing) this.#passing -= 1
      isPassing = false
    }
    client.addEventListener('abort', ended, { once: true })
    return { signal: AbortSignal.any([client, this.#over.signal]), ended }
  }

  /**
   * Take no new runs, wait until those under way are done and told of, and stop what is left after `deadlineMs`. Never
   * rejects.
   */
  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true
    await this.#settle(deadlineMs)
    const reason = new GatewayError('draining', 'The gateway stopped')
    this.#over.abort(reason)
    for (const run of this.#active) run.stop(reason)
    await this.#settle(limits.stopMs)
  }

  async #settle(ms: number): Promise<void> {
    const until = this.now + ms
    while (this.#isBusy() && this.now < until) await pause(limits.drainPollMs)
  }

  #isBusy(): boolean {
    if (this.#active.size + this.#passing > 0) return true
    for (const { run } of this.#held.values()) if (run.readers > 0) return true
    for (const session of this.sessions.values()) if (session.isTelling) return true
    return false
  }

  /** Over `heldBytes`, the oldest runs that are over go first. */
  #shrink(): void {
    if (this.#keptBytes <= this.limits.heldBytes) return
    for (const entry of this.#held.values()) {
      if (this.#keptBytes <= this.limits.heldBytes) return
      if (entry.run.terminal && entry.run.readers === 0) this.#drop(entry)
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
