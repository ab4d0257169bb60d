import { GatewayError, toGatewayError } from '../errors.ts'
import { newId } from '../ids.ts'
import { limits } from '../limits.ts'
import { type AskElsewhere, readElsewhere } from '../runs/elsewhere.ts'
import type { Held, Home } from '../runs/home.ts'
import type { Reply } from '../runs/pump.ts'
import { isSame, type Owner, Run } from '../runs/run.ts'
import type { Frame, Socket } from '../types.ts'
import { deliver, failed } from './deliver.ts'
import { digestOf } from './digest.ts'
import { type FrameError, frames } from './frames.ts'
import type { Asked, Defaults, Host, Session, SessionInit } from './host.ts'
import { Line } from './line.ts'
import {
  type Cancel,
  type ClientMessage,
  type ClientRequest,
  type Named,
  type Read,
  type Resume,
  type RunWishes,
  readMessage,
  readWishes,
} from './messages.ts'
import { Queue } from './queue.ts'

/** How a run is to be read over a connection. */
interface Reading {
  readonly line: Line
  readonly eventId: string
  readonly raw: boolean
  readonly from: number
  readonly attached: boolean
}

/** A create that was sent again. */
type Again = Omit<Reading, 'attached'> & { readonly digest: Promise<string> | undefined }

/** Where a message came from. */
interface From {
  readonly line: Line
  readonly eventId: string
  /** Characters of the message. */
  readonly size: number
}

/**
 * Many requests over one socket (PROTOCOL.md). On the base wire it ends with its socket; with `trunkline.v1` it is
 * held by its home for a while, so that the next socket can take it up.
 */
export class LiveSession implements Held {
  readonly init: SessionInit
  readonly #home: Home
  readonly #host: Host
  readonly #runs = new Map<string, Run>()
  readonly #queue: Queue
  #defaults: Defaults
  #line: Line | undefined
  #leftAt: number | undefined
  #heardAt: number

  constructor(init: SessionInit, home: Home, host: Host) {
    this.init = init
    this.#home = home
    this.#host = host
    this.#queue = new Queue(home.limits)
    this.#defaults = init.defaults
    this.#heardAt = home.now
    this.#leftAt = home.now
    for (const run of home.runsOf(init.id)) this.#runs.set(run.init.eventId, run)
  }

  get owner(): Owner {
    return this.init.owner
  }

