import {
  type Claim,
  type Counters,
  CounterTable,
  type Settlement,
  type Slot,
  type Taken,
  toSlot,
} from './counters.ts'
import { migrate, type Sql, type Statement } from './sql.ts'

/** What is counted waits at most this long to be written: what a process that is killed may forget. */
const flushMs = 500
/** Between two tries to read what was counted before. */
const retryMs = 1_000
/** Parts of counters written together. */
const batchSlots = 500

const steps = [
  [
    'CREATE TABLE counters (key TEXT NOT NULL, slot BIGINT NOT NULL, amount DOUBLE PRECISION NOT NULL, expires_at BIGINT NOT NULL, PRIMARY KEY (key, slot))',
    'CREATE INDEX counters_by_end ON counters (expires_at)',
  ],
]
const upsert =
  'INSERT INTO counters (key, slot, amount, expires_at) VALUES (?, ?, ?, ?) ON CONFLICT (key, slot) DO UPDATE SET amount = counters.amount + excluded.amount'

/** Who else is told. */
export interface SqlCountersOptions {
  /** Told when counters cannot be written; they go on in memory, and are written later. */
  readonly report: (where: string, error: unknown) => void
  readonly now?: () => number
}

/** Counters in memory, written behind to a SQL database, and read from it at the first use. */
export function createSqlCounters(sql: Sql, options: SqlCountersOptions): Counters {
  const counters = new SqlCounters(sql, options)
  return {
    take: (_gateway, claims) => counters.take(claims),
    settle: (_gateway, settlements) => counters.settle(settlements),
    flush: () => counters.flush(),
  }
}

class SqlCounters {
  readonly #sql: Sql
  readonly #report: SqlCountersOptions['report']
  readonly #now: () => number
  readonly #table = new CounterTable()
  /** What is not written yet, by part. */
  #unwritten = new Map<string, Slot>()
  #timer: ReturnType<typeof setTimeout> | undefined
  #flushing: Promise<void> = Promise.resolve()
  #ready: Promise<void> | undefined
  #isLoaded = false
  #failedAt = Number.NEGATIVE_INFINITY

  constructor(sql: Sql, { report, now = Date.now }: SqlCountersOptions) {
    this.#sql = sql
    this.#report = report
    this.#now = now
  }

  async take(claims: readonly Claim[]): Promise<Taken> {
    await this.#open()
    const at = this.#now()
    const taken = this.#table.take(claims, at)
    if (taken.refused === undefined) for (const claim of claims) this.#count(toSlot(claim, at))
    return taken
  }

  async settle(settlements: readonly Settlement[]): Promise<void> {
    await this.#open()
    for (const settlement of settlements) {
      const slot = toSlot(settlement, settlement.at)
      this.#table.add(slot)
      this.#count(slot)
    }
  }

  /** One after the other, so that who waits for the last has waited for all. */
  flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#flushing = this.#flushing.then(() => this.#write())
    return this.#flushing
  }

  async #write(): Promise<void> {
    if (this.#unwritten.size === 0) return // there may be no table either
    await this.#open()
    if (!this.#isLoaded) {
      this.#flushLater()
      return
    }
    const slots = [...this.#unwritten.values()]
    this.#unwritten = new Map()
    try {
      while (slots.length > 0) {
        await this.#sql.batch(slots.slice(0, batchSlots).map(toStatement))
        slots.splice(0, batchSlots)
      }
      await this.#sql.batch([['DELETE FROM counters WHERE expires_at <= ?', this.#now()]])
    } catch (error) {
      this.#report('counters cannot be written', error)
      for (const slot of slots) this.#count(slot)
    }
  }

  #count(slot: Slot): void {
    if (!Number.isFinite(slot.amount)) return // nor does the table count it
    const id = `${slot.slot} ${slot.key}`
    const amount = (this.#unwritten.get(id)?.amount ?? 0) + slot.amount
    this.#unwritten.set(id, { ...slot, amount })
    this.#flushLater()
  }

  #flushLater(): void {
    this.#timer ??= setTimeout(() => void this.flush(), flushMs)
  }

  /**
   * A store that cannot be read costs what it remembers until it can, and no request. Nothing is written before, so that
   * what is read then is added to what has been counted, and nothing twice.
   */
  #open(): Promise<void> {
    if (!this.#ready && this.#now() - this.#failedAt < retryMs) return Promise.resolve()
    this.#ready ??= this.#load().catch((error: unknown) => {
      this.#report('counters cannot be read', error)
      this.#failedAt = this.#now()
      this.#ready = undefined
    })
    return this.#ready
  }

  async #load(): Promise<void> {
    await migrate(this.#sql, 'counters', steps)
    const query = 'SELECT key, slot, amount, expires_at FROM counters WHERE expires_at > ?'
    const rows = await this.#sql.all(query, this.#now())
    for (const { key, slot, amount, expires_at } of rows) {
      const own = {
        key: String(key),
        slot: Number(slot),
        amount: Number(amount),
        expiresAt: Number(expires_at),
      }
      this.#table.add(own)
    }
    this.#isLoaded = true
  }
}

const toStatement = ({ key, slot, amount, expiresAt }: Slot): Statement => [
  upsert,
  key,
  slot,
  amount,
  expiresAt,
]
