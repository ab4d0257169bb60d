import { cut } from '../cut.ts'
import { limits } from '../limits.ts'
import type { LogBodies, LogEntry, LogPatch, LogQuery, LogRow, LogStats, Logs, StoredLog } from './logs.ts'
import { opener, type Sql, type SqlRow, type SqlValue, type Statement, writable } from './sql.ts'
import { seriesStatement, toPoint } from './sql-series.ts'
import { columnOf, toWhere } from './sql-where.ts'

/** Columns of a row, in the order of `LogRow`, and their types. */
const columns: { readonly [K in keyof LogRow]: string } = {
  id: 'TEXT PRIMARY KEY',
  gateway: 'TEXT NOT NULL',
  created_at: 'BIGINT NOT NULL',
  request_id: 'TEXT NOT NULL',
  event_id: 'TEXT NOT NULL',
  run_id: 'TEXT',
  principal: 'TEXT NOT NULL',
  provider: 'TEXT NOT NULL',
  model: 'TEXT NOT NULL',
  path: 'TEXT NOT NULL',
  step: 'INTEGER NOT NULL',
  attempt: 'INTEGER NOT NULL',
  status_code: 'INTEGER',
  success: 'INTEGER NOT NULL',
  cached: 'INTEGER NOT NULL',
  outcome: 'TEXT NOT NULL',
  upstream_stopped: 'INTEGER NOT NULL',
  error: 'TEXT',
  duration: 'INTEGER NOT NULL',
  ttft: 'INTEGER',
  streamed: 'INTEGER NOT NULL',
  request_content_type: 'TEXT NOT NULL',
  response_content_type: 'TEXT NOT NULL',
  request_size: 'INTEGER',
  response_size: 'INTEGER NOT NULL',
  request_frames: 'INTEGER',
  response_frames: 'INTEGER',
  tokens_in: 'INTEGER',
  tokens_out: 'INTEGER',
  tokens_cached: 'INTEGER',
  tokens_cache_written: 'INTEGER',
  tokens_reasoning: 'INTEGER',
  usage_basis: 'TEXT',
  cost: 'DOUBLE PRECISION',
  cost_basis: "TEXT NOT NULL DEFAULT 'unknown'",
  custom_cost: 'INTEGER NOT NULL DEFAULT 0',
  metadata: 'TEXT',
  user_agent: 'TEXT',
}
const names = Object.keys(columns) as (keyof LogRow)[]
const booleans: readonly string[] = ['success', 'cached', 'streamed', 'upstream_stopped', 'custom_cost']

const definition = Object.entries(columns)
  .map(([name, type]) => `${name} ${type}`)
  .join(', ')
const steps = [
  [
    `CREATE TABLE logs (${definition}, feedback INTEGER, score DOUBLE PRECISION)`,
    'CREATE INDEX logs_by_time ON logs (gateway, created_at)',
    'CREATE TABLE log_bodies (id TEXT NOT NULL, part TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (id, part))',
    'CREATE TABLE log_metadata (id TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (id, name))',
  ],
]
const insertRow = `INSERT INTO logs (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')}) ON CONFLICT (id) DO NOTHING`
/** Of a column, in UTF-8: a row of some stores is no larger than 2 MB, and its client could make it larger. */
const textBytes = 65_536
/** A row a body, for the same reason. */
const insertBody =
  'INSERT INTO log_bodies (id, part, body) VALUES (?, ?, ?) ON CONFLICT (id, part) DO NOTHING'
const insertMetadata =
  'INSERT INTO log_metadata (id, name, value) VALUES (?, ?, ?) ON CONFLICT (id, name) DO NOTHING'
/** Durable Objects bind 100 values to a statement. */
const removedRows = 90
const removals = ['log_bodies', 'log_metadata', 'logs'].map(
  (table) => `DELETE FROM ${table} WHERE id IN (${Array(removedRows).fill('?').join(', ')})`,
)

