import { DurableObject, type DurableState } from 'cloudflare:workers'
import type { Hooks, Peer } from 'crossws'
import crossws from 'crossws/adapters/cloudflare'
import { GatewayError, toErrorResponse } from '../../src/errors.ts'
import type { AskElsewhere, Gateway, Home, RunQuery, SessionStart } from '../../src/index.ts'
import { hooksFor } from '../crossws.ts'
import { refuseAll } from '../refuse.ts'
import { isUpgrade, report } from '../server.ts'
import { SqlJournal } from './journal.ts'
import { type Bindings, gatewayOf } from './made.ts'

/** Where an object that cannot serve a session would have it go. */
export const homeHeader = 'x-trunkline-home'

/** From a first wish to be woken later to the call that would be too many. */
const wakeSlackMs = 5_000

/** One session, or the runs of one HTTP request that goes on without its client; its name is their home's id. */
export class Session extends DurableObject<Bindings> {
  readonly #journal: SqlJournal
  readonly #gateway: Gateway | undefined
  readonly #home: Home | undefined
  readonly #sockets: ReturnType<typeof crossws> | undefined
  #wakeAt = Number.POSITIVE_INFINITY

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
    if (start?.wire === 'trunkline.v1') gateway.restore(start, home)
    this.#sockets = crossws({ hooks: this.#hooks(gateway, home, id) })
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
    this.ctx.waitUntil(this.#home?.settled() ?? Promise.resolve())
    return response
  }

  /** Called by the object of another session. */
  async askRun(query: RunQuery): Promise<Response> {
    if (!this.#gateway || !this.#home) return toErrorResponse(new GatewayError('not_configured'))
    return this.#gateway.askRun(query, this.#home)
  }

  async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    await this.#sockets?.handleDurableMessage(this as never, socket as never, message)
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
    await this.#sockets?.handleDurableClose(this as never, socket as never, code, reason, wasClean)
    if (this.#journal.start()?.wire === 'base') await this.#empty()
  }

  /** Asked by the home, often: one alarm stands for all that lie close together. */
  #wake(at: number): void {
    if (Math.abs(at - this.#wakeAt) < wakeSlackMs) return
    this.#wakeAt = at
    if (Number.isFinite(at)) void this.ctx.storage.setAlarm(at)
    else void this.ctx.storage.deleteAlarm()
  }

  async alarm(): Promise<void> {
    this.#wakeAt = Number.POSITIVE_INFINITY
    this.#home?.sweep()
    if (this.#home?.isEmpty) await this.#empty()
    else this.#home?.sweepSoon()
  }

  /** Nothing is held: the platform forgets an object without storage. */
  async #empty(): Promise<void> {
    await this.ctx.storage.deleteAlarm()
    await this.ctx.storage.deleteAll()
    this.#journal.forget()
  }
}
