import type { Context } from 'hono'
import { Hono } from 'hono/tiny'
import type { Config, Env } from './config.ts'
import { GatewayError, toGatewayError } from './errors.ts'
import { newId } from './ids.ts'
import type { CreateManagement } from './manage/desk.ts'
import type { Assemble } from './observe/assemble/assemble.ts'
import type { CreatePricing } from './observe/pricing.ts'
import type { PlainRequest, PlainResponse } from './plain.ts'
import type { ProviderTable } from './providers/row.ts'
import { createRooms, toRetention } from './rooms.ts'
import { answerCall, createAnswer, type Respond } from './routes/answer.ts'
import { type Asking, type Compat, compatSlug, type Room } from './routes/context.ts'
import { mintToken } from './routes/mint.ts'
import { readNative } from './routes/native.ts'
import { type Place, placeOf } from './routes/places.ts'
import { grantRelay } from './routes/realtime.ts'
import { toFailure } from './routes/respond.ts'
import { answerQuery, describeRun, resumeRun, stopRun } from './routes/runs.ts'
import { grantUpgrade, keepSession, serveSocket } from './routes/session.ts'
import { readUniversal } from './routes/universal.ts'
import type { RelayStart, SessionStart, Upgrade } from './routes/upgrade.ts'
import type { RunQuery } from './runs/elsewhere.ts'
import type { HomeOptions } from './runs/held.ts'
import { Home } from './runs/home.ts'
import type { SessionState } from './runs/run.ts'
import type { Session } from './session/host.ts'
import { LiveSession } from './session/server.ts'
import type { Socket } from './socket.ts'
import { type Cache, createMemoryCache } from './store/cache.ts'
import { type Counters, createMemoryCounters } from './store/counters.ts'
import type { Logs } from './store/logs.ts'
import type { Settings } from './store/settings.ts'
import { createLogWriter } from './store/writer.ts'
import type { Runtime } from './types.ts'
import { toWebRequest, toWebResponse, WebRequest } from './web.ts'

/** The product. Neither `fetch` nor `upgrade` rejects. `home` is where sessions and runs live; default: here. */
export interface Gateway {
  /** Any HTTP request without an upgrade. */
  fetch(request: Request, home?: Home): Promise<Response>
  /** The same, for a runtime that has lighter requests and responses at hand. */
  answer(request: PlainRequest, home?: Home): Promise<PlainResponse>
  /** Decide on a WebSocket upgrade: a refusal to send as it is, or a grant. */
  upgrade(request: Request, home?: Home): Promise<Response | Upgrade>
  /** Serve a socket whose upgrade was granted. */
  open(socket: Socket, start: SessionStart | RelayStart, home?: Home): Session
  /** Hold a session whose memory is gone, so that it can be taken up again. */
  restore(start: SessionStart, home: Home, kept: SessionState): void
  /** A home of its own, for a runtime that keeps each session in a place of its own. */
  createHome(options?: Omit<HomeOptions, 'limits'>): Home
  /**
   * Where each session has a home of its own: the one that a request without an upgrade belongs to, or the answer to
   * one that cannot be read. Does not reject.
   */
  placeOf(request: Request): Promise<Place | Response>
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
  /** What changes while running; absent: only the configuration counts. */
  readonly settings?: Settings
  /** Serves the management API (`trunkline/manage`); absent: there is none. */
  readonly manage?: CreateManagement
  /** Providers that need no more than their name (`trunkline/parts`); absent: only those of the configuration. */
  readonly providers?: ProviderTable
  /** One API for every model (`trunkline/parts`); absent: there is none. */
  readonly compat?: Compat
  /** Whether one request may wait for another where there is no home of a session; default true. */
  readonly shares?: boolean
  /** Makes one body of a stream's events for its record (`trunkline/parts`); absent: streams are recorded as they came. */
  readonly assemble?: Assemble
  /** Tells what answers cost (`trunkline/parts`); absent: that is unknown. */
  readonly pricing?: CreatePricing
}