/** Logs in a SQL database; its tables are made at the first use. */
export function createSqlLogs(sql: Sql): Logs {
  const open = opener(sql, 'logs', steps)

  return {
    async append(entries) {
      await (await open()).batch(entries.flatMap(toStatements))
    },
    async list(query) {
      const [where, values] = toWhere(query)
      const text = `SELECT * FROM logs WHERE ${where} ${orderOf(query)} LIMIT ? OFFSET ?`
      const rows = await (await open()).all(text, ...values, query.limit, query.offset)
      return rows.map(toLog)
    },
    async count(selection) {
      const [where, values] = toWhere(selection)
      const [row] = await (await open()).all(`SELECT count(*) AS total FROM logs WHERE ${where}`, ...values)
      return Number(row?.total ?? 0)
    },
    async stats(selection) {
      const [where, values] = toWhere(selection)
      const [row] = await (await open()).all(`SELECT ${extremes} FROM logs WHERE ${where}`, ...values)
      return row as unknown as LogStats
    },
    async series(query) {
      return (await (await open()).all(...seriesStatement(query))).map(toPoint)
    },
    async get(gateway, id) {
      const [row] = await (await open()).all('SELECT * FROM logs WHERE gateway = ? AND id = ?', gateway, id)
      return row && toLog(row)
    },
    async bodies(gateway, id) {
      const text =
        'SELECT b.part, b.body FROM logs l LEFT JOIN log_bodies b ON b.id = l.id WHERE l.gateway = ? AND l.id = ?'
      const rows = await (await open()).all(text, gateway, id)
      if (rows.length === 0) return undefined
      const bodyOf = (part: keyof LogBodies) =>
        rows.find((row) => row.part === part)?.body as string | undefined
      return { request: bodyOf('request') ?? null, response: bodyOf('response') ?? null }
    },
    async patch(gateway, id, patch) {
      const db = await open()
      const found = await db.all('SELECT id FROM logs WHERE gateway = ? AND id = ?', gateway, id)
      if (found.length > 0) await db.batch(toUpdates(id, patch))
      return found.length > 0
    },
    async remove(query) {
      const [where, values] = toWhere(query)
      const text = `SELECT id FROM logs WHERE ${where} ${orderOf(query)} LIMIT ?`
      await removeAll(await open(), [text, ...values], query.limit)
    },
    async trim(gateway, rows, before) {
      const db = await open()
      const newest =
        'SELECT created_at, id FROM logs WHERE gateway = ? ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET ?'
      const [last] = await db.all(newest, gateway, rows)
      const { created_at: at = -1, id = '' } = last ?? {}
      const older = 'created_at < ? OR created_at < ? OR (created_at = ? AND id <= ?)'
      const text = `SELECT id FROM logs WHERE gateway = ? AND (${older}) ORDER BY created_at LIMIT ?`
      await removeAll(db, [text, gateway, before, at, at, id], Number.POSITIVE_INFINITY)
    },
  }
}

const patchable: readonly (keyof LogPatch)[] = ['feedback', 'score', 'metadata']
const measured = {
  cost: 'cost',
  duration: 'duration',
  tokens_in: 'tokens_in',
  tokens_out: 'tokens_out',
  total_tokens: columnOf('tokens'),
}
const extremes = Object.entries(measured)
  .flatMap(([name, column]) => [`min(${column}) AS min_${name}`, `max(${column}) AS max_${name}`])
  .join(', ')

/** Nulls last, as databases disagree; said only where there may be some, since no index is in that order. */
function orderOf({ orderBy, direction }: Pick<LogQuery, 'orderBy' | 'direction'>): string {
  const column = columnOf(orderBy)
  const type: string | undefined = columns[orderBy as keyof LogRow]
  const isKnown = orderBy === 'id' || orderBy === 'tokens' || type?.endsWith('NOT NULL')
  const way = direction === 'asc' ? 'ASC' : 'DESC'
  return `ORDER BY ${isKnown ? '' : `${column} IS NULL, `}${column} ${way}, id ${way}`
}

/** Remove what a query finds, a few at a time, so that nobody waits for long; it takes its limit last. */
async function removeAll(sql: Sql, [text, ...values]: Statement, max: number): Promise<void> {
  for (let left = max; left > 0; left -= removedRows) {
    const limit = Math.min(left, removedRows)
    const ids = (await sql.all(text, ...values, limit)).map(({ id }) => String(id))
    const last = ids.at(-1)
    if (last === undefined) return
    // Always as many, so that the statements are prepared once.
    const padded = [...ids, ...Array<string>(removedRows - ids.length).fill(last)]
    await sql.batch(removals.map((removal) => [removal, ...padded]))
    if (ids.length < limit) return
  }
}

function toStatements({ row, bodies }: LogEntry): Statement[] {
  const values = names.map((name): SqlValue => {
    const value = row[name]
    return typeof value === 'boolean' ? Number(value) : toValue(value)
  })
  const kept = Object.entries(bodies).filter(([, body]) => body !== null)
  return [
    [insertRow, ...values],
    ...kept.map(
      ([part, body]): Statement => [
        insertBody,
        row.id,
        part,
        body && cut(writable(body), limits.logBodyBytes),
      ],
    ),
    ...toMetadata(row.id, row.metadata),
  ]
}

const toValue = (value: SqlValue): SqlValue => (typeof value === 'string' ? toText(value) : value)
const toText = (text: string): string => cut(writable(text), textBytes)

function toUpdates(id: string, patch: LogPatch): Statement[] {
  const set = Object.entries(patch).filter(([name]) => patchable.includes(name as keyof LogPatch))
  const values = set.map(([, value]) => value as SqlValue)
  const update: Statement = [
    `UPDATE logs SET ${set.map(([name]) => `${name} = ?`).join(', ')} WHERE id = ?`,
    ...values,
    id,
  ]
  const { metadata } = patch
  const anew: Statement[] =
    metadata === undefined ? [] : [['DELETE FROM log_metadata WHERE id = ?', id], ...toMetadata(id, metadata)]
  return [...(set.length > 0 ? [update] : []), ...anew]
}

/** The entries of a metadata object as rows of their own, to be found by. */
function toMetadata(id: string, metadata: string | null): Statement[] {
  if (metadata === null) return []
  return Object.entries(parseObject(metadata)).map(([name, value]) => [
    insertMetadata,
    id,
    toText(name),
    toText(String(value)),
  ])
}

function parseObject(text: string): object {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {} // what was taken out of it left no JSON
  }
}

function toLog(row: SqlRow): StoredLog {
  const read = Object.entries(row).map(([name, value]) => [
    name,
    booleans.includes(name) ? value === 1 : value,
  ])
  return Object.fromEntries(read) as StoredLog
}
