import { type SeriesPoint, type SeriesQuery, seriesDimensions } from './logs.ts'
import type { Sql, SqlRow, Statement } from './sql.ts'
import { type Window, windowsOf } from './sql-scan.ts'

/** Sums of the logs of a gateway, counted a piece of its time at a time, the newest first. */
export async function readSeries(sql: Sql, query: SeriesQuery): Promise<SeriesPoint[]> {
  const groups = new Map<string, Group>()
  let left = query.rowsMax
  for await (const window of windowsOf(sql, query.gateway, [query.from, query.until])) {
    const rows = await sql.all(...statementOf(query, window, left))
    for (const row of rows) addTo(groups, row, query.bucketMs)
    left -= rows.length
    if (left <= 0) break
  }
  return [...groups.values()].map(toPoint).sort(newestFirst).slice(0, query.pointsMax)
}

/** The first attempt of a request has the request's id. */
function statementOf({ gateway, by }: SeriesQuery, window: Window, limit: number): Statement {
  const isMetadata = typeof by === 'object'
  const name = typeof by === 'string' && seriesDimensions.includes(by) ? by : undefined
  const part = isMetadata ? 'm.value' : name ? `CAST(logs.${name} AS TEXT)` : 'NULL'
  const join = isMetadata ? 'LEFT JOIN log_metadata m ON m.id = logs.id AND m.name = ?' : ''
  const text = `SELECT logs.created_at, ${part} AS part, CASE WHEN logs.id = request_id THEN 1 ELSE 0 END AS is_first,
      success, cached, tokens_in, tokens_out, cost, duration
    FROM logs ${join}
    WHERE gateway = ? AND created_at >= ? AND created_at < ? ORDER BY created_at DESC LIMIT ?`
  return [text, ...(isMetadata ? [by.metadata] : []), gateway, ...window, limit]
}

/** A point under way. */
interface Group {
  readonly at: number
  readonly group: string | null
  readonly durations: number[]
  readonly sums: { requests: number; errors: number; cached: number; cost_unknown: number } & Spent
}
interface Spent {
  tokens_in: number
  tokens_out: number
  cost: number
}

function addTo(groups: Map<string, Group>, row: SqlRow, bucketMs: number): void {
  const created = Number(row.created_at)
  const at = created - (created % bucketMs)
  const group = row.part === null ? null : String(row.part)
  const key = JSON.stringify([at, group])
  const known = groups.get(key) ?? { at, group, durations: [], sums: { ...nothing } }
  groups.set(key, known)
  const { durations, sums } = known
  durations.push(Number(row.duration))
  sums.requests += Number(row.is_first)
  sums.errors += 1 - Number(row.success)
  sums.cached += Number(row.cached)
  sums.cost_unknown += row.cost === null ? 1 : 0
  for (const name of ['tokens_in', 'tokens_out', 'cost'] as const) sums[name] += Number(row[name] ?? 0)
}

const nothing = { requests: 0, errors: 0, cached: 0, tokens_in: 0, tokens_out: 0, cost: 0, cost_unknown: 0 }

function toPoint({ at, group, durations, sums }: Group): SeriesPoint {
  const sorted = Float64Array.from(durations).sort()
  /** Nearest rank: the smallest of which so many percent are no larger. */
  const percentile = (percent: number): number =>
    sorted[Math.max(Math.ceil((sorted.length * percent) / 100), 1) - 1] ?? 0
  return {
    at,
    group,
    attempts: durations.length,
    ...sums,
    duration_p50: percentile(50),
    duration_p90: percentile(90),
    duration_p99: percentile(99),
  }
}

const newestFirst = (one: SeriesPoint, other: SeriesPoint): number =>
  other.at - one.at || other.attempts - one.attempts || (String(one.group) < String(other.group) ? -1 : 1)
