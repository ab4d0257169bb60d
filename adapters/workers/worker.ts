import { DurableObject, type DurableState } from 'cloudflare:workers'
import crossws from 'crossws/adapters/cloudflare'
import { GatewayError } from '../../src/errors.ts'
import {
  ConfigError,
  createGateway,
  type Env,
  type Gateway,
  isOpen,
  parseConfig,
  type SessionStart,
} from '../../src/index.ts'
import { hooksFor } from '../crossws.ts'
import { refuseAll } from '../refuse.ts'
import { isUpgrade, report } from '../server.ts'

/** The Worker's bindings; text ones are the environment of the configuration. */
export interface Bindings {
  /** The configuration as JSON. */
  readonly TRUNKLINE_CONFIG?: string
  readonly TRUNKLINE_TOKEN?: string
  /** Set where only this machine can reach the Worker, so that it may go without a token. */
  readonly TRUNKLINE_LOOPBACK?: string
  readonly SESSIONS: {
    newUniqueId(): object
    get(id: object): { fetch(request: Request): Promise<Response> }
  }
}

type Made = { readonly gateway: Gateway } | { readonly refuse: (request: Request) => Promise<Response> }

let made: Made | undefined

/** One gateway per isolate, made at its first request, since bindings come with it. */
function gatewayOf(bindings: Bindings): Made {
  made ??= make(bindings)
  return made
}

function make(bindings: Bindings): Made {
  const env = Object.fromEntries(
    Object.entries(bindings).filter(([, value]) => typeof value === 'string'),
  ) as Env
  try {
    const config = parseConfig(
      bindings.TRUNKLINE_CONFIG ? JSON.parse(bindings.TRUNKLINE_CONFIG) : undefined,
      env,
    )
    if (isOpen(config) && !bindings.TRUNKLINE_LOOPBACK)
      return { refuse: refuseAll(new GatewayError('not_configured')) }
    return {
      gateway: createGateway(config, { fetch: (request, signal) => fetch(request, { signal }), report }, env),
    }
  } catch (error) {
    const reason = error instanceof ConfigError ? error.message : 'TRUNKLINE_CONFIG is not JSON'
    report('configuration', new ConfigError(reason))
    return {
      refuse: refuseAll(
        new GatewayError('not_configured', 'The configuration cannot be used; the log says why'),
      ),
    }
  }
}

const startKey = 'start'

/** One socket's session. Its start outlives a hibernation; requests under way keep the object awake. */
export class Session extends DurableObject<Bindings> {
  readonly #sockets: ReturnType<typeof crossws> | undefined

  constructor(ctx: DurableState, env: Bindings) {
    super(ctx, env)
    const one = gatewayOf(env)
    if (!('gateway' in one)) return
    const hooks = hooksFor(one.gateway, report, { get: () => ctx.storage.get<SessionStart>(startKey) })
    this.#sockets = crossws({
      hooks: {
        ...hooks,
        async upgrade(request) {
          const granted = await hooks.upgrade?.(request)
          // crossws drops the context here, and a hibernation would lose it anyway.
          if (granted && !(granted instanceof Response))
            await ctx.storage.put(startKey, granted.context?.start)
          return granted
        },
      },
    })
  }

  fetch(request: Request): Promise<Response> {
    if (!this.#sockets) return refuseAll(new GatewayError('not_configured'))(request)
    return this.#sockets.handleDurableUpgrade(this as never, request as never) as unknown as Promise<Response>
  }

  async webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): Promise<void> {
    await this.#sockets?.handleDurableMessage(this as never, socket as never, message)
  }

  async webSocketClose(socket: WebSocket, code: number, reason: string, wasClean: boolean): Promise<void> {
    await this.#sockets?.handleDurableClose(this as never, socket as never, code, reason, wasClean)
    await this.ctx.storage.deleteAll()
    try {
      socket.close(code === 1005 || code === 1006 ? 1000 : code, reason) // crossws leaves the close frame unanswered
    } catch (error) {
      if (wasClean) report('close', error)
    }
  }

  async webSocketError(socket: WebSocket): Promise<void> {
    await this.#sockets?.handleDurableClose(this as never, socket as never, 1006, '', false)
    await this.ctx.storage.deleteAll()
  }
}

const worker: { fetch(request: Request, bindings: Bindings): Promise<Response> } = {
  async fetch(request, bindings) {
    const one = gatewayOf(bindings)
    if (!('gateway' in one)) return one.refuse(request)
    if (!isUpgrade(request)) return one.gateway.fetch(request)
    // Asked here first, so that a refusal wakes no object; the object asks again for itself.
    const granted = await one.gateway.upgrade(request)
    if (granted instanceof Response) return granted
    return bindings.SESSIONS.get(bindings.SESSIONS.newUniqueId()).fetch(request)
  },
}

export default worker
