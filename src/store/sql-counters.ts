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

/** Counters in memory, one process's, written behind to a SQL database and read from it at the first use. */
export function createSqlCounters(sql: Sql, { report, now = Date.now }: SqlCountersOptions): Counters {
  const table = new CounterTable()
  /** What is not written yet, by part. */
  let unwritten = new Map<string, Slot>()
  let timer: ReturnType<typeof setTimeout> | undefined
  let ready: Promise<void> | undefined

  const load = async (): Promise<void> => {
    await migrate(sql, 'counters', steps)
    const rows = await sql.all(
      'SELECT key, slot, amount, expires_at FROM counters WHERE expires_at > ?',
      now(),
    )
    for (const { key, slot, amount, expires_at } of rows)
      table.add({
        key: String(key),
        slot: Number(slot),
        amount: Number(amount),
        expiresAt: Number(expires_at),
      })
  }
  /** A store that cannot be read costs what it remembers, and no request. */
  const open = (): Promise<void> =>
    (ready ??= load().catch((error: unknown) => report('counters cannot be read', error)))

  const count = (slot: Slot): void => {
    const id = `${slot.slot} ${slot.key}`
    const amount = (unwritten.get(id)?.amount ?? 0) + slot.amount
    unwritten.set(id, { ...slot, amount })
    timer ??= setTimeout(() => void flush(), flushMs)
  }

  const flush = async (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    const slots = unwritten
    unwritten = new Map()
    const statements = [...slots.values()].map(
      ({ key, slot, amount, expiresAt }): Statement => [upsert, key, slot, amount, expiresAt],
    )
    try {
      for (let at = 0; at < statements.length; at += batchSlots) {
        await sql.batch(statements.slice(at, at + batchSlots))
        for (const id of [...slots.keys()].slice(0, batchSlots)) slots.delete(id)
      }
      await sql.batch([['DELETE FROM counters WHERE expires_at <= ?', now()]])
    } catch (error) {
      report('counters cannot be written', error)
      for (const slot of slots.values()) count(slot)
    }
  }

  return {
    async take(_gateway: string, claims: readonly Claim[]): Promise<Taken> {
      await open()
      const at = now()
      const taken = table.take(claims, at)
      if (taken.refused === undefined) for (const claim of claims) count(toSlot(claim, at))
      return taken
    },
    async settle(_gateway: string, settlements: readonly Settlement[]) {
      await open()
      for (const settlement of settlements) {
        const slot = toSlot(settlement, settlement.at)
        table.add(slot)
        count(slot)
      }
    },
    flush,
  }
}
