import { type Context, Hono } from 'hono'
import { type Config, type Env, isAuthenticated } from './config.ts'
import { GatewayError, toGatewayError } from './errors.ts'
import { newId } from './ids.ts'
import { createDial } from './pipeline/dial.ts'
import { createPipeline } from './pipeline/index.ts'
import { createSend } from './pipeline/send.ts'
import { createProviders } from './providers/providers.ts'
import { answerCall, createAnswer, type Respond } from './routes/answer.ts'
import type { Asking, Room } from './routes/context.ts'
import { readNative } from './routes/native.ts'
import { grantRelay } from './routes/realtime.ts'
import { toFailure } from './routes/respond.ts'
import { answerQuery, describeRun, homeOf, resumeRun, stopRun } from './routes/runs.ts'
import { grantUpgrade, keepSession, serveSocket } from './routes/session.ts'
import { createTokens } from './routes/tokens.ts'
import { readUniversal } from './routes/universal.ts'
import type { RelayStart, SessionStart, Upgrade } from './routes/upgrade.ts'
import type { RunQuery } from './runs/elsewhere.ts'
import { Home, type HomeOptions } from './runs/home.ts'
import type { Session } from './session/host.ts'
import { LiveSession } from './session/server.ts'
import { type Cache, createMemoryCache } from './store/cache.ts'
import { type Counters, createMemoryCounters } from './store/counters.ts'
import type { Logs } from './store/logs.ts'
import { createLogWriter, type LogWriter, type Retention } from './store/writer.ts'
import type { Runtime, Socket } from './types.ts'

/** The product. Neither `fetch` nor `upgrade` rejects. `home` is where sessions and runs live; default: here. */
export interface Gateway {
  /** Any HTTP request without an upgrade. */
  fetch(request: Request, home?: Home): Promise<Response>
  /** Decide on a WebSocket upgrade: a refusal to send as it is, or a grant. */
  upgrade(request: Request, home?: Home): Promise<Response | Upgrade>
  /** Serve a socket whose upgrade was granted. */
  open(socket: Socket, start: SessionStart | RelayStart, home?: Home): Session
  /** Hold a session whose memory is gone, so that it can be taken up again. */
  restore(start: SessionStart, home: Home): void
  /** A home of its own, for a runtime that keeps each session in a place of its own. */
  createHome(options?: Omit<HomeOptions, 'limits'>): Home
  /**
   * Where each session has a home of its own: the id of the one a request without an upgrade belongs to; undefined
   * for one that needs none.
   */
  homeOf(request: Request): string | undefined
  /** What the home of one session asks of another. */
  askRun(query: RunQuery, home: Home): Promise<Response>
  /** Take nothing new, let what is under way finish for `limits.drainSeconds`, and end what is left as incomplete. */
  drain(home?: Home): Promise<void>
}

/** What a gateway may be given. */
export interface Given {
  /** The environment's variables, where rows of the provider table find their keys. */
  readonly env?: Env
  /** Where requests are recorded; absent: nowhere. */
  readonly logs?: Logs
  /** What limits are held against; default: the process's memory. */
  readonly counters?: Counters
  /** Where answers are kept; default: the process's memory alone. */
  readonly cache?: Cache
  /** Whether one request may wait for another where there is no home of a session; default true. */
  readonly shares?: boolean
}

/** Make a gateway. Nothing is asked of the network or the disk. */
export function createGateway(config: Config, runtime: Runtime, given: Given = {}): Gateway {
  const { logs, counters = createMemoryCounters(), shares = true } = given
  const { report, defer } = runtime
  const writer = logs && createLogWriter({ logs, retentionOf: retentionOf(config), report, defer })
  const cache = createMemoryCache(given.cache)
  const rooms = createRooms(config, runtime, { env: given.env ?? {}, writer, counters, cache })
  const createHome = (options: Omit<HomeOptions, 'limits'> = {}) =>
    new Home({ ...options, limits: config.limits })
  const here = createHome({ shares })

  const find = (account: string, gateway: string): Room => {
    const room = account === config.account_id ? rooms.get(gateway) : undefined
    if (!room) throw new GatewayError('unknown_gateway')
    return room
  }

  const refuse = (where: string, error: unknown, requestId: string): Response => {
    if (!(error instanceof GatewayError)) runtime.report(where, error)
    return toFailure(toGatewayError(error), requestId)
  }
  const health = () => ({ status: 'ok', ...(writer && { logs: writer.health() }) })
  const app = createApp(find, runtime, refuse, health)

  return {
    fetch: async (request, home = here) => app.fetch(request, { home }),
    async upgrade(request, home = here) {
      const requestId = newId()
      try {
        const [, version, account, gateway] = new URL(request.url).pathname.split('/')
        if (version !== 'v1' || !account || !gateway) throw new GatewayError('not_found')
        const asking = { request, requestId, room: find(account, gateway), home }
        const target = targetOf(request.url)
        return target.slug ? await grantRelay(asking, target) : await grantUpgrade(asking)
      } catch (error) {
        return refuse('upgrade', error, requestId)
      }
    },
    open: (socket, start, home = here) =>
      'serve' in start
        ? start.serve(socket)
        : serveSocket(socket, start, find(config.account_id, start.gateway), home),
    restore: (start, home) => keepSession(start, find(config.account_id, start.gateway), home),
    createHome,
    homeOf,
    askRun: answerQuery,
    async drain(home = here) {
      const sessions = [...home.sessions.values()].filter((held) => held instanceof LiveSession)
      for (const session of sessions) session.goAway(home.drainMs)
      await home.drain(home.drainMs)
      for (const session of sessions) session.close()
      await Promise.all([writer?.flush(), counters.flush()])
    },
  }
}

