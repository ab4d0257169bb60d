import { Hono } from 'hono'
import { type Config, type Env, isAuthenticated } from './config.ts'
import { GatewayError, toGatewayError } from './errors.ts'
import { newId } from './ids.ts'
import { createPipeline } from './pipeline/index.ts'
import { createSend } from './pipeline/send.ts'
import { createProviders } from './providers/providers.ts'
import { createAnswer } from './routes/answer.ts'
import type { Room } from './routes/context.ts'
import { readNative } from './routes/native.ts'
import { toFailure } from './routes/respond.ts'
import { grantUpgrade, openSession, type SessionStart, type Upgrade } from './routes/session.ts'
import { createTokens } from './routes/tokens.ts'
import { readUniversal } from './routes/universal.ts'
import type { Session } from './session/server.ts'
import type { Runtime, Socket } from './types.ts'

/** The product. Neither `fetch` nor `upgrade` rejects. */
export interface Gateway {
  /** Any HTTP request without an upgrade. */
  fetch(request: Request): Promise<Response>
  /** Decide on a WebSocket upgrade: a refusal to send as it is, or a grant. */
  upgrade(request: Request): Promise<Response | Upgrade>
  /** Serve a socket whose upgrade was granted. */
  open(socket: Socket, start: SessionStart): Session
}

/**
 * Make a gateway. `env` holds the environment's variables, where rows of the provider table find their keys.
 * Nothing is asked of the network or the disk.
 */
export function createGateway(config: Config, runtime: Runtime, env: Env = {}): Gateway {
  const rooms = createRooms(config, runtime, env)

  const find = (account: string, gateway: string): Room => {
    const room = account === config.account_id ? rooms.get(gateway) : undefined
    if (!room) throw new GatewayError('unknown_gateway')
    return room
  }

  const answer = createAnswer(runtime.report)
  const refuse = (where: string, error: unknown, requestId: string): Response => {
    if (!(error instanceof GatewayError)) runtime.report(where, error)
    return toFailure(toGatewayError(error), requestId)
  }

  const universal = (request: Request, account: string, gateway: string): Promise<Response> => {
    const room = find(account, gateway)
    return answer(request, room, (requestId) => {
      if (request.method === 'POST') return readUniversal(request, requestId, room)
      throw new GatewayError(request.method === 'GET' ? 'upgrade_required' : 'method_not_allowed')
    })
  }

  const app = new Hono()
  app.get('/health', (c) => c.json({ status: 'ok' }))
  app.all('/v1/:account/:gateway/', (c) =>
    universal(c.req.raw, c.req.param('account'), c.req.param('gateway')),
  )
  app.all('/v1/:account/:gateway', (c) =>
    universal(c.req.raw, c.req.param('account'), c.req.param('gateway')),
  )
  app.all('/v1/:account/:gateway/:provider/*', (c) => {
    const room = find(c.req.param('account'), c.req.param('gateway'))
    return answer(c.req.raw, room, (requestId) => readNative(c.req.raw, targetOf(c.req.url), requestId, room))
  })
  app.notFound(() => toFailure(new GatewayError('not_found'), newId()))
  app.onError((error) => refuse('fetch', error, newId()))

  return {
    fetch: async (request) => app.fetch(request),
    async upgrade(request) {
      const requestId = newId()
      try {
        const [, version, account, gateway, rest] = new URL(request.url).pathname.split('/')
        if (version !== 'v1' || !account || !gateway || rest) throw new GatewayError('not_found')
        return await grantUpgrade(request, requestId, find(account, gateway))
      } catch (error) {
        return refuse('upgrade', error, requestId)
      }
    },
    open: (socket, start) => openSession(socket, start, find(config.account_id, start.gateway)),
  }
}

function createRooms(config: Config, runtime: Runtime, env: Env): ReadonlyMap<string, Room> {
  const providers = createProviders(config.providers, env)
  const run = createPipeline(createSend(providers, runtime))
  const tokens = createTokens(config.tokens)
  const rooms = config.gateways.map((settings): Room => {
    const required = isAuthenticated(config, settings)
    const gate = { id: settings.id, required, tokens, slots: providers.credentialHeaders }
    const { retry_max_attempts: maxAttempts, retry_delay: retryDelay, retry_backoff: backoff } = settings
    const defaults = {
      ...(maxAttempts && { maxAttempts }),
      ...(retryDelay != null && { retryDelay }),
      ...(backoff && { backoff }),
    }
    return { settings, gate, providers, run, defaults }
  })
  return new Map(rooms.map((room) => [room.settings.id, room]))
}

/** Provider, path and query of a pass-through URL, as the client wrote them: nothing decoded, nothing tidied. */
function targetOf(url: string): { slug: string; path: string; search: string } {
  const { pathname, search } = new URL(url)
  const [, , , , slug = '', ...rest] = pathname.split('/')
  return { slug, path: rest.join('/'), search }
}
