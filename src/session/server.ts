import { toGatewayError } from '../errors.ts'
import { newId } from '../ids.ts'
import { limits } from '../limits.ts'
import type { Held } from '../runs/held.ts'
import type { Home } from '../runs/home.ts'
import type { Run, SessionState } from '../runs/run.ts'
import { isSame, type Owner } from '../runs/terms.ts'
import type { Frame, Socket } from '../socket.ts'
import { failed } from './deliver.ts'
import { type FrameError, frames, toFrameError } from './frames.ts'
import type { Defaults, Host, Session, SessionInit } from './host.ts'
import { Line } from './line.ts'
import { type ClientMessage, type Named, type Read, readMessage } from './messages.ts'
import { type From, Requests } from './requests.ts'

/**
 * Many requests over one socket (PROTOCOL.md). On the base wire it ends with its socket; with `trunkline.v1` it is
 * held by its home for a while, so that the next socket can take it up.
 */
export class LiveSession implements Held {
  readonly init: SessionInit
  readonly #home: Home
  readonly #host: Host
  readonly #requests: Requests
  #defaults: Defaults
  #attempt: number
  #line: Line | undefined
  #leftAt: number | undefined
  #heardAt: number

  /** `kept` is what was kept of it when its memory was lost. */
  constructor(init: SessionInit, home: Home, host: Host, kept?: SessionState) {
    this.init = init
    this.#home = home
    this.#host = host
    this.#requests = new Requests(init, home, host, kept?.waiting ?? [], () => this.#keep())
    this.#defaults = kept?.defaults ?? init.defaults
    this.#attempt = init.attempt ?? 0
    this.#heardAt = home.now
    this.#leftAt = kept?.leftAt
  }

  get owner(): Owner {
    return this.init.owner
  }

  get attempt(): number {
    return this.#attempt
  }

  get leftAt(): number | undefined {
    return this.#leftAt
  }

  get isIdle(): boolean {
    return this.#requests.isIdle
  }

  get isTelling(): boolean {
    return this.#line?.isTelling ?? false
  }

