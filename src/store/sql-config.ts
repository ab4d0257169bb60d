import {
  type AuditEntry,
  type Change,
  type ConfigStore,
  type Kind,
  nothingStored,
  type Stored,
} from './config.ts'
import { opener, type Sql, type SqlRow, type Statement } from './sql.ts'

/** Entries of the audit trail that are kept. */
const auditRows = 100_000

const steps = [
  [
    'CREATE TABLE config (kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id))',
    'CREATE TABLE audit (revision INTEGER PRIMARY KEY, created_at BIGINT NOT NULL, principal TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL, gateway_id TEXT, fields TEXT NOT NULL)',
  ],
]
const insertEntry =
  'INSERT INTO audit (revision, created_at, principal, action, target, gateway_id, fields) VALUES (?, ?, ?, ?, ?, ?, ?)'
const insertNext =
  'INSERT INTO audit (revision, created_at, principal, action, target, gateway_id, fields) SELECT coalesce(max(revision), 0) + 1, CAST(? AS BIGINT), ?, ?, ?, ?, ? FROM audit'
const put =
  'INSERT INTO config (kind, id, body) VALUES (?, ?, ?) ON CONFLICT (kind, id) DO UPDATE SET body = excluded.body'

/**
 * The configuration in a SQL database; its tables are made at the first use. The last entry of the audit trail is the
 * revision, so that of two changes to the same one the later fails as a whole, at its key.
 */
export function createSqlConfig(sql: Sql): ConfigStore {
  const open = opener(sql, 'config', steps)

  const revision = async (): Promise<number> => {
    const [row] = await (await open()).all('SELECT max(revision) AS revision FROM audit')
    return Number(row?.revision ?? 0)
  }

  return {
    revision,
    async read() {
      const known = await revision() // first: what is read may be newer than it, never older
      const rows = await (await open()).all('SELECT kind, body FROM config ORDER BY kind, id')
      return toStored(known, rows)
    },
    async change(since, changes, entry) {
      const next = since + 1
      const statements: Statement[] = [
        [insertEntry, next, ...toValues(entry)],
        ...changes.map(toStatement),
        ['DELETE FROM audit WHERE revision <= ?', next - auditRows],
      ]
      const db = await open()
      if ((await revision()) !== since) return false
      try {
        await db.batch(statements)
        return true
      } catch (error) {
        if ((await revision()) !== since) return false
        throw error
      }
    },
    async note(entry) {
      await (await open()).batch([
        [insertNext, ...toValues(entry)],
        [
          'DELETE FROM audit WHERE revision <= (SELECT max(revision) FROM audit) - CAST(? AS BIGINT)',
          auditRows,
        ],
      ])
    },
    async audit({ limit, offset }) {
      const text = 'SELECT * FROM audit ORDER BY revision DESC LIMIT ? OFFSET ?'
      const rows = await (await open()).all(text, limit, offset)
      return rows.map((row) => ({ ...row, fields: JSON.parse(String(row.fields)) }) as unknown as AuditEntry)
    },
    async auditCount() {
      const [row] = await (await open()).all('SELECT count(*) AS total FROM audit')
      return Number(row?.total ?? 0)
    },
  }
}

const toValues = (entry: Omit<AuditEntry, 'revision'>): (string | number | null)[] => [
  entry.created_at,
  entry.principal,
  entry.action,
  entry.target,
  entry.gateway_id,
  JSON.stringify(entry.fields),
]

function toStatement(change: Change): Statement {
  if ('put' in change) return [put, change.kind, change.put.id, JSON.stringify(change.put)]
  return ['DELETE FROM config WHERE kind = ? AND id = ?', change.kind, change.remove]
}

function toStored(revision: number, rows: readonly SqlRow[]): Stored {
  const of = (kind: Kind) =>
    rows.filter((row) => row.kind === kind).map((row) => JSON.parse(String(row.body)))
  const kinds = Object.keys(nothingStored).filter((name) => name !== 'revision') as Kind[]
  const records = Object.fromEntries(kinds.map((kind) => [kind, of(kind)]))
  return { ...nothingStored, ...records, revision }
}
