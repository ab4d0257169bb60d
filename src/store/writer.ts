import type { LogEntry, Logs } from './logs.ts'

/** Rows written together at the most: some 2 ms of a database's time. */
const batchRows = 100
/** An entry waits at most this long. */
const flushMs = 500
/** Entries that wait while the store cannot be reached; what comes after is counted as lost. */
const waitingRows = 10_000
/** Bytes of bodies that wait. */
const waitingBytes = 64 << 20
/** Between two tries to reach a store. */
const retryMs = 2_000

/** How recording fares. */
export interface Health {
  readonly status: 'ok' | 'degraded'
  /** Entries that were lost since the start. */
  readonly lost: number
}

/** Writes logs behind the answers. */
export interface LogWriter {
  /** Never throws, never waits. */
  add(entry: LogEntry): void
  /** Write what waits. Never rejects. */
  flush(): Promise<void>
  health(): Health
}

const sizeOf = ({ bodies }: LogEntry): number =>
  (bodies.request?.length ?? 0) + (bodies.response?.length ?? 0)

/** A store that cannot be reached costs records, with a word to `report`, and never an answer. */
export function createLogWriter(logs: Logs, report: (where: string, error: unknown) => void): LogWriter {
  const waiting: LogEntry[] = []
  let bytes = 0
  let lost = 0
  let isDegraded = false
  let timer: ReturnType<typeof setTimeout> | undefined
  let writing: Promise<boolean> | undefined

  const writeSome = async (): Promise<boolean> => {
    const batch = waiting.slice(0, batchRows)
    try {
      await logs.append(batch)
      waiting.splice(0, batch.length)
      for (const entry of batch) bytes -= sizeOf(entry)
      isDegraded = false
      return true
    } catch (error) {
      if (!isDegraded) report('logs cannot be written', error)
      isDegraded = true
      return false
    }
  }

  const flush = async (): Promise<void> => {
    clearTimeout(timer)
    timer = undefined
    if (writing) await writing
    while (waiting.length > 0) {
      writing = writeSome()
      const isWritten = await writing
      writing = undefined
      if (!isWritten) return later(retryMs)
    }
  }

  const later = (ms: number): void => {
    timer ??= setTimeout(() => void flush(), ms)
  }

  return {
    add(entry) {
      const size = sizeOf(entry)
      if (waiting.length >= waitingRows || bytes + size > waitingBytes) {
        lost += 1
        return
      }
      waiting.push(entry)
      bytes += size
      if (waiting.length >= batchRows && !writing && !isDegraded) void flush()
      else later(flushMs)
    },
    flush,
    health: () => ({ status: isDegraded || lost > 0 ? 'degraded' : 'ok', lost }),
  }
}