  /**
   * Serve a socket; one that was served before is closed with 4409. So is a socket that its client has already
   * replaced by a later one.
   */
  attach(socket: Socket, how: 'new' | 'resumed' | 'awake', attempt: number = this.#attempt): Session {
    if (attempt < this.#attempt) return refuse(socket, 4409, 'taken over')
    this.#attempt = attempt
    this.#line?.close(4409, 'taken over')
    const line = new Line(socket)
    this.#line = line
    this.#leftAt = undefined
    this.#heardAt = this.#home.now
    if (this.init.wire !== 'base' && how !== 'awake') {
      const resumed = how === 'resumed'
      const runs = resumed ? { runs: this.#requests.list() } : {}
      line.send(frames.ready({ id: this.init.id, resumed, ...runs }, this.#home.limits, limits.messageBytes))
      if (this.#home.isDraining) this.goAway(0)
      this.#requests.arrive()
      this.#keep()
    }
    return {
      receive: (frame) => {
        if (line.isOpen) this.#receive(frame, line)
      },
      closed: () => this.#leave(line),
    }
  }

  check(): void {
    void this.#dismiss()
    const { heartbeatSeconds } = this.#home.limits
    const silentAt = this.#heardAt + heartbeatSeconds * limits.missedHeartbeats * 1_000
    if (this.init.wire !== 'base' && silentAt <= this.#home.now) this.#line?.close(4408, 'silent')
  }

  /** Close a connection whose token is gone, though nothing is asked over it. Never rejects. */
  async #dismiss(): Promise<void> {
    const line = this.#line
    if (line?.isOpen && !(await this.#host.isWelcome())) line.close(4401, 'token revoked or expired')
  }

  expire(): void {
    this.#requests.leave()
  }

  forget(run: Run): void {
    this.#requests.forget(run)
  }

  /** The gateway drains. */
  goAway(deadlineMs: number): void {
    if (this.init.wire !== 'base') this.#line?.send(frames.goaway(deadlineMs))
  }

  /** The gateway has drained. */
  close(): void {
    this.#line?.close(1001, 'the gateway stops')
  }

  #leave(line: Line): void {
    line.leave()
    if (this.#line !== line) return
    this.#line = undefined
    if (this.init.wire === 'base') this.#home.sessions.delete(this.init.id)
    this.#leftAt = this.#home.now
    this.#keep()
    this.#home.sweepSoon()
    this.#requests.leave()
  }

  /** One of the base wire ends with its connection. */
  #keep(): void {
    if (this.init.wire === 'base') return
    this.#home.keep(this.init.id, {
      defaults: this.#defaults,
      ...(this.#leftAt !== undefined && { leftAt: this.#leftAt }),
      waiting: this.#requests.waiting,
    })
  }

  #receive(frame: Frame, line: Line): void {
    this.#heardAt = this.#home.now
    const read: Read =
      typeof frame === 'string'
        ? readMessage(frame, this.init.wire)
        : { fault: 'Binary frames are not understood', named: {} }
    if ('fault' in read) {
      this.#refuse(line, { code: 'bad_message', message: read.fault }, read.named)
      return
    }
    const eventId = read.named.eventId ?? newId()
    try {
      this.#handle(read.message, { line, eventId, size: frame.length, defaults: this.#defaults })
    } catch (error) {
      const fault = toGatewayError(error)
      if (this.init.wire === 'base') line.answer(failed(eventId, fault))
      else this.#refuse(line, toFrameError(fault), read.named)
    }
  }

  #refuse(line: Line, error: FrameError, named: Named): void {
    line.answer(this.init.wire === 'base' ? frames.error(error, named) : frames.failure(error, named))
  }

  #handle(message: ClientMessage, from: From): void {
    const { line } = from
    switch (message.type) {
      case 'universal.create':
        this.#requests.create(message.request, from)
        break
      case 'universal.cancel':
        this.#requests.cancel(message, line)
        break
      case 'universal.resume':
        this.#requests.resume(message, line)
        break
      case 'universal.ack':
        this.#requests.ack(message, line)
        break
      case 'session.update':
        this.#update(message.headers)
        line.answer(frames.updated())
        break
      case 'session.ping':
        line.answer(frames.pong(message.id))
        break
      default:
        message satisfies never
    }
  }

  #update(headers: Readonly<Record<string, string | null>>): void {
    const merged = new Map(Object.entries(this.#defaults))
    for (const [name, value] of Object.entries(headers)) {
      if (value === null) merged.delete(name.toLowerCase())
      else merged.set(name.toLowerCase(), value)
    }
    this.#defaults = this.#host.toDefaults(Object.fromEntries(merged))
    this.#keep()
  }
}

/** Take a session up again, or begin one (PROTOCOL.md, "Connecting again"). */
export function openSession(socket: Socket, init: SessionInit, home: Home, host: Host): Session {
  const held = home.sessions.get(init.id)
  if (held instanceof LiveSession && isSame(held.owner, init.owner))
    return held.attach(socket, init.isAwake ? 'awake' : 'resumed', init.attempt)
  if (!home.makeRoom()) return refuse(socket, 4429, 'too many sessions')
  return holdSession(init, home, host).attach(socket, init.isAwake ? 'awake' : 'new')
}

function refuse(socket: Socket, code: number, reason: string): Session {
  socket.close(code, reason)
  return { receive: () => undefined, closed: () => undefined }
}

/** Hold a session without a socket, or whose socket is asleep. */
export function holdSession(init: SessionInit, home: Home, host: Host, kept?: SessionState): LiveSession {
  const session = new LiveSession(init, home, host, kept)
  home.sessions.set(init.id, session)
  home.sweepSoon()
  return session
}
