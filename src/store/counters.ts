/** One limit, as it bears on one request. */
export interface Claim {
  /** Names the counter, among all of all gateways; free of secrets. */
  readonly key: string
  /** Reached: nothing more is let through until some of the window has passed. */
  readonly limit: number
  /** Milliseconds, from 60. */
  readonly windowMs: number
  /** Windows that follow one another from the epoch on, or whatever came within the last `windowMs`. */
  readonly technique: 'fixed' | 'sliding'
  /** What this request is counted with. */
  readonly amount: number
}

/** How a counter stands. */
export interface Standing {
  /** What is left, 0 at the least. */
  readonly remaining: number
  /** Milliseconds until something is left, or, while there is, until the window begins anew. */
  readonly resetMs: number
}

/** What came of the claims of one request. */
export interface Taken {
  /** Index of the claim that was refused, in which case none was counted. */
  readonly refused?: number
  /** One per claim, after this request was counted. */
  readonly standings: readonly Standing[]
}

/** What a claim turned out to be. */
export interface Settlement extends Omit<Claim, 'limit'> {
  /** When it was taken, in milliseconds since the epoch. */
  readonly at: number
}

/** Counts what limits are held against. Every method may reject when the store cannot be reached. */
export interface Counters {
  /** Count a request in all of its counters, or, where one has reached its limit, in none. One at a time. */
  take(gateway: string, claims: readonly Claim[]): Promise<Taken>
  /** Add to what was taken: the difference, once it is known. */
  settle(gateway: string, settlements: readonly Settlement[]): Promise<void>
  /** Write what is counted in memory. */
  flush(): Promise<void>
}

/** A part of a counter, as it is kept: what was counted from `slot` on, for the length of a slot. */
export interface Slot {
  readonly key: string
  /** Milliseconds since the epoch. */
  readonly slot: number
  readonly amount: number
  /** Milliseconds since the epoch, from when on it no longer counts. */
  readonly expiresAt: number
}

/** Parts of a sliding window. It is a part too long rather than too short, so never lets more through than its limit. */
const slidingSlots = 60
/** Counters at once; past it whatever would need another one is refused, since what is forgotten limits nothing. */
const countersMax = 100_000
/** A full table is looked through for what has expired this often at the most. */
const sweepMs = 1_000

/** The arithmetic of counters, in memory. */
export class CounterTable {
  readonly #counters = new Map<string, Map<number, Slot>>()
  #sweptAt = 0

  /** See `Counters.take`. */
  take(claims: readonly Claim[], now: number): Taken {
    const refused = claims.findIndex(
      (claim) => this.#used(claim.key, now) >= claim.limit || !this.#hasRoom(claim.key, now),
    )
    if (refused < 0) for (const claim of claims) this.add(toSlot(claim, now))
    return {
      ...(refused >= 0 && { refused }),
      standings: claims.map((claim) => this.#standing(claim, now)),
    }
  }

  /** Add to a part of a counter. What is no number would undo all that was counted, and is not. */
  add({ key, slot, amount, expiresAt }: Slot): void {
    const slots = this.#counters.get(key) ?? new Map<number, Slot>()
    if (!Number.isFinite(amount) || (slots.size === 0 && this.#counters.size >= countersMax)) return
    this.#counters.set(key, slots)
    slots.set(slot, { key, slot, amount: (slots.get(slot)?.amount ?? 0) + amount, expiresAt })
  }

  #hasRoom(key: string, now: number): boolean {
    if (this.#counters.size < countersMax || this.#counters.has(key)) return true
    if (now - this.#sweptAt >= sweepMs) {
      this.#sweptAt = now
      for (const [other, slots] of this.#counters)
        if ([...slots.values()].every(({ expiresAt }) => expiresAt <= now)) this.#counters.delete(other)
    }
    return this.#counters.size < countersMax
  }

  #used(key: string, now: number): number {
    const slots = this.#counters.get(key)
    let used = 0
    for (const { slot, amount, expiresAt } of slots?.values() ?? []) {
      if (expiresAt <= now) slots?.delete(slot)
      else used += amount
    }
    return used
  }

  #standing(claim: Claim, now: number): Standing {
    const used = this.#used(claim.key, now)
    const slots = [...(this.#counters.get(claim.key)?.values() ?? [])].sort(
      (one, other) => one.slot - other.slot,
    )
    let over = used - claim.limit
    const freeing = slots.find(({ amount }) => {
      over -= amount
      return over < 0
    })
    const resetMs = (freeing?.expiresAt ?? now + claim.windowMs) - now
    return { remaining: Math.max(claim.limit - used, 0), resetMs }
  }
}

/** Where a claim is counted. */
export function toSlot(claim: Omit<Claim, 'limit'>, at: number): Slot {
  const slot = slotOf(claim, at)
  const expiresAt =
    claim.technique === 'fixed' ? slot + claim.windowMs : slot + slotMs(claim) + claim.windowMs
  return { key: claim.key, slot, amount: claim.amount, expiresAt }
}

type Window = Pick<Claim, 'windowMs' | 'technique'>

const slotMs = ({ windowMs, technique }: Window): number =>
  technique === 'fixed' ? windowMs : Math.ceil(windowMs / slidingSlots)

const slotOf = (window: Window, at: number): number => at - (at % slotMs(window))

/** Counters that last no longer than the memory they are in. */
export function createMemoryCounters(now: () => number = Date.now): Counters {
  const table = new CounterTable()
  return {
    take: async (_gateway, claims) => table.take(claims, now()),
    async settle(_gateway, settlements) {
      for (const settlement of settlements) table.add(toSlot(settlement, settlement.at))
    },
    flush: async () => undefined,
  }
}
