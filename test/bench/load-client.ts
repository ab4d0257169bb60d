import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Against, Outcome, Task } from './tasks.ts'

/** The load generator, seen from here. */
export interface Load {
  /** One task; rejects when the generator has died. */
  run(task: Task, against: Against): Promise<Outcome>
  stop(): Promise<void>
}

/** Start it. */
export function startLoad(): Load {
  const child: ChildProcess = fork(fileURLToPath(new URL('load.ts', import.meta.url)), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const ended = once(child, 'exit')
  return {
    async run(task, against) {
      child.send({ task, against })
      const died = ended.then(() => Promise.reject(new Error('the load generator has died')))
      const [outcome] = await Promise.race([once(child, 'message'), died])
      return outcome as Outcome
    },
    async stop() {
      child.kill()
      await ended
    },
  }
}
