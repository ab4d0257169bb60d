import { Hono } from 'hono/tiny'
import { limits } from '../limits.ts'
import { nothingStored } from '../store/config.ts'
import { readBytes } from '../streams.ts'
import { readAccess } from './access.ts'
import { isTold, ManageError, parse, toEnvelope, toErrorEnvelope } from './answer.ts'
import type { CreateManagement, Desk } from './desk.ts'
import { toOpenApi } from './openapi.ts'
import { type Asked, type Route, scopeOf } from './route.ts'
import { routes } from './routes.ts'

const prefix = '/client/v4/accounts/:account/ai-gateway'

/** The management API (contract 10). A part of its own: what only calls providers goes without. */
export const createManagement: CreateManagement = (desk) => {
  const app = new Hono()
  app.get('/client/v4/openapi.json', (c) => c.json(toOpenApi(routes)))
  for (const one of routes) {
    app.on(one.method, toPattern(one.path), async (c) => {
      const { account = '', ...params }: Record<string, string> = c.req.param()
      const asked = await read(one, c.req.raw, { account, params }, desk)
      const outcome = await one.handle(asked)
      return outcome instanceof Response ? outcome : toEnvelope(outcome)
    })
  }
  for (const path of new Set(routes.map(({ path }) => path)))
    app.all(toPattern(path), () => toErrorEnvelope(new ManageError('no_method')))
  app.notFound(() => toErrorEnvelope(new ManageError('no_route')))
  app.onError((error) => {
    if (!isTold(error)) desk.report('management', error)
    return toErrorEnvelope(error)
  })
  return async (request) => app.fetch(request)
}

const toPattern = (path: string): string => prefix + path.replace(/\{(\w+)\}/g, ':$1')

/** @throws ManageError for who may not ask, or what is not understood */
async function read(
  one: Route,
  request: Request,
  { account, params }: { account: string; params: Readonly<Record<string, string>> },
  desk: Desk,
): Promise<Asked> {
  const access = await readAccess(request, desk)
  const { gateway } = params
  const scope = scopeOf(one.method)
  if (account !== desk.config.account_id) throw new ManageError('not_found', 'No such account')
  if (!one.isShared && !access.may(scope, gateway)) throw new ManageError('forbidden')
  const query = readQuery(one, new URL(request.url).searchParams)
  const body = one.body ? parse(one.body, await readJson(request), 'body') : undefined
  const stored = (await desk.rooms.live?.latest()) ?? nothingStored
  if (gateway !== undefined && !desk.rooms.all().has(gateway))
    throw new ManageError('not_found', 'No such gateway')
  return { desk, access, request, params, query, body, stored }
}

/** A parameter that is not known is refused: of a deletion, a filter would be lost. */
function readQuery(one: Route, search: URLSearchParams): unknown {
  const [unwanted] = one.query ? [] : search.keys()
  if (unwanted !== undefined) throw new ManageError('invalid', 'No query is taken here', ['query', unwanted])
  return one.query && parse(one.query, toObject(search), 'query')
}

/** What comes several times as a list; lists of objects are read by their rooms, from all entries in their order. */
function toObject(search: URLSearchParams): Record<string, unknown> {
  const entries = [...search]
  const filters = entries.filter(([name]) => /^filters\b/.test(name))
  const rest = entries.filter(([name]) => !/^filters\b/.test(name))
  return { ...Object.fromEntries(rest), ...(filters.length > 0 && { filters }) }
}

async function readJson(request: Request): Promise<unknown> {
  const bytes = await readBytes(request.body, limits.manageBodyBytes, request.signal)
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    throw new ManageError('invalid', 'The body is not JSON', ['body'])
  }
}
