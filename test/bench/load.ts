import process from 'node:process'
import { type Against, carryOut, type Task } from './tasks.ts'

/** The load generator, as a process of its own: one task after another, each answered with what it gave. */
process.on('message', ({ task, against }: { task: Task; against: Against }) => {
  carryOut(task, against).then(
    (outcome) => process.send?.(outcome),
    (error: unknown) => process.send?.({ figures: {}, total: 0, errors: 1, error: String(error) }),
  )
})
