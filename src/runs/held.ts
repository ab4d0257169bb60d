import type { SessionLimits } from '../limits.ts'
import type { AskElsewhere } from './elsewhere.ts'
import type { Journal, Run, RunRecord } from './run.ts'
import type { Owner } from './terms.ts'

/** A session, as its home knows it. */
export interface Held {
  readonly owner: Owner
  /** Number of its latest connection. */
  readonly attempt: number
  /** Its connection is still being told of runs. */
  readonly isTelling: boolean
  /** Since when it has been without a connection, in milliseconds since the epoch; undefined while it has one. */
  readonly leftAt: number | undefined
  /** None of its runs is under way. */
  readonly isIdle: boolean
  /** Called from time to time: close a connection that is silent, or whose token is gone. */
  check(): void
  /** It has been without a connection for too long. */
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
