import { chmodSync, closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { Env, Given } from '../src/index.ts'
import { createManagement } from '../src/manage/app.ts'
import { createSettings } from '../src/store/settings.ts'
import type { Sql, Statement } from '../src/store/sql.ts'
import { createSqlCache } from '../src/store/sql-cache.ts'
import { createSqlConfig } from '../src/store/sql-config.ts'
import { createSqlCounters } from '../src/store/sql-counters.ts'
import { createSqlLogs } from '../src/store/sql-logs.ts'
import { parts } from './parts.ts'
import { report } from './server.ts'
import { openFile } from './sqlite-file.ts'
import type { Done, Job } from './sqlite-thread.ts'

/** The embedded stores of a folder, a file each, with the environment and the parts that need no store. */
export async function givenBy(env: Env | undefined, data: string | undefined): Promise<Given> {
  const own = { ...parts, ...(env && { env }) }
  if (data === undefined) return own
  const thread = createThread()
  return {
    ...own,
    manage: createManagement,
    logs: createSqlLogs(await openSqlite(data, 'logs', thread)),
    counters: createSqlCounters(await openSqlite(data, 'counters', thread), { report }),
    cache: createSqlCache(await openSqlite(data, 'cache', thread)),
    settings: createSettings(createSqlConfig(await openSqlite(data, 'config')), env ?? {}),
  }
}

/** Carries out batches elsewhere. */
export type Thread = (file: string, statements: readonly Statement[]) => Promise<void>

/**
 * A database in a folder, which is made if need be. Queries are carried out at once; so are batches without a thread.
 * @throws the file system's errors, for a folder that cannot be had
 */
export async function openSqlite(folder: string, name: string, thread?: Thread): Promise<Sql> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const file = join(folder, `${name}.sqlite`)
  // Nobody else's to read; what SQLite puts beside it gets the same.
  closeSync(openSync(file, 'a', 0o600))
  chmodSync(file, 0o600)
  const own = await openFile(file)
  return thread ? { all: own.all, batch: (statements) => thread(file, statements) } : own
}

/** The file of the thread, as it stands beside this one: unbuilt, or built. */
const threadFile = import.meta.url.endsWith('.ts') ? './sqlite-thread.ts' : './sqlite-thread.js'

/**
 * One thread that writes, begun at the first batch, so that no answer waits for a disk. It keeps the process alive only
 * while it has something to write; one that has failed is begun anew.
 */
export function createThread(): Thread {
  const pending = new Map<number, { resolve: () => void; reject: (error: unknown) => void }>()
  let worker: Worker | undefined
  let count = 0
  const settle = ({ id, error }: Done): void => {
    const one = pending.get(id)
    pending.delete(id)
    if (pending.size === 0) worker?.unref()
    if (error === undefined) one?.resolve()
    else one?.reject(error)
  }
  const begin = (): Worker => {
    const own = new Worker(new URL(threadFile, import.meta.url), { execArgv: [] })
    const fail = (error: unknown): void => {
      if (worker !== own) return
      worker = undefined
      for (const id of [...pending.keys()]) settle({ id, error })
    }
    return own
      .on('message', settle)
      .on('error', fail)
      .on('exit', () => fail(new Error('The thread that writes has ended')))
  }

  return (file, statements) =>
    new Promise((resolve, reject) => {
      worker ??= begin()
      count += 1
      worker.postMessage({ id: count, file, statements: statements.map(alone) } satisfies Job)
      if (pending.size === 0) worker.ref()
      pending.set(count, { resolve, reject })
    })
}

/** A view would take all of its buffer along. */
const alone = (statement: Statement): Statement =>
  statement.some((value) => value instanceof Uint8Array)
    ? (statement.map((value) =>
        value instanceof Uint8Array ? new Uint8Array(value) : value,
      ) as unknown as Statement)
    : statement
