import { type AuditEntry, type Change, type ConfigStore, nothingStored, type Stored } from './config.ts'

/** A word of the store is good for this long; after that it is asked again, beside the requests. */
const freshMs = 5_000
/** After this long, requests wait for it: a change is in force everywhere within 30 s, idle processes included. */
const staleMs = 20_000
/** A request waits at most this long for a store that does not answer, and again only after as long. */
const waitMs = 2_000
/** Tries of a change that others came before. */
const changeTries = 5

/** A change that was decided on, given what is stored. */
export interface Decided {
  readonly changes: readonly Change[]
  readonly entry: Omit<AuditEntry, 'revision' | 'created_at'>
}

/** What is stored, held in memory. */
export interface Live {
  /** Undefined while what is held is good; else to be awaited before it is used. Never rejects. */
  check(): Promise<void> | undefined
  /** What is stored right now. Rejects when the store cannot be reached. */
  latest(): Promise<Stored>
  /**
   * Decide on what is stored, and change it before anyone else does; deciding may happen more than once. Rejects with
   * what `decide` throws.
   */
  change(decide: (stored: Stored) => Decided | Promise<Decided>): Promise<void>
  /** Enter into the audit trail what changes nothing that is held. */
  note(entry: Decided['entry']): Promise<void>
}

/** Prepares what is stored, each time it has changed; what it gives back puts it to work, and must not throw. */
export type Prepare = (stored: Stored) => Promise<() => void>

/**
 * Hold what a store has. A store that cannot be reached costs changes, with a word to `report`, and no request: what was
 * held stays in force. Ages are told by a clock that nobody sets.
 */
export function createLive(
  store: ConfigStore,
  prepare: Prepare,
  report: (where: string, error: unknown) => void,
): Live {
  let held = nothingStored
  let heldAt = Number.NEGATIVE_INFINITY
  let asked = 0
  let applied = 0
  let pending: { readonly done: Promise<void>; readonly since: number } | undefined
  let failedAt = Number.NEGATIVE_INFINITY

  const ask = async (): Promise<Stored> => {
    const number = ++asked
    const since = performance.now()
    const revision = await store.revision()
    const stored = revision === held.revision ? held : await store.read()
    const apply = stored === held ? undefined : await prepare(stored)
    if (number < applied) return held // a later question was answered first
    applied = number
    apply?.()
    held = stored
    heldAt = since
    failedAt = Number.NEGATIVE_INFINITY
    return held
  }

  const askBeside = (): Promise<void> => {
    // Not shared for long: on Workers it may belong to a request that has been cut off, and never end.
    if (pending && performance.now() - pending.since < waitMs) return pending.done
    const done = ask().then(
      () => undefined,
      (error: unknown) => {
        if (failedAt < heldAt || failedAt === Number.NEGATIVE_INFINITY)
          report('the configuration cannot be read', error)
        failedAt = performance.now()
      },
    )
    const own = { done, since: performance.now() }
    pending = own
    void done.then(() => {
      if (pending === own) pending = undefined
    })
    return done
  }

  return {
    check() {
      const age = performance.now() - heldAt
      if (age < freshMs || performance.now() - failedAt < waitMs) return undefined
      const done = askBeside()
      return age < staleMs ? undefined : within(done, waitMs)
    },
    latest: ask,
    async change(decide) {
      for (let number = 1; ; number += 1) {
        const stored = await ask()
        const { changes, entry } = await decide(stored)
        const isMade = await store.change(stored.revision, changes, { ...entry, created_at: Date.now() })
        if (isMade) break
        if (number === changeTries) throw new Error('the configuration is changed by others all the time')
      }
      await ask()
    },
    note: (entry) => store.note({ ...entry, created_at: Date.now() }),
  }
}

function within(done: Promise<void>, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    void done.then(() => {
      clearTimeout(timer)
      resolve()
    })
  })
}
