import { cut } from '../cut.ts'
import { limits } from '../limits.ts'
import { pause } from '../pause.ts'
import { mergePlaces, mergeStats } from './log-merge.ts'
import type {
  LogBodies,
  LogEntry,
  LogPatch,
  LogPlace,
  LogQuery,
  LogRow,
  LogStats,
  Logs,
  StoredLog,
} from './logs.ts'
import { opener, type Sql, type SqlRow, type SqlValue, type Statement, writable } from './sql.ts'
import { conditionsOf, windowRows } from './sql-scan.ts'
import { readSeries } from './sql-series.ts'
import { columnOf } from './sql-where.ts'

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
  [
    'CREATE TABLE log_counts (gateway TEXT PRIMARY KEY, total BIGINT NOT NULL)',
    'INSERT INTO log_counts (gateway, total) SELECT gateway, count(*) FROM logs GROUP BY gateway',
  ],
]
const insertRow = `INSERT INTO logs (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')}) ON CONFLICT (id) DO NOTHING`
/** Of a column, in UTF-8: a row of some stores is no larger than 2 MB, and its client could make it larger. */
const textBytes = 65_536
/** A row a body, for the same reason. */
const insertBody =
  'INSERT INTO log_bodies (id, part, body) VALUES (?, ?, ?) ON CONFLICT (id, part) DO NOTHING'
/** Only of a log that is there, as one that is patched may be removed meanwhile. */
const insertMetadata =
  'INSERT INTO log_metadata (id, name, value) SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM logs WHERE id = ?) ON CONFLICT (id, name) DO NOTHING'
/** Durable Objects bind 100 values to a statement. */
const idsMax = 90
/** Rows removed in one go: some 2 ms of a database's time. */
const removedRows = idsMax
const someIds = `IN (${Array(idsMax).fill('?').join(', ')})`
/** By ids alone, here and below: beside a gateway, a database may look through all of its logs for them. */
const selectRows = `SELECT * FROM logs WHERE id ${someIds}`
const removals = ['log_bodies', 'log_metadata', 'logs'].map(
  (table) => `DELETE FROM ${table} WHERE id ${someIds}`,
)
const startCount = 'INSERT INTO log_counts (gateway, total) VALUES (?, 0) ON CONFLICT (gateway) DO NOTHING'
/** Before they are written, and before they are removed. Numbers in expressions are cast, as drivers bind them as floats. */
const count = `UPDATE log_counts SET total = total + CAST(? AS BIGINT) - (SELECT count(*) FROM logs WHERE id ${someIds}) WHERE gateway = ?`
const uncount = `UPDATE log_counts SET total = total - (SELECT count(*) FROM logs WHERE id ${someIds}) WHERE gateway = ?`

/** Logs in a SQL database; its tables are made at the first use. */
export function createSqlLogs(sql: Sql): Logs {
  const open = opener(sql, 'logs', steps)

  return {
    async append(entries) {
      await (await open()).batch(toBatch(entries))
    },
    async list(query) {
      const db = await open()
      const places = await findPlaces(db, query)
      const rows = new Map((await readRows(db, query.gateway, idsOf(places))).map((log) => [log.id, log]))
      return places.flatMap(({ id }) => rows.get(id) ?? [])
    },
    places: async (query) => findPlaces(await open(), query),
    read: async (gateway, ids) => readRows(await open(), gateway, ids),
    async count(selection) {
      const db = await open()
      if (selection.filters.length === 0 && !selection.search) return countOf(db, selection.gateway)
      let total = 0
      for await (const [where, values] of conditionsOf(db, selection)) {
        const [row] = await db.all(`SELECT count(*) AS total FROM logs WHERE ${where}`, ...values)
        total += Number(row?.total ?? 0)
      }
      return total
    },
    async stats(selection) {
      const db = await open()
      const parts: LogStats[] = []
      for await (const [where, values] of conditionsOf(db, selection)) {
        const rows = await db.all(`SELECT ${extremes} FROM logs WHERE ${where}`, ...values)
        parts.push(...(rows as unknown as LogStats[]))
      }
      return mergeStats(parts)
    },
    series: async (query) => readSeries(await open(), query),
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
      const db = await open()
      await removeAll(db, query.gateway, idsOf(await findPlaces(db, { ...query, offset: 0 })))
    },
    async trim(gateway, rows, before) {
      const db = await open()
      const aged = 'SELECT id FROM logs WHERE gateway = ? AND created_at < ? ORDER BY created_at LIMIT ?'
      const oldest = 'SELECT id FROM logs WHERE gateway = ? ORDER BY created_at, id LIMIT ?'
      await removeWhile(db, gateway, () => db.all(aged, gateway, before, removedRows))
      await removeWhile(db, gateway, async () => {
        const excess = (await countOf(db, gateway)) - rows
        return excess > 0 ? db.all(oldest, gateway, Math.min(excess, removedRows)) : []
      })
    },
  }
}

