import { pause } from '../pause.ts'
import type { LogEntry, Logs } from './logs.ts'

/** Rows written together at the most: some 2 ms of a database's time. */
const batchRows = 100
/** An entry waits at most this long: what a process that is killed may lose. */
const flushMs = 500
/** Entries that wait while the store cannot be reached; what comes after is counted as lost. */
const waitingRows = 10_000
/** Bytes of bodies that wait. */
const waitingBytes = 64 << 20
/** Between two tries to reach a store. */
const retryMs = 2_000
/** Rows of a gateway written between two looks at its retention. */
const trimRows = 1_000

/** How recording fares. */
export interface Health {
  readonly status: 'ok' | 'degraded'
  /** Entries that were lost since the start. */
  readonly lost: number
}

/** What a gateway's logs are kept for. */
export interface Retention {
  readonly rows: number
  /** What gives way when there are as many, which is looked at every 1,000 rows. */
  readonly strategy: 'STOP_INSERTING' | 'DELETE_OLDEST'
  /** Milliseconds; undefined: for ever. */
  readonly ageMs?: number
}

/** Writes logs behind the answers. */
export interface LogWriter {
  /** Never throws, never waits. */
  add(entry: LogEntry): void
  /** Write what waits, once. Never rejects. */
  flush(): Promise<void>
  health(): Health
}

/** What a writer is made of. */
export interface WriterOptions {
  readonly logs: Logs
  readonly retentionOf: (gateway: string) => Retention
  readonly report: (where: string, error: unknown) => void
  /** Keeps the work going where a runtime ends it with the response. */
  readonly defer?: ((work: Promise<unknown>) => void) | undefined
}

const sizeOf = ({ bodies }: LogEntry): number =>
  (bodies.request?.length ?? 0) + (bodies.response?.length ?? 0)

/** A store that cannot be reached costs records, with a word to `report`, and never an answer. */
export function createLogWriter({ logs, retentionOf, report, defer }: WriterOptions): LogWriter {
  /** Taken out before they are written: work of one request may not wait for that of another, which may be cut off. */
  const waiting: LogEntry[] = []
  const writing = new Set<Promise<boolean>>()
  const untrimmed = new Map<string, number>()
  /** Gateways that take no more. */
  const full = new Set<string>()
  let bytes = 0
  let lost = 0
  let isDegraded = false
  /** When the next write is due. */
  let dueAt = 0

  const writeBatch = async (): Promise<boolean> => {
    const batch = waiting.splice(0, batchRows)
    try {
      await logs.append(batch)
      for (const entry of batch) bytes -= sizeOf(entry)
      isDegraded = false
      await trim(batch)
      return true
    } catch (error) {
      waiting.unshift(...batch)
      if (!isDegraded) report('logs cannot be written', error)
      isDegraded = true
      return false
    }
  }

  const trim = async (batch: readonly LogEntry[]): Promise<void> => {
    for (const { row } of batch) untrimmed.set(row.gateway, (untrimmed.get(row.gateway) ?? 0) + 1)
    for (const [gateway, rows] of untrimmed) {
      if (rows < trimRows) continue
      untrimmed.delete(gateway)
      const { rows: kept, strategy, ageMs } = retentionOf(gateway)
      const before = ageMs === undefined ? 0 : Date.now() - ageMs
      const rowsMax = strategy === 'DELETE_OLDEST' ? kept : Number.MAX_SAFE_INTEGER
      try {
        await logs.trim(gateway, rowsMax, before)
        if (rowsMax !== kept && (await logs.count({ gateway, filters: [] })) >= kept) full.add(gateway)
        else full.delete(gateway)
      } catch (error) {
        report('logs cannot be trimmed', error)
      }
    }
  }

  const flush = async (): Promise<void> => {
    let isWritten = true
    while (waiting.length > 0 && isWritten) {
      const one = writeBatch()
      writing.add(one)
      isWritten = await one
      writing.delete(one)
    }
    if (!isWritten) later(retryMs)
  }

  const later = (ms: number): void => {
    const now = Date.now()
    // One that is overdue was cut off with the request that it was begun in.
    if (now < dueAt + flushMs) return
    dueAt = now + ms
    const work = pause(ms).then(() => {
      dueAt = 0
      return flush()
    })
    defer?.(work)
  }

  return {
    add(entry) {
      if (full.has(entry.row.gateway)) return
      const size = sizeOf(entry)
      if (waiting.length >= waitingRows || bytes + size > waitingBytes) {
        lost += 1
        return
      }
      waiting.push(entry)
      bytes += size
      if (waiting.length < batchRows || isDegraded) return later(flushMs)
      const work = flush()
      defer?.(work)
    },
    async flush() {
      await flush()
      await Promise.all(writing)
    },
    health: () => ({ status: isDegraded || lost > 0 ? 'degraded' : 'ok', lost }),
  }
}
