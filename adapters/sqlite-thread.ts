import { isMainThread, parentPort } from 'node:worker_threads'
import type { Sql, Statement } from '../src/store/sql.ts'
import { openFile } from './sqlite-file.ts'

/** What the thread is asked. */
export interface Job {
  readonly id: number
  readonly file: string
  readonly statements: readonly Statement[]
}

/** What it answers. */
export interface Done {
  readonly id: number
  /** Absent: all is written. */
  readonly error?: unknown
}

/** The thread of `createThread`: carries out one batch after another. */
function work(port: NonNullable<typeof parentPort>): void {
  const files = new Map<string, Sql>()
  let last: Promise<void> = Promise.resolve()
  const carryOut = async ({ id, file, statements }: Job): Promise<void> => {
    const done = (error?: unknown): void => port.postMessage({ id, error } satisfies Done)
    try {
      const opened = files.get(file) ?? (await openFile(file))
      files.set(file, opened)
      await opened.batch(statements)
      done()
    } catch (error) {
      done(error)
    }
  }
  port.on('message', (job: Job) => {
    last = last.then(() => carryOut(job))
  })
}

if (!isMainThread && parentPort) work(parentPort)
