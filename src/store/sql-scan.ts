import { pause } from '../pause.ts'
import type { LogFilter, LogSelection } from './logs.ts'
import type { Sql } from './sql.ts'
import { type Condition, toWhere } from './sql-where.ts'

/** Logs looked at in one go: some 4 ms of a database's time, in which a process does nothing else. */
export const windowRows = 1_000
/** Logs that one question looks at, from the newest; which are as many as a gateway keeps by default. */
const scanRows = 1_000_000

/** From a time on, up to another, in milliseconds since the epoch. */
export type Window = readonly [from: number, until: number]

const everything: Window = [0, Number.MAX_SAFE_INTEGER]

/**
 * The time of a gateway's logs, in pieces of so many logs, from the newest or the oldest on. Between two of them others
 * have their turn.
 */
export async function* windowsOf(
  sql: Sql,
  gateway: string,
  [from, until]: Window = everything,
  isAscending = false,
): AsyncGenerator<Window> {
  const text = `SELECT created_at FROM logs WHERE gateway = ? AND created_at >= ? AND created_at < ?
    ORDER BY created_at ${isAscending ? 'ASC' : 'DESC'} LIMIT 1 OFFSET ?`
  let [start, end] = [from, until]
  for (let seen = 0; seen < scanRows; seen += windowRows) {
    if (seen > 0) await pause(0)
    const [last] = await sql.all(text, gateway, start, end, windowRows - 1)
    const at = Number(last?.created_at)
    if (isAscending) {
      yield [start, last ? at + 1 : end]
      start = at + 1
    } else {
      yield [last ? at : start, end]
      end = at
    }
    if (!last) return
  }
}

/** The conditions of a selection, a piece of its time at a time; where it names ids, of the times that those have. */
export async function* conditionsOf(
  sql: Sql,
  selection: LogSelection,
  isAscending = false,
): AsyncGenerator<Condition> {
  const [text, values] = toWhere(selection)
  const byId = selection.filters.find(({ key, operator }) => key === 'id' && operator === 'eq')
  const windows =
    byId && byId.value.length > 0
      ? await timesOf(sql, byId.value, isAscending)
      : windowsOf(sql, selection.gateway, timeOf(selection), isAscending)
  for await (const window of windows)
    yield [`${text} AND created_at >= ? AND created_at < ?`, [...values, ...window]]
}

async function timesOf(sql: Sql, ids: LogFilter['value'], isAscending: boolean): Promise<Window[]> {
  const times = new Set<number>()
  for (const id of ids) {
    const [row] = await sql.all('SELECT created_at FROM logs WHERE id = ?', id)
    if (row) times.add(Number(row.created_at))
  }
  const sign = isAscending ? 1 : -1
  return [...times].sort((one, other) => sign * (one - other)).map((at) => [at, at + 1])
}

/** What time the filters leave. */
function timeOf({ filters }: LogSelection): Window {
  let [from, until] = everything
  for (const { key, operator, value } of filters) {
    const times = key === 'created_at' ? value.map(Number).filter(Number.isFinite) : []
    if (times.length === 0 || times.length < value.length) continue
    if (operator === 'gt' || operator === 'gte' || operator === 'eq')
      from = Math.max(from, Math.floor(Math.min(...times)))
    if (operator === 'lt' || operator === 'lte' || operator === 'eq')
      until = Math.min(until, Math.floor(Math.max(...times)) + 1)
  }
  return [from, until]
}
