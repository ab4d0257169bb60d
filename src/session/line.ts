import { limits } from '../limits.ts'
import type { Reader } from '../runs/run.ts'
import type { Socket } from '../socket.ts'

/** One connection of a session: its socket, and what is read over it. */
export class Line {
  readonly socket: Socket
  readonly #readings = new Map<string, Reader>()
  #unsentRefusals = 0
  isOpen = true

  constructor(socket: Socket) {
    this.socket = socket
  }

  send(frame: string): void {
    void this.socket.send(frame)
  }

  /** For frames that answer a message at once; a client that sends faults and never reads is put off. */
  refuse(frame: string): void {
    if (this.#unsentRefusals >= limits.unsentRefusals) this.close(1013, 'reader too slow')
    const room = this.socket.send(frame)
    if (!room) return
    this.#unsentRefusals += 1
    void room.then(() => {
      this.#unsentRefusals -= 1
    })
  }

  /** Something is read over it. */
  get isTelling(): boolean {
    return this.#readings.size > 0
  }

  reading(eventId: string): Reader | undefined {
    return this.#readings.get(eventId)
  }

  /** A reading takes the place of an earlier one of the same name. */
  begin(eventId: string, reader: Reader): void {
    this.#readings.get(eventId)?.close()
    this.#readings.set(eventId, reader)
    if (!this.isOpen) reader.close()
  }

  end(eventId: string, reader: Reader): void {
    if (this.#readings.get(eventId) === reader) this.#readings.delete(eventId)
  }

  close(code: number, reason: string): void {
    if (this.isOpen) this.socket.close(code, reason)
    this.leave()
  }

  leave(): void {
    this.isOpen = false
    for (const reader of this.#readings.values()) reader.close()
    this.#readings.clear()
  }
}
