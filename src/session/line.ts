import { GatewayError } from '../errors.ts'
import { limits } from '../limits.ts'
import type { Reader } from '../runs/reader.ts'
import type { Socket } from '../socket.ts'

/** One connection of a session: its socket, and what is read over it. */
export class Line {
  readonly socket: Socket
  readonly #readings = new Map<string, Reader>()
  #unsentAnswers = 0
  /** Those that were replaced too, until their last frame is sent. */
  #telling = 0
  isOpen = true

  constructor(socket: Socket) {
    this.socket = socket
  }

  send(frame: string): void {
    void this.socket.send(frame)
  }

  /** For frames that answer a message at once; a client that sends and never reads is put off. */
  answer(frame: string): void {
    if (this.#unsentAnswers >= limits.unsentAnswers) this.close(1013, 'reader too slow')
    const room = this.socket.send(frame)
    if (!room) return
    this.#unsentAnswers += 1
    void room.then(() => {
      this.#unsentAnswers -= 1
    })
  }

  /** Something is read over it. */
  get isTelling(): boolean {
    return this.#telling > 0
  }

  /** @throws GatewayError too_many_requests where nothing more can be read over it */
  assertRoom(): void {
    if (this.#telling >= limits.readings) throw new GatewayError('too_many_requests')
  }

  reading(eventId: string): Reader | undefined {
    return this.#readings.get(eventId)
  }

  /** A reading takes the place of an earlier one of the same name. */
  begin(eventId: string, reader: Reader): void {
    this.#telling += 1
    this.#readings.get(eventId)?.close()
    this.#readings.set(eventId, reader)
    if (!this.isOpen) reader.close()
  }

  /** All of a reading is sent, or none of it can be any more. */
  end(eventId: string, reader: Reader): void {
    this.#telling -= 1
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
