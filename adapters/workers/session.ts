import { DurableObject, type DurableState } from 'cloudflare:workers'
import type { Hooks, Peer } from 'crossws'
import crossws from 'crossws/adapters/cloudflare'
import { GatewayError, toErrorResponse } from '../../src/errors.ts'
import type { AskElsewhere, Gateway, Home, RunQuery, SessionStart, SessionState } from '../../src/index.ts'
import { hooksFor } from '../crossws.ts'
import { refuseAll } from '../refuse.ts'
import { isUpgrade, report } from '../server.ts'
import { SqlJournal } from './journal.ts'
import { type Bindings, gatewayOf } from './made.ts'

/** Where an object that cannot serve a session would have it go. */
export const homeHeader = 'x-trunkline-home'

/** `peer.websocket` is a stand-in. */
const rawOf = (peer: Peer): WebSocket => (peer as unknown as { _internal: { ws: WebSocket } })._internal.ws

/** One session, or the runs of one HTTP request that goes on without its client; its name is their home's id. */
export class Session extends DurableObject<Bindings> {
  readonly #journal: SqlJournal
  readonly #gateway: Gateway | undefined
  readonly #home: Home | undefined
  readonly #sockets: ReturnType<typeof crossws> | undefined
  #wakeAt = Number.POSITIVE_INFINITY
  #isStaying = false

  constructor(ctx: DurableState, env: Bindings) {
    super(ctx, env)
    const one = gatewayOf(env)
    this.#journal = new SqlJournal(ctx.storage.sql, one.keepBytes)
    if (!('gateway' in one)) return
    const { gateway } = one
    const id = ctx.id.name ?? ''
    const elsewhere: AskElsewhere = (query) =>
      env.SESSIONS.get(env.SESSIONS.idFromName(query.runId.slice(0, id.length))).askRun(query)
    const wakeAt = (at: number) => this.#wake(at)
    const home = gateway.createHome({ id, journal: this.#journal, elsewhere, wakeAt })
    this.#gateway = gateway
    this.#home = home
    for (const record of this.#journal.runs()) home.restore(record)
    const start = this.#journal.start()
    if (start?.wire === 'trunkline.v1') gateway.restore(start, home, this.#stateOf(start))
    this.#sockets = crossws({ hooks: this.#hooks(gateway, home, id) })
  }

  /** What was kept of a session. One that lost its connection with its process has been left since now. */
  #stateOf({ id, defaults }: SessionStart): SessionState {
    const kept = this.#journal.state() ?? { defaults, waiting: [] }
    if (kept.leftAt !== undefined || this.#isServed()) return kept
    const left = { ...kept, leftAt: Date.now() }
    this.#journal.session(id, left)
    return left
  }

  /** Whether there is an open socket, other than one. */
  #isServed(but?: WebSocket): boolean {
    return this.ctx.getWebSockets().some((socket) => socket !== but && socket.readyState === WebSocket.OPEN)
  }

  /** The sockets that a session had before: its memory may not know of them. */
  #closeOthers(current: WebSocket): void {
    if (current.readyState !== WebSocket.OPEN) return
    for (const socket of this.ctx.getWebSockets())
      if (socket !== current && socket.readyState === WebSocket.OPEN) socket.close(4409, 'taken over')
  }

  #hooks(gateway: Gateway, home: Home, id: string): Partial<Hooks> {
    const granted = new WeakMap<object, SessionStart>()
    const startOf = (peer: Peer): SessionStart | undefined => {
      const start = granted.get(peer.request) ?? this.#journal.start()
      return start && (granted.has(peer.request) ? start : { ...start, isAwake: true })
    }
    const hooks = hooksFor(gateway, report, { get: startOf }, home)
    return {
      ...hooks,
      open: async (peer) => {
        await hooks.open?.(peer)
        this.#closeOthers(rawOf(peer))
      },
      upgrade: async (request) => {
        const answer = await hooks.upgrade?.(request)
        if (!answer || answer instanceof Response) return answer
        const start = answer.context?.start as SessionStart
        // Another's session lives here: the Worker asks again, elsewhere.
        if (start.id !== id) return new Response(null, { status: 421, headers: { [homeHeader]: start.id } })
        // crossws drops the context here, and a hibernation would lose it anyway.
        granted.set(request, start)
        this.#journal.keep(start)
        return answer
      },
    }
  }

  async fetch(request: Request): Promise<Response> {
    if (!this.#gateway || !this.#sockets) return refuseAll(new GatewayError('not_configured'))(request)
    if (isUpgrade(request))
      return this.#sockets.handleDurableUpgrade(this as never, request as never) as unknown as Response
    const response = await this.#gateway.fetch(request, this.#home)
    this.#stayAwake()
    return response
  }

  /** Called by the object of another session. */
  async askRun(query: RunQuery): Promise<Response> {
    if (!this.#gateway || !this.#home) return toErrorResponse(new GatewayError('not_configured'))
    return this.#gateway.askRun(query, this.#home)
  }

  async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    if (socket.readyState !== WebSocket.OPEN) return // taken over, and it does not know yet
    await this.#sockets?.handleDurableMessage(this as never, socket as never, message)
    this.#stayAwake()
  }

  /** While a run is under way: one that waits for its reader would look idle. */
  #stayAwake(): void {
    if (this.#isStaying || !this.#home?.active) return
    this.#isStaying = true
    const stay = this.#home.settled().finally(() => {
      this.#isStaying = false
    })
    this.ctx.waitUntil(stay)
  }

  async webSocketClose(socket: WebSocket, code: number, reason: string, wasClean: boolean): Promise<void> {
    await this.#left(socket, code, reason, wasClean)
    try {
      socket.close(code === 1005 || code === 1006 ? 1000 : code, reason) // crossws leaves the close frame unanswered
    } catch (error) {
      if (wasClean) report('close', error)
    }
  }

  async webSocketError(socket: WebSocket): Promise<void> {
    await this.#left(socket, 1006, '', false)
  }

  async #left(socket: WebSocket, code: number, reason: string, wasClean: boolean): Promise<void> {
    if (this.#isServed(socket)) return // it was taken over
    await this.#sockets?.handleDurableClose(this as never, socket as never, code, reason, wasClean)
    if (this.#journal.start()?.wire === 'base') await this.#empty()
  }

  /** Asked by the home, often. An alarm that comes earlier asks again. */
  #wake(at: number): void {
    if (at >= this.#wakeAt) return
    this.#wakeAt = at
    void this.ctx.storage.setAlarm(at)
  }

  async alarm(): Promise<void> {
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#home?.sweep()
    if (this.#home?.isEmpty) await this.#empty()
    else this.#home?.sweepSoon()
  }

  /** Nothing is held: the platform forgets an object without storage. */
  async #empty(): Promise<void> {
    this.#wakeAt = Number.POSITIVE_INFINITY
    await this.ctx.storage.deleteAlarm()
    await this.ctx.storage.deleteAll()
    this.#journal.forget()
  }
}
