/** What a column holds. Booleans are 0 and 1; drivers differ in the rest. */
export type SqlValue = string | number | Uint8Array | null
/** A row, by column. */
export type SqlRow = Readonly<Record<string, SqlValue>>
/** A statement of the dialect that SQLite and Postgres share, its values bound, never spliced. */
export type Statement = readonly [text: string, ...values: readonly SqlValue[]]

/** A database, given by an adapter. */
export interface Sql {
  /** The rows of a query. */
  all(...statement: Statement): Promise<SqlRow[]>
  /** All of the statements, or none. */
  batch(statements: readonly Statement[]): Promise<void>
}

/**
 * Bring a database to the newest version. Each step runs once, in order, with the number it leads to; steps are
 * never changed, only added.
 */
export async function migrate(sql: Sql, name: string, steps: readonly (readonly string[])[]): Promise<void> {
  await sql.batch([
    ['CREATE TABLE IF NOT EXISTS versions (name TEXT PRIMARY KEY, version INTEGER NOT NULL)'],
    ['INSERT INTO versions (name, version) VALUES (?, 0) ON CONFLICT (name) DO NOTHING', name],
  ])
  const [row] = await sql.all('SELECT version FROM versions WHERE name = ?', name)
  for (let version = Number(row?.version ?? 0); version < steps.length; version += 1) {
    const step = (steps[version] ?? []).map((text): Statement => [text])
    await sql.batch([...step, ['UPDATE versions SET version = ? WHERE name = ?', version + 1, name]])
  }
}