  /** Serve a socket; one that was served before is closed with 4409. */
  attach(socket: Socket, how: 'new' | 'resumed' | 'awake'): Session {
    this.#line?.close(4409, 'taken over')
    const line = new Line(socket)
    this.#line = line
    this.#leftAt = undefined
    this.#heardAt = this.#home.now
    if (this.init.wire !== 'base' && how !== 'awake') {
      const resumed = how === 'resumed'
      const runs = resumed ? { runs: this.#held() } : {}
      line.send(frames.ready({ id: this.init.id, resumed, ...runs }, this.#home.limits, limits.messageBytes))
      if (this.#home.isDraining) this.goAway(0)
    }
    return {
      receive: (frame) => {
        if (line.isOpen) this.#receive(frame, line)
      },
      closed: () => this.#leave(line),
    }
  }

  dueAt(): number | undefined {
    const { detachSeconds, heartbeatSeconds } = this.#home.limits
    if (this.#leftAt !== undefined) return this.#leftAt + detachSeconds * 1_000
    const silentAt = this.#heardAt + heartbeatSeconds * limits.missedHeartbeats * 1_000
    if (this.init.wire !== 'base' && silentAt <= this.#home.now) this.#line?.close(4408, 'silent')
    return undefined
  }

  expire(): void {
    for (const run of this.#runs.values()) if (run.init.onDisconnect === 'stop') this.#stop(run)
  }

  forget(run: Run): void {
    this.#runs.delete(run.init.eventId)
  }

  /** The gateway drains. */
  goAway(deadlineMs: number): void {
    if (this.init.wire !== 'base') this.#line?.send(frames.goaway(deadlineMs))
  }

  /** The gateway has drained. */
  close(): void {
    this.#line?.close(1001, 'the gateway stops')
  }

  #held() {
    return [...this.#runs].map(([eventId, run]) => ({
      eventId,
      runId: run.id,
      seq: run.end - 1,
      ...(run.terminal && { outcome: run.terminal.outcome }),
    }))
  }

  #leave(line: Line): void {
    line.leave()
    if (this.#line !== line) return
    this.#line = undefined
    if (this.init.wire === 'base') this.#home.sessions.delete(this.init.id)
    this.#leftAt = this.#home.now
    this.#home.sweepSoon()
    for (const run of this.#runs.values()) if (run.init.onDisconnect === 'stop') this.#stop(run)
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
      this.#handle(read.message, { line, eventId, size: frame.length })
    } catch (error) {
      const fault = toGatewayError(error)
      if (this.init.wire === 'base') line.refuse(failed(eventId, fault))
      else this.#refuse(line, toFrameError(fault), read.named)
    }
  }

  #refuse(line: Line, error: FrameError, named: Named): void {
    line.refuse(this.init.wire === 'base' ? frames.error(error, named) : frames.failure(error, named))
  }

  #handle(message: ClientMessage, from: From): void {
    const { line } = from
    if ('runId' in message && message.runId !== undefined) {
      const ask = this.#home.askFor(message.runId)
      if (ask) return void this.#askElsewhere(ask, { ...message, runId: message.runId }, line)
    }
    switch (message.type) {
      case 'universal.create':
        this.#create(message.request, from)
        break
      case 'universal.cancel': {
        const run = this.#findRun(message, false)
        if (run) this.#stop(run)
        break
      }
      case 'universal.resume': {
        const run = this.#findRun(message, true)
        const eventId = message.eventId ?? run?.init.eventId ?? from.eventId
        if (run)
          this.#tell(run, {
            line,
            eventId,
            raw: message.raw ?? run.init.raw,
            from: message.from,
            attached: true,
          })
        break
      }
      case 'universal.ack':
        line.reading(message.eventId)?.ack(message.seq)
        break
      case 'session.update':
        this.#update(message.headers)
        line.send(frames.updated())
        break
      case 'session.ping':
        line.send(frames.pong(message.id))
        break
      default:
        message satisfies never
    }
  }

