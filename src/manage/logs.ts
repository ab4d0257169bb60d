import * as z from 'zod'
import { type LogOrder, type LogQuery, type Logs, logKeys, type StoredLog } from '../store/logs.ts'
import { ManageError, type Outcome, paging } from './answer.ts'
import type { Desk } from './desk.ts'
import { filters, flatFilters, fromFlat } from './filters.ts'
import { type Asked, type Deed, type Route, route, toTime } from './route.ts'

const orders = Object.keys(logKeys).filter((key): key is LogOrder => !key.startsWith('metadata.'))
const direction = z.enum(['asc', 'desc']).optional()
const order = {
  order_by: z.enum(orders as [LogOrder, ...LogOrder[]]).default('created_at'),
  order_by_direction: direction,
}
/** Rows that one deletion takes at most, and by default. */
const removedMax = 10_000

/** Logs that can be paged through; a store over several databases asks each for as many. */
const pagedMax = 20_000

const listQuery = z
  .strictObject({
    ...paging,
    ...order,
    filters,
    ...flatFilters,
    direction,
    search: z.string().max(256).optional(),
    meta_info: z.enum(['true', 'false', '1', '0']).optional(),
  })
  .refine(({ page, per_page }) => page * per_page <= pagedMax, {
    error: `the first ${pagedMax} can be paged through; older ones are found by a filter of created_at`,
    path: ['page'],
  })

const log = z.looseObject({
  id: z.string(),
  created_at: z.iso.datetime(),
  provider: z.string(),
  model: z.string(),
  path: z.string(),
  duration: z.int(),
  success: z.boolean(),
  cached: z.boolean(),
  tokens_in: z.int().nullable(),
  tokens_out: z.int().nullable(),
  cost: z.number().optional(),
  status_code: z.int().optional(),
  step: z.int(),
  /** JSON. */
  metadata: z.string().optional(),
})

/** Entries of a log's metadata. */
const metadataMax = 50

const patch = z.strictObject({
  feedback: z.int().min(-1).max(1).nullable().optional(),
  score: z.number().nullable().optional(),
  metadata: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
    .refine((entries) => Object.keys(entries).length <= metadataMax, `${metadataMax} entries at most`)
    .nullable()
    .optional(),
})

/** What was recorded of a gateway's requests. */
export const logRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/gateways/{gateway}/logs',
    summary: 'List logs',
    query: listQuery,
    result: z.array(log),
    handle: list,
  }),
  route({
    method: 'DELETE',
    path: '/gateways/{gateway}/logs',
    summary: `Delete logs, ${removedMax} at most at once`,
    query: z.strictObject({
      ...order,
      filters,
      limit: z.coerce.number().int().min(1).max(removedMax).default(removedMax),
    }),
    result: z.null(),
    async handle(asked) {
      const { query, params } = asked
      const logs = await logsOf(asked.desk)
      const fields = [...new Set(new URL(asked.request.url).searchParams.keys())]
      await note(asked, { action: 'logs.delete', target: `gateways/${params.gateway}/logs`, fields })
      await logs.remove({
        gateway: params.gateway ?? '',
        filters: query.filters,
        orderBy: query.order_by,
        direction: query.order_by_direction ?? 'desc',
        limit: query.limit,
        offset: 0,
      })
      return { result: null }
    },
  }),
  route({
    method: 'GET',
    path: '/gateways/{gateway}/logs/{id}',
    summary: 'Get a log',
    result: log,
    async handle({ desk, params }) {
      const logs = await logsOf(desk)
      const found = await logs.get(params.gateway ?? '', params.id ?? '')
      if (!found) throw new ManageError('not_found')
      const bodies = await logs.bodies(found.gateway, found.id)
      return {
        result: {
          ...toResult(found),
          ...toHead('request', bodies?.request),
          ...toHead('response', bodies?.response),
        },
      }
    },
  }),
  route({
    method: 'PATCH',
    path: '/gateways/{gateway}/logs/{id}',
    summary: 'Give feedback, a score or other metadata',
    body: patch,
    result: log,
    async handle(asked) {
      const { desk, params, body } = asked
      const logs = await logsOf(desk)
      const [gateway, id] = [params.gateway ?? '', params.id ?? '']
      const { metadata, ...rest } = body
      const changed = {
        ...rest,
        ...(metadata !== undefined && { metadata: metadata && JSON.stringify(metadata) }),
      }
      if (!(await logs.get(gateway, id))) throw new ManageError('not_found')
      const target = `gateways/${gateway}/logs/${id}`
      await note(asked, { action: 'log.update', target, fields: Object.keys(body) })
      await logs.patch(gateway, id, changed)
      const found = await logs.get(gateway, id)
      if (!found) throw new ManageError('not_found')
      return { result: toResult(found) }
    },
  }),
  bodyRoute('request'),
  bodyRoute('response'),
]