const logRows = 1_000_000
const dayMs = 86_400_000

/** How long each gateway wants its logs kept. */
function retentionOf({ gateways }: Config): (id: string) => Retention {
  return (id) => {
    const { log_management, log_management_strategy, log_retention_days } =
      gateways.find((one) => one.id === id) ?? {}
    return {
      rows: log_management ?? logRows,
      strategy: log_management_strategy ?? 'DELETE_OLDEST',
      ...(log_retention_days && { ageMs: log_retention_days * dayMs }),
    }
  }
}

type Find = (account: string, gateway: string) => Room
type Refuse = (where: string, error: unknown, requestId: string) => Response

/** The routes. What is found in the path and before an answer begins is refused without CORS. */
function createApp(
  find: Find,
  runtime: Runtime,
  refuse: Refuse,
  health: () => object,
): Hono<{ Bindings: { home: Home } }> {
  const answer = createAnswer(runtime.report)
  const app = new Hono<{ Bindings: { home: Home } }>()
  const on = (context: Context<{ Bindings: { home: Home } }>, respond: Respond): Promise<Response> => {
    const { account = '', gateway = '' } = context.req.param()
    const room = find(account, gateway)
    return answer({ request: context.req.raw, room, home: context.env.home }, respond)
  }
  const universal = answerCall(async (asking) => {
    const { method } = asking.request
    if (method === 'POST') return readUniversal(asking.request, asking.requestId, asking.room)
    throw new GatewayError(method === 'GET' ? 'upgrade_required' : 'method_not_allowed')
  }, runtime.report)
  const native = answerCall(
    ({ request, requestId, room }) => readNative(request, targetOf(request.url), requestId, room),
    runtime.report,
  )
  const run =
    (respond: (asking: Asking, runId: string) => Promise<Response>, runId: string): Respond =>
    (asking) =>
      respond(asking, runId)

  app.get('/health', (c) => c.json(health()))
  app.all('/v1/:account/:gateway/', (c) => on(c, universal))
  app.all('/v1/:account/:gateway', (c) => on(c, universal))
  app.get('/v1/:account/:gateway/run/:run/resume', (c) => on(c, run(resumeRun, c.req.param('run'))))
  app.get('/v1/:account/:gateway/run/:run', (c) => on(c, run(describeRun, c.req.param('run'))))
  app.delete('/v1/:account/:gateway/run/:run', (c) => on(c, run(stopRun, c.req.param('run'))))
  app.all('/v1/:account/:gateway/:provider/*', (c) => on(c, native))
  app.notFound(() => toFailure(new GatewayError('not_found'), newId()))
  app.onError((error) => refuse('fetch', error, newId()))
  return app
}

interface Stores {
  readonly env: Env
  readonly writer: LogWriter | undefined
  readonly counters: Counters
  readonly cache: Cache
}

function createRooms(
  config: Config,
  runtime: Runtime,
  { env, writer, counters, cache }: Stores,
): ReadonlyMap<string, Room> {
  const providers = createProviders(config.providers, env)
  const [send, dial] = [createSend(providers, runtime), createDial(providers, runtime)]
  const secretsOf = (slug: string) => providers.get(slug)?.secrets ?? []
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
    const recording = writer && {
      isOn: settings.collect_logs ?? true,
      isRequired: settings.log_required ?? false,
      isHealthy: () => writer.health().status === 'ok',
      add: writer.add,
      secretsOf,
    }
    const estimate = () => ({})
    const parts = { settings, providers, send, dial, cache, counters, recording, estimate, runtime }
    return { settings, gate, providers, ...createPipeline(parts), defaults }
  })
  return new Map(rooms.map((room) => [room.settings.id, room]))
}

/** Provider, path and query of a pass-through URL, as the client wrote them: nothing decoded, nothing tidied. */
function targetOf(url: string): { slug: string; path: string; search: string } {
  const { pathname, search } = new URL(url)
  const [, , , , slug = '', ...rest] = pathname.split('/')
  return { slug, path: rest.join('/'), search }
}
