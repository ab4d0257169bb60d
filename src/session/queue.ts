import { GatewayError } from '../errors.ts'
import { limits, type SessionLimits } from '../limits.ts'
import type { Run } from '../runs/run.ts'

interface Waiting {
  readonly size: number
  /** Resolves at the run's end. Never rejects. */
  readonly go: () => Promise<void>
}

/** The runs of a session that are under way, and those that wait for a place. */
export class Queue {
  readonly #limits: SessionLimits
  readonly #waiting = new Map<Run, Waiting>()
  #running = 0
  #heldBytes = 0

  constructor(own: SessionLimits) {
    this.#limits = own
  }

  /** @throws GatewayError too_many_requests for a message of this size */
  assertRoom(size: number): void {
    if (this.#waiting.size >= this.#limits.queued || this.#heldBytes + size > limits.sessionBytes)
      throw new GatewayError('too_many_requests')
  }

  /** Run it at once, or in its turn. */
  add(run: Run, size: number, go: () => Promise<void>): void {
    this.#heldBytes += size
    this.#waiting.set(run, { size, go })
    this.#next()
  }

  /** Take out a run that waits; false for one that does not. */
  remove(run: Run): boolean {
    this.#heldBytes -= this.#waiting.get(run)?.size ?? 0
    return this.#waiting.delete(run)
  }

  #next(): void {
    const [first] = this.#waiting
    if (!first || this.#running >= this.#limits.inFlight) return
    const [run, { size, go }] = first
    this.#waiting.delete(run)
    this.#running += 1
    void go().then(() => {
      this.#running -= 1
      this.#heldBytes -= size
      this.#next()
    })
  }
}