/** Make a gateway. Nothing is asked of the network or the disk. */
export function createGateway(config: Config, runtime: Runtime, given: Given = {}): Gateway {
  const { logs, counters = createMemoryCounters(), shares = true } = given
  const { report, defer } = runtime
  const retentionOf = (id: string) => toRetention(rooms.all().get(id)?.settings)
  const writer = logs && createLogWriter({ logs, retentionOf, report, defer })
  const cache = createMemoryCache(given.cache)
  const rooms = createRooms({ ...given, config, runtime, writer, counters, cache })
  const createHome = (options: Omit<HomeOptions, 'limits'> = {}) =>
    new Home({ ...options, limits: config.limits })
  const here = createHome({ shares })

  const finder = (start: SessionStart) => () => rooms.find(config.account_id, start.gateway)

  const refuse = (where: string, error: unknown, requestId: string): Response => {
    if (!(error instanceof GatewayError)) runtime.report(where, error)
    return toFailure(toGatewayError(error), requestId)
  }
  const health = () => ({ status: 'ok', ...(writer && { logs: writer.health() }) })
  const flush = async (): Promise<void> => writer?.flush()
  const desk = { config, rooms, cache, logs, settings: given.settings, report, flush, startedAt: Date.now() }
  const app = createApp({ find: rooms.find, report, refuse, health, manage: given.manage?.(desk) })

  return {
    async fetch(request, home = here) {
      // The router looks at method and URL alone, and hands on what the routes make.
      const response: PlainResponse = await app.fetch(new WebRequest(request) as unknown as Request, { home })
      try {
        return await toWebResponse(response)
      } catch (error) {
        void response.body?.cancel().catch(() => undefined) // one that has failed is over all the same
        return refuse('fetch', error, newId())
      }
    },
    answer: async (request, home = here) => app.fetch(request as Request, { home }),
    async upgrade(request, home = here) {
      const requestId = newId()
      try {
        const [, version, account, gateway] = new URL(request.url).pathname.split('/')
        if (version !== 'v1' || !account || !gateway) throw new GatewayError('not_found')
        const find = () => rooms.find(account, gateway)
        const asking = { request, requestId, room: await find(), home }
        const target = targetOf(request.url)
        return target.slug ? await grantRelay(asking, target, find) : await grantUpgrade(asking)
      } catch (error) {
        return refuse('upgrade', error, requestId)
      }
    },
    open: (socket, start, home = here) =>
      'serve' in start ? start.serve(socket) : serveSocket(socket, start, finder(start), home),
    restore: (start, home, kept) => keepSession(start, finder(start), home, kept),
    createHome,
    async placeOf(request) {
      const [, version, account = '', gateway = ''] = new URL(request.url).pathname.split('/')
      const room = version === 'v1' && (await rooms.find(account, gateway).catch(() => undefined)) // refused later
      try {
        return room ? await placeOf(request, room) : { request }
      } catch (error) {
        return refuse('place', error, newId())
      }
    },
    askRun: answerQuery,
    async drain(home = here) {
      const sessions = () => [...home.sessions.values()].filter((held) => held instanceof LiveSession)
      for (const session of sessions()) session.goAway(home.drainMs)
      await home.drain(home.drainMs)
      for (const session of sessions()) session.close()
      await Promise.all([writer?.flush(), counters.flush()])
    },
  }
}

interface Parts {
  readonly find: (account: string, gateway: string) => Promise<Room>
  readonly report: Runtime['report']
  readonly refuse: (where: string, error: unknown, requestId: string) => Response
  readonly health: () => object
  readonly manage: ReturnType<CreateManagement> | undefined
}

/** The routes. What is found in the path and before an answer begins is refused without CORS. */
function createApp({ find, report, refuse, health, manage }: Parts): Hono<{ Bindings: { home: Home } }> {
  const answer = createAnswer(report)
  const app = new Hono<{ Bindings: { home: Home } }>()
  const on = async (context: Context<{ Bindings: { home: Home } }>, respond: Respond): Promise<Response> => {
    const { account = '', gateway = '' } = context.req.param()
    const room = await find(account, gateway)
    // The router hands on what it is given, and looks into none of it.
    return (await answer({ request: context.req.raw, room, home: context.env.home }, respond)) as Response
  }
  const universal = answerCall(async (asking) => {
    const { method } = asking.request
    if (method === 'POST') return readUniversal(asking.request, asking.requestId, asking.room)
    throw new GatewayError(method === 'GET' ? 'upgrade_required' : 'method_not_allowed')
  }, report)
  const native = answerCall(({ request, requestId, room }) => {
    const target = targetOf(request.url)
    const compat = target.slug === compatSlug ? room.compat : undefined
    return (compat?.read ?? readNative)(request, target, requestId, room)
  }, report)
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
  app.post('/v1/:account/:gateway/tokens/session', (c) => on(c, mintToken))
  app.all('/v1/:account/:gateway/:provider/*', (c) => on(c, native))
  if (manage) app.all('/client/*', (c) => manage(toWebRequest(c.req.raw)))
  app.notFound(() => toFailure(new GatewayError('not_found'), newId()))
  app.onError((error) => refuse('fetch', error, newId()))
  return app
}

/** Provider, path and query of a pass-through URL, as the client wrote them: nothing decoded, nothing tidied. */
function targetOf(url: string): { slug: string; path: string; search: string } {
  // Requests have tidied it already, and taking it apart again would cost more than all of the routing.
  const [whole = ''] = url.split('#', 1)
  const start = whole.indexOf('/', whole.indexOf('//') + 2)
  const mark = whole.indexOf('?', start)
  const pathname = mark < 0 ? whole.slice(start) : whole.slice(start, mark)
  const [, , , , slug = '', ...rest] = pathname.split('/')
  return { slug, path: rest.join('/'), search: mark < 0 ? '' : whole.slice(mark) }
}
