/** What a column holds. Booleans are 0 and 1; drivers differ in the rest. */
export type SqlValue = string | number | Uint8Array | null
/** A row, by column. */
export type SqlRow = Readonly<Record<string, SqlValue>>
/** A statement of the dialect that SQLite and Postgres share, its values bound, never spliced. */
export type Statement = readonly [text: string, ...values: readonly SqlValue[]]

/** A text that every database can hold: Postgres takes no NUL, and Deno's SQLite reads up to the first. */
export const writable = (text: string): string => text.replaceAll('\0', '\u2400')

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
  const versionOf = async (): Promise<number> => {
    const [row] = await sql.all('SELECT version FROM versions WHERE name = ?', name)
    return Number(row?.version ?? 0)
  }
  for (let version = await versionOf(); version < steps.length; version = await versionOf()) {
    const step = (steps[version] ?? []).map((text): Statement => [text])
    try {
      await sql.batch([...step, ['UPDATE versions SET version = ? WHERE name = ?', version + 1, name]])
    } catch (error) {
      if ((await versionOf()) === version) throw error // else another process was faster
    }
  }
}

/** Brings a database up to date at its first use, and hands it out from then on. */
export function opener(sql: Sql, name: string, steps: readonly (readonly string[])[]): () => Promise<Sql> {
  let ready: Promise<void> | undefined
  return async () => {
    ready ??= migrate(sql, name, steps).catch((error: unknown) => {
      ready = undefined // a locked file may be free the next time
      throw error
    })
    await ready
    return sql
  }
}