async function list({ desk, params, query }: Asked<z.infer<typeof listQuery>>): Promise<Outcome> {
  const logs = await logsOf(desk)
  const { page, per_page, search } = query
  const selection = {
    gateway: params.gateway ?? '',
    filters: [...query.filters, ...fromFlat(query)],
    ...(search && { search }),
  }
  const asked: LogQuery = {
    ...selection,
    orderBy: query.order_by,
    direction: query.order_by_direction ?? query.direction ?? 'desc',
    limit: per_page,
    offset: (page - 1) * per_page,
  }
  const wantsStats = query.meta_info === 'true' || query.meta_info === '1'
  const [found, total_count, stats] = await Promise.all([
    logs.list(asked),
    logs.count(selection),
    wantsStats ? logs.stats(selection) : {},
  ])
  return { result: found.map(toResult), info: { page, per_page, count: found.length, total_count, ...stats } }
}

function bodyRoute(part: 'request' | 'response'): Route {
  return route({
    method: 'GET',
    path: `/gateways/{gateway}/logs/{id}/${part}`,
    summary: `Get the ${part} as it was recorded`,
    async handle({ desk, params }) {
      const logs = await logsOf(desk)
      const [gateway, id] = [params.gateway ?? '', params.id ?? '']
      const [found, bodies] = await Promise.all([logs.get(gateway, id), logs.bodies(gateway, id)])
      const body = bodies?.[part] ?? null
      if (!found || body === null)
        throw new ManageError('not_found', 'No such log, or its bodies are not kept')
      return toRaw(body, found[`${part}_content_type`])
    },
  })
}

/** Types of which no browser makes a page that acts in the gateway's name. */
const harmless = /^(application\/([\w.+-]+\+)?json|text\/event-stream|text\/plain)\b/i

function toRaw(body: string, type: string): Response {
  const headers = {
    'content-type': harmless.test(type) ? type : 'text/plain; charset=utf-8',
    'content-security-policy': 'sandbox',
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
  }
  return new Response(body, { headers })
}

/** What waits to be written is written first, so that whoever asks finds what they have just done. */
async function logsOf({ logs, flush }: Desk): Promise<Logs> {
  if (!logs) throw new ManageError('unavailable', 'This gateway has no store for logs')
  await flush()
  return logs
}

/** A deed that changes nothing of the configuration; noted all the same, where that is possible. */
async function note(
  { desk, access, params: { gateway } }: Pick<Asked, 'desk' | 'access' | 'params'>,
  deed: Pick<Deed, 'action' | 'target'> & { readonly fields: readonly string[] },
): Promise<void> {
  await desk.rooms.live?.note({ principal: access.name, gateway_id: gateway ?? null, ...deed })
}

/** Characters of a body that are told with its log. */
const headChars = 2_000

const toHead = (part: 'request' | 'response', body: string | null | undefined): object =>
  body == null
    ? {}
    : { [`${part}_head`]: body.slice(0, headChars), [`${part}_head_complete`]: body.length <= headChars }

/** What is not known is left out, but for the tokens. */
function toResult({ created_at, gateway, ...row }: StoredLog): z.infer<typeof log> {
  const known = Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null))
  const { tokens_in, tokens_out } = row
  return {
    ...(known as typeof row),
    gateway_id: gateway,
    tokens_in,
    tokens_out,
    created_at: toTime(created_at),
  } as z.infer<typeof log>
}