  /** For a run of another home. Never rejects. */
  async #askElsewhere(
    ask: AskElsewhere,
    message: (Cancel | Resume) & { runId: string },
    line: Line,
  ): Promise<void> {
    const { runId, eventId } = message
    const { owner } = this.init
    try {
      if (message.type === 'universal.cancel') {
        const answer = await ask({ verb: 'stop', runId, owner, from: 0 })
        if (!answer.ok) throw new GatewayError('forbidden')
        return
      }
      const { from, raw = false } = message
      const { windowBytes } = this.#home.limits
      const run = await readElsewhere(ask, { verb: 'resume', runId, owner, from }, windowBytes)
      this.#tell(run, { line, eventId: eventId ?? run.init.eventId, raw, from, attached: true })
    } catch (error) {
      const named =
        message.type === 'universal.resume' && eventId !== undefined ? { eventId, runId } : { runId }
      this.#refuse(line, toFrameError(toGatewayError(error)), named)
    }
  }

  /** @throws GatewayError forbidden, expired; expired also for an event id that is not held, where one must be */
  #findRun(
    named: { runId?: string | undefined; eventId?: string | undefined },
    must: boolean,
  ): Run | undefined {
    if (named.runId !== undefined) {
      try {
        return this.#home.find(named.runId, this.owner)
      } catch (error) {
        if (must || toGatewayError(error).code !== 'expired') throw error
        return undefined
      }
    }
    if (named.eventId === undefined) throw new GatewayError('bad_request', 'eventId or runId: required')
    const run = this.#runs.get(named.eventId)
    if (!run && must) throw new GatewayError('expired')
    return run
  }

  #update(headers: Readonly<Record<string, string | null>>): void {
    const merged = new Map(Object.entries(this.#defaults))
    for (const [name, value] of Object.entries(headers)) {
      if (value === null) merged.delete(name.toLowerCase())
      else merged.set(name.toLowerCase(), value)
    }
    const defaults = Object.fromEntries(merged)
    this.#host.checkDefaults(defaults)
    this.#defaults = defaults
  }

  #create(
    request: ClientRequest,
    { line, eventId, size }: { line: Line; eventId: string; size: number },
  ): void {
    const { wire } = this.init
    const wishes: RunWishes | string =
      wire === 'base' ? { onDisconnect: 'stop', raw: false, from: 0 } : readWishes(request)
    if (typeof wishes === 'string') throw new GatewayError('bad_request', wishes)
    const digest = wire === 'base' ? undefined : digestOf(request)
    const known = this.#runs.get(eventId)
    if (known) {
      this.#join(known, { line, eventId, digest, ...wishes })
      return
    }
    if (this.#home.isDraining) throw new GatewayError('draining')
    this.#queue.assertRoom(size)

    const run = this.#newRun(eventId, wishes, digest)
    this.#runs.set(eventId, run)
    this.#tell(run, { line, eventId, raw: wishes.raw, from: wishes.from, attached: false })
    const asked = { request, eventId, defaults: this.#defaults, wire }
    const start = (signal: AbortSignal) => this.#call(asked, signal)
    this.#queue.add(run, size, () => this.#home.start(run, start))
  }

  /** On the base wire a run ends with its socket, so that nothing is kept for later readers. */
  #newRun(eventId: string, { onDisconnect, raw }: RunWishes, digest: Promise<string> | undefined): Run {
    const { wire, owner, id: session } = this.init
    const { windowBytes } = this.#home.limits
    const init = { eventId, owner, onDisconnect, raw, ...(digest && { digest }) }
    if (wire === 'base') return new Run({ ...init, id: newId(), keepBytes: 0, windowBytes })
    return this.#home.createRun({ ...init, session })
  }

  /** A create for a run that is there: exactly once (PROTOCOL.md, "universal.create"). */
  #join(run: Run, again: Again): void {
    const { line, eventId, digest, raw, from } = again
    if (!digest || !run.init.digest) throw new GatewayError('conflict')
    const conflict = new GatewayError('conflict', 'This eventId is held, with another request in it')
    void Promise.all([digest, run.init.digest]).then(([one, other]) => {
      if (one === other) this.#tell(run, { line, eventId, raw, from, attached: true })
      else line.send(frames.failure(conflict, { eventId }))
    })
  }

  #tell(run: Run, how: { line: Line; eventId: string; raw: boolean; from: number; attached: boolean }): void {
    const { line, eventId, raw, from, attached } = how
    const reader = run.read(from)
    line.begin(eventId, reader)
    const telling = { wire: this.init.wire, eventId, raw, attached }
    void deliver(line.socket, reader, telling).then(() => {
      line.end(eventId, reader)
      if (this.init.wire === 'base') this.#runs.delete(eventId)
    })
  }

  async #call(asked: Asked, signal: AbortSignal): Promise<Reply> {
    if (this.init.wire !== 'base' && !(await this.#host.isWelcome())) {
      this.#line?.close(4401, 'token revoked or expired')
      throw new GatewayError('unauthorized')
    }
    return this.#host.start(asked, signal)
  }

  #stop(run: Run): void {
    run.stop(new GatewayError('client_closed'))
    if (this.#queue.remove(run)) run.finish({ outcome: 'cancelled', upstreamStopped: true })
  }
}

const toFrameError = ({ code, message }: GatewayError): FrameError => ({
  code: code === 'bad_request' ? 'bad_message' : code,
  message,
})

/** Take a session up again, or begin one (PROTOCOL.md, "Connecting again"). */
export function openSession(socket: Socket, init: SessionInit, home: Home, host: Host): Session {
  const held = home.sessions.get(init.id)
  if (held instanceof LiveSession && isSame(held.owner, init.owner))
    return held.attach(socket, init.isAwake ? 'awake' : 'resumed')
  if (home.sessions.size >= home.limits.sessions) {
    socket.close(4429, 'too many sessions')
    return { receive: () => undefined, closed: () => undefined }
  }
  return holdSession(init, home, host).attach(socket, init.isAwake ? 'awake' : 'new')
}

/** Hold a session without a socket. */
export function holdSession(init: SessionInit, home: Home, host: Host): LiveSession {
  const session = new LiveSession(init, home, host)
  home.sessions.set(init.id, session)
  home.sweepSoon()
  return session
}
