import type {
  LogBodies,
  LogEntry,
  LogFilter,
  LogKey,
  LogPatch,
  LogQuery,
  LogRow,
  Logs,
  StoredLog,
} from './logs.ts'
import { migrate, type Sql, type SqlRow, type SqlValue, type Statement } from './sql.ts'

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
  usage_basis: 'TEXT',
  cost: 'DOUBLE PRECISION',
  metadata: 'TEXT',
  user_agent: 'TEXT',
}
const names = Object.keys(columns) as (keyof LogRow)[]
const booleans: readonly string[] = ['success', 'cached', 'streamed', 'upstream_stopped']

const definition = Object.entries(columns)
  .map(([name, type]) => `${name} ${type}`)
  .join(', ')
const steps = [
  [
    `CREATE TABLE logs (${definition}, feedback INTEGER, score INTEGER)`,
    'CREATE INDEX logs_by_time ON logs (gateway, created_at)',
    'CREATE TABLE log_bodies (id TEXT NOT NULL, part TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (id, part))',
  ],
]
const insertRow = `INSERT INTO logs (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')}) ON CONFLICT (id) DO NOTHING`
/** A row a body, since a value of some stores is no larger than 2 MB. */
const insertBody =
  'INSERT INTO log_bodies (id, part, body) VALUES (?, ?, ?) ON CONFLICT (id, part) DO NOTHING'

/** Logs in a SQL database; its tables are made at the first use. */
export function createSqlLogs(sql: Sql): Logs {
  let ready: Promise<void> | undefined
  const open = async (): Promise<Sql> => {
    ready ??= migrate(sql, 'logs', steps).catch((error: unknown) => {
      ready = undefined // a locked file may be free the next time
      throw error
    })
    await ready
    return sql
  }

  return {
    async append(entries) {
      await (await open()).batch(entries.flatMap(toStatements))
    },
    async list(query) {
      const [where, values] = toWhere(query)
      const order = `${expressions[query.orderBy] ?? query.orderBy} ${query.direction === 'asc' ? 'ASC' : 'DESC'}`
      const text = `SELECT * FROM logs WHERE ${where} ORDER BY ${order}, id DESC LIMIT ? OFFSET ?`
      const rows = await (await open()).all(text, ...values, query.limit, query.offset)
      return rows.map(toLog)
    },
    async count(query) {
      const [where, values] = toWhere(query)
      const [row] = await (await open()).all(`SELECT count(*) AS total FROM logs WHERE ${where}`, ...values)
      return Number(row?.total ?? 0)
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
      const set = Object.entries(patch).filter(([name]) => patchable.includes(name as keyof LogPatch))
      const found = await db.all('SELECT id FROM logs WHERE gateway = ? AND id = ?', gateway, id)
      if (set.length > 0 && found.length > 0) {
        const text = `UPDATE logs SET ${set.map(([name]) => `${name} = ?`).join(', ')} WHERE gateway = ? AND id = ?`
        await db.batch([[text, ...set.map(([, value]) => value as SqlValue), gateway, id]])
      }
      return found.length > 0
    },
    async remove(query) {
      const [where, values] = toWhere(query)
      const order = `${expressions[query.orderBy] ?? query.orderBy} ${query.direction === 'asc' ? 'ASC' : 'DESC'}`
      const ids = `SELECT id FROM logs WHERE ${where} ORDER BY ${order} LIMIT ?`
      await deleteWhere(await open(), ids, [...values, query.limit])
    },
    async trim(gateway, rows, before) {
      const db = await open()
      const newest = 'SELECT created_at FROM logs WHERE gateway = ? ORDER BY created_at DESC LIMIT 1 OFFSET ?'
      const [first] = await db.all(newest, gateway, rows)
      const until = Math.max(before - 1, Number(first?.created_at ?? -1))
      await deleteWhere(db, 'SELECT id FROM logs WHERE gateway = ? AND created_at <= ?', [gateway, until])
    },
  }
}

const patchable: readonly (keyof LogPatch)[] = ['feedback', 'score', 'metadata']
/** Keys that are no columns. */
const expressions: { readonly [K in LogKey]?: string } = {
  tokens: '(coalesce(tokens_in, 0) + coalesce(tokens_out, 0))',
}
const operators = { eq: '=', neq: '<>', lt: '<', gt: '>' } as const

async function deleteWhere(sql: Sql, ids: string, values: readonly SqlValue[]): Promise<void> {
  await sql.batch([
    [`DELETE FROM log_bodies WHERE id IN (${ids})`, ...values],
    [`DELETE FROM logs WHERE id IN (${ids})`, ...values],
  ])
}

function toStatements({ row, bodies }: LogEntry): Statement[] {
  const values = names.map((name): SqlValue => {
    const value = row[name]
    return typeof value === 'boolean' ? Number(value) : value
  })
  const kept = Object.entries(bodies).filter(([, body]) => body !== null)
  return [[insertRow, ...values], ...kept.map(([part, body]): Statement => [insertBody, row.id, part, body])]
}

function toWhere({ gateway, filters }: Pick<LogQuery, 'gateway' | 'filters'>): [string, SqlValue[]] {
  const parts = filters.map(toCondition)
  return [
    ['gateway = ?', ...parts.map(([text]) => text)].join(' AND '),
    [gateway, ...parts.flatMap(([, v]) => v)],
  ]
}

function toCondition({ key, operator, value }: LogFilter): [string, SqlValue[]] {
  const column = expressions[key] ?? key
  if (value.length === 0) return ['1 = 1', []]
  if (operator === 'contains') {
    const escaped = value.map((text) => `%${String(text).replace(/[\\%_]/g, '\\$&')}%`)
    return [`(${value.map(() => `${column} LIKE ? ESCAPE '\\'`).join(' OR ')})`, escaped]
  }
  const glue = operator === 'neq' ? ' AND ' : ' OR '
  return [`(${value.map(() => `${column} ${operators[operator]} ?`).join(glue)})`, [...value]]
}

function toLog(row: SqlRow): StoredLog {
  const read = Object.entries(row).map(([name, value]) => [
    name,
    booleans.includes(name) ? value === 1 : value,
  ])
  return Object.fromEntries(read) as StoredLog
}
