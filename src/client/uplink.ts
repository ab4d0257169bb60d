import type { Limits } from './limits.ts'
import type { ClientFrame, Failed, Ready, RunFrame, ServerFrame } from './messages.ts'
import { closeCodes, protocol, type SocketConstructor, Wire } from './socket.ts'

/** How to connect. */
export interface Route {
  readonly url: string
  readonly protocols: readonly string[]
  readonly Socket: SocketConstructor
  readonly limits: Limits
  /** After `handshakes` failures tries are spaced by `httpRetryMs`. */
  readonly isPatient: boolean
}

/** What an uplink tells. */
export interface Receiver {
  /** A connection is there. */
  ready(ready: Ready): void
  goaway(): void
  /** `size` is that of the message, in characters. */
  frame(frame: RunFrame | Failed, size: number): void
  /** The connection is gone, or a try has failed; the next is made unless `finish` is called. */
  lost(code: number | undefined): void
}

/** One session's connection, made again whenever it is lost. */
export class Uplink {
  /** Failed handshakes in a row. */
  failures = 0
  /** Short connections in a row of which nothing came; the wait before the next grows with them. */
  idle: number
  /** The `session.ready` of this connection, while there is one. */
  current: Ready | undefined
  readonly #route: Route
  readonly #receiver: Receiver
  #id: string | undefined
  #attempts = 0
  #wire: Wire | undefined
  /** What is to be cancelled before the end, once that is wanted. */
  #cancels: readonly string[] | undefined
  /** It was closed, and the peer has not answered that yet. */
  #isParting = false
  /** Connections that may still be made for that. */
  #triesLeft = 1
  /** The one thing waited for: the next try, the end of the handshake, or the next heartbeat. */
  #timer: ReturnType<typeof setTimeout> | undefined
  #readyAt = 0
  #heardAt = 0
  #sentAt = 0
  #pingedAt = 0

  /** Begins to connect, at once if `idle` is 0. @throws what the socket's constructor does */
  constructor(route: Route, receiver: Receiver, idle: number) {
    this.#route = route
    this.#receiver = receiver
    this.idle = idle
    if (idle === 0) this.#connect()
    else this.#connectLater()
  }

  /** Without a connection nothing is sent. */
  send(frame: ClientFrame | string): void {
    if (!this.current) return
    this.#sentAt = Date.now()
    this.#wire?.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
  }

  /**
   * Cancel these runs, and end for good. Where there is no connection for that, or one that does not answer, another
   * is made, once; otherwise the gateway would let them run until nobody has read them for too long.
   */
  finish(cancels: readonly string[]): void {
    this.#cancels = cancels
    if (this.current) this.#part()
    else if (cancels.length === 0) this.#leave()
    else if (!this.#wire) this.#connectLast()
  }

  #part(): void {
    clearTimeout(this.#timer)
    for (const eventId of this.#cancels ?? []) this.send({ type: 'universal.cancel', eventId })
    this.current = undefined
    this.#isParting = true
    this.#wire?.close()
    this.#timer = setTimeout(() => this.#lose(undefined), this.#route.limits.handshakeMs)
  }

  #connectLast(): void {
    clearTimeout(this.#timer)
    if (this.#cancels?.length && this.#triesLeft-- > 0) this.#tryConnect()
  }

  #leave(): void {
    clearTimeout(this.#timer)
    this.#wire?.leave()
    this.#wire = undefined
    this.#isParting = false
    this.current = undefined
  }

  #connect(): void {
    const { url, protocols, Socket, limits } = this.#route
    const target = new URL(url)
    this.#attempts += 1
    if (this.#id !== undefined) {
      target.searchParams.set('session', this.#id)
      target.searchParams.set('attempt', String(this.#attempts))
    }
    const wire = new Wire(new Socket(target.href, [...protocols]), {
      open: () => {
        if (wire.protocol !== protocol) this.#lose(undefined)
      },
      text: (text) => this.#receive(text),
      gone: (code) => this.#lose(code),
    })
    this.#wire = wire
    this.#timer = setTimeout(() => this.#lose(undefined), limits.handshakeMs)
  }

  #connectLater(): void {
    const { limits, isPatient } = this.#route
    const isStuck = isPatient && this.failures >= limits.handshakes
    const waitMs = Math.min(limits.backoffMs * 2 ** this.idle, limits.backoffMaxMs)
    this.idle += 1
    this.#timer = setTimeout(
      () => this.#tryConnect(),
      (isStuck ? limits.httpRetryMs : waitMs) * (0.5 + Math.random() / 2),
    )
  }

  #tryConnect(): void {
    try {
      this.#connect()
    } catch {
      this.#lose(undefined)
    }
  }

  #lose(code: number | undefined): void {
    if (this.#cancels) {
      // Only whoever closes in turn has heard the cancels.
      const isHeard = this.#isParting && code !== undefined && code !== closeCodes.abnormal
      this.#leave()
      if (!isHeard) this.#connectLast()
      return
    }
    if (!this.current) this.failures += 1
    else if (Date.now() - this.#readyAt >= this.#route.limits.backoffMaxMs) this.idle = 0
    this.#leave()
    this.#connectLater()
    this.#receiver.lost(code)
  }

  #receive(text: string): void {
    this.#heardAt = Date.now()
    const frame = parse(text)
    if (frame?.type === 'session.ready') this.#begin(frame)
    else if (this.#cancels) return
    else if (!frame || !this.current) this.#lose(undefined)
    else if (frame.type === 'session.goaway') this.#receiver.goaway()
    else {
      this.idle = 0
      if ('error' in frame || 'metadata' in frame) this.#receiver.frame(frame, text.length)
    }
  }

  #begin(ready: Ready): void {
    clearTimeout(this.#timer)
    this.failures = 0
    this.#id = ready.session.id
    this.#readyAt = Date.now()
    this.#sentAt = this.#readyAt
    this.current = ready
    if (this.#cancels) {
      this.#part()
      return
    }
    this.#beat()
    this.#receiver.ready(ready)
  }

  /** PROTOCOL.md, "session.ping". A peer that then is silent for as long again has gone without a word. */
  #beat(): void {
    const beatMs = this.#route.limits.heartbeatMs || (this.current?.heartbeatSeconds ?? 0) * 1_000
    if (beatMs === 0) return
    const now = Date.now()
    const isAsked = this.#pingedAt > this.#heardAt
    if (isAsked && now - this.#pingedAt >= beatMs) {
      this.#lose(undefined)
      return
    }
    if (!isAsked && now - Math.min(this.#heardAt, this.#sentAt) >= beatMs) {
      this.#pingedAt = now
      this.send({ type: 'session.ping' })
    }
    this.#timer = setTimeout(() => this.#beat(), beatMs / 4)
  }
}

/** A message, or nothing for what is none. */
function parse(text: string): ServerFrame | undefined {
  try {
    const value = JSON.parse(text) as ServerFrame | null
    return typeof value?.type === 'string' ? value : undefined
  } catch {
    return undefined
  }
}