const idsOf = (rows: readonly { readonly id?: SqlValue }[]): string[] => rows.map(({ id }) => String(id))

/** The places of a query: by the index where that has them, else looked for piece by piece. */
async function findPlaces(sql: Sql, query: LogQuery): Promise<LogPlace[]> {
  const { gateway, filters, search, orderBy, direction, limit, offset } = query
  const select = `SELECT id, ${columnOf(orderBy)} AS at FROM logs`
  const order = orderOf(query)
  if (orderBy === 'created_at' && filters.length === 0 && !search && offset + limit <= windowRows) {
    const text = `${select} WHERE gateway = ? ${order} LIMIT ? OFFSET ?`
    return (await sql.all(text, gateway, limit, offset)) as unknown as LogPlace[]
  }
  const wanted = offset + limit
  let found: LogPlace[] = []
  for await (const [where, values] of conditionsOf(
    sql,
    query,
    orderBy === 'created_at' && direction === 'asc',
  )) {
    const rows = await sql.all(`${select} WHERE ${where} ${order} LIMIT ?`, ...values, wanted)
    found = mergePlaces([found, rows as unknown as LogPlace[]], query, wanted)
    if (orderBy === 'created_at' && found.length >= wanted) break
  }
  return found.slice(offset)
}

async function readRows(sql: Sql, gateway: string, ids: readonly string[]): Promise<StoredLog[]> {
  const found: StoredLog[] = []
  for (let at = 0; at < ids.length; at += idsMax) {
    if (at > 0) await pause(0)
    const rows = await sql.all(selectRows, ...padded(ids.slice(at, at + idsMax)))
    found.push(...rows.map(toLog).filter((log) => log.gateway === gateway))
  }
  return found
}

/** All logs of a gateway, without looking at them. */
async function countOf(sql: Sql, gateway: string): Promise<number> {
  const [row] = await sql.all('SELECT total FROM log_counts WHERE gateway = ?', gateway)
  return Number(row?.total ?? 0)
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
  return `ORDER BY ${isKnown ? '' : `${column} IS NULL, `}${column} ${direction === 'asc' ? 'ASC' : 'DESC'}, id DESC`
}

/** Always as many, so that the statements are prepared once. */
const padded = (ids: readonly string[]): string[] => [
  ...ids,
  ...Array<string>(idsMax - ids.length).fill(ids.at(-1) ?? ''),
]

async function removeAll(sql: Sql, gateway: string, ids: readonly string[]): Promise<void> {
  let at = 0
  await removeWhile(sql, gateway, async () => {
    at += removedRows
    return ids.slice(at - removedRows, at).map((id) => ({ id }))
  })
}

/** Remove what is found, a few at a time, until nothing is; between two times others have their turn. */
async function removeWhile(sql: Sql, gateway: string, find: () => Promise<readonly SqlRow[]>): Promise<void> {
  for (let found = await find(); found.length > 0; found = await find()) {
    const ids = padded(idsOf(found))
    await sql.batch([[uncount, ...ids, gateway], ...removals.map((removal): Statement => [removal, ...ids])])
    await pause(0)
  }
}

/** What is there already is written once, and counted once. */
function toBatch(entries: readonly LogEntry[]): Statement[] {
  const own = [...new Map(entries.toReversed().map((entry) => [entry.row.id, entry])).values()].reverse()
  const counts = [...Map.groupBy(own, ({ row }) => row.gateway)].flatMap(([gateway, some]) => {
    const ids = some.map(({ row }) => row.id)
    const parts = Array.from({ length: Math.ceil(ids.length / idsMax) }, (_, index): Statement => {
      const part = ids.slice(index * idsMax, (index + 1) * idsMax)
      return [count, part.length, ...padded(part), gateway]
    })
    return [[startCount, gateway] as Statement, ...parts]
  })
  return [...counts, ...own.flatMap(toStatements)]
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
    id,
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
