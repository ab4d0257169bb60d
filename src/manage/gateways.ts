import * as z from 'zod'
import { type GatewaySettings, gatewaySettings, isAuthenticated, isOpen } from '../config.ts'
import type { StoredGateway } from '../store/config.ts'
import { ManageError, paging, parse, toPage } from './answer.ts'
import type { Desk } from './desk.ts'
import { type Asked, assertPlace, change, type Route, route, toTime } from './route.ts'

/** What clients send back with what they were given, though it is not theirs to set. */
const told = ['created_at', 'modified_at', 'is_default', 'source', 'account_id', 'account_tag', 'internal_id']

const body = z
  .record(z.string(), z.unknown())
  .transform((fields) => Object.fromEntries(Object.entries(fields).filter(([name]) => !told.includes(name))))

const gateway = z.looseObject({
  id: z.string(),
  cache_ttl: z.int().nullable(),
  collect_logs: z.boolean(),
  authentication: z.boolean(),
  is_default: z.boolean(),
  /** Where it can be changed. */
  source: z.enum(['configuration', 'api']),
  created_at: z.iso.datetime(),
  modified_at: z.iso.datetime(),
})

/** What holds where nothing is said, in the words that clients of the original expect. */
const defaults = {
  cache_invalidate_on_update: false,
  cache_ttl: null,
  collect_logs: true,
  rate_limiting_interval: null,
  rate_limiting_limit: null,
  rate_limiting_technique: 'fixed',
  byok_only: true,
  log_management: 1_000_000,
  log_management_strategy: 'DELETE_OLDEST',
  retry_max_attempts: null,
  retry_delay: null,
  retry_backoff: null,
  spend_limits: null,
  log_classification: false,
  logpush: false,
  logpush_public_key: null,
  workers_ai_billing_mode: 'postpaid',
  zdr: false,
  guardrails: null,
  otel: null,
  stripe: null,
  store_id: null,
}

/** The gateways themselves. */
export const gatewayRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/gateways',
    summary: 'List gateways',
    isShared: true,
    query: z.strictObject({ ...paging, search: z.string().max(64).default('') }),
    result: z.array(gateway),
    async handle({ desk, access, stored, query }) {
      const mine = [...desk.rooms.all().values()]
        .map(({ settings }) => settings)
        .filter(({ id }) => access.may('read', id) && id.includes(query.search))
      return toPage(
        mine.map((settings) => toResult(settings, desk, stored.gateway)),
        query,
      )
    },
  }),
  route({
    method: 'POST',
    path: '/gateways',
    summary: 'Make a gateway',
    body,
    shown: gatewaySettings,
    result: gateway,
    async handle(asked) {
      const settings = parse(gatewaySettings, asked.body, 'body')
      assertClosed(settings, asked.desk)
      const now = Date.now()
      const record = { id: settings.id, settings, created_at: now, modified_at: now }
      const deed = { action: 'gateway.create', target: `gateways/${settings.id}`, gateway: settings.id }
      await change(asked, { ...deed, fields: Object.keys(asked.body) }, (stored) => {
        const isThere = [...asked.desk.config.gateways, ...stored.gateway].some(
          ({ id }) => id === settings.id,
        )
        if (isThere)
          throw new ManageError('duplicate', 'A gateway with this id is there already', ['body', 'id'])
        assertPlace(stored, 'gateway')
        return { changes: [{ kind: 'gateway', put: record }], result: undefined }
      })
      return { result: toResult(settings, asked.desk, [record]) }
    },
  }),
  route({
    method: 'GET',
    path: '/gateways/{gateway}',
    summary: 'Get a gateway',
    result: gateway,
    async handle({ desk, stored, params }) {
      return { result: toResult(desk.rooms.all().get(params.gateway ?? '')!.settings, desk, stored.gateway) }
    },
  }),
  route({
    method: 'PUT',
    path: '/gateways/{gateway}',
    summary: 'Change a gateway; what is not named stays as it is',
    body,
    shown: gatewaySettings,
    result: gateway,
    handle: update,
  }),
  route({
    method: 'DELETE',
    path: '/gateways/{gateway}',
    summary: 'Delete a gateway with its keys and logs',
    result: gateway,
    handle: remove,
  }),
]

async function update(asked: Asked<unknown, Record<string, unknown>>) {
  const { desk, params, body: fields } = asked
  const id = params.gateway ?? ''
  assertOwn(id, desk)
  const deed = {
    action: 'gateway.update',
    target: `gateways/${id}`,
    gateway: id,
    fields: Object.keys(fields),
  }
  const record = await change(asked, deed, (stored) => {
    const known = stored.gateway.find((one) => one.id === id)
    const before = known?.settings ?? desk.config.gateways.find((one) => one.id === id)
    if (!before) throw new ManageError('not_found')
    const settings = parse(gatewaySettings, { ...before, ...fields }, 'body')
    if (settings.id !== id) throw new ManageError('invalid', 'The id of a gateway stays', ['body', 'id'])
    assertClosed(settings, desk)
    const put = { id, settings, created_at: known?.created_at ?? desk.startedAt, modified_at: Date.now() }
    return { changes: [{ kind: 'gateway', put }], result: put }
  })
  if (record.settings.cache_invalidate_on_update) await desk.cache.clear(id)
  return { result: toResult(record.settings, desk, [record]) }
}

async function remove(asked: Asked) {
  const { desk, params, stored: before } = asked
  const id = params.gateway ?? ''
  assertOwn(id, desk)
  const result = toResult(desk.rooms.all().get(id)!.settings, desk, before.gateway)
  await change(asked, { action: 'gateway.delete', target: `gateways/${id}`, gateway: id }, (stored) => {
    // A gateway of the same name that is made later is another one, which no token of this one opens.
    const tokens = stored.token
      .filter(({ gateways }) => gateways?.includes(id))
      .map((token) => ({ ...token, gateways: token.gateways!.filter((one) => one !== id) }))
    return {
      changes: [
        { kind: 'gateway', remove: id },
        ...stored.key
          .filter(({ gateway_id }) => gateway_id === id)
          .map((key) => ({ kind: 'key' as const, remove: key.id })),
        ...tokens.map((token) =>
          token.gateways.length > 0
            ? { kind: 'token' as const, put: token }
            : { kind: 'token' as const, remove: token.id },
        ),
      ],
      result: undefined,
    }
  })
  await desk.cache.clear(id)
  await desk.flush()
  // By time: one of the same name may be made before all are gone.
  await desk.logs?.trim(id, Number.MAX_SAFE_INTEGER, Date.now() + 1)
  return { result }
}

/** @throws ManageError declared */
function assertOwn(id: string, { config }: Desk): void {
  if (config.declaresGateways && config.gateways.some((one) => one.id === id))
    throw new ManageError('declared')
}

/**
 * A gateway that is open is only for who started all of it open, and so on a loopback address.
 * @throws ManageError invalid
 */
function assertClosed({ authentication }: GatewaySettings, { config }: Desk): void {
  if (authentication !== false || isOpen(config)) return
  const message =
    'No gateway was open when this one was started, so none can be opened but in its configuration'
  throw new ManageError('invalid', message, ['body', 'authentication'])
}

function toResult(
  settings: GatewaySettings,
  desk: Desk,
  stored: readonly StoredGateway[],
): z.infer<typeof gateway> {
  const record = stored.find(({ id }) => id === settings.id)
  const { created_at = desk.startedAt, modified_at = desk.startedAt } = record ?? {}
  const isDeclared = desk.config.declaresGateways && desk.config.gateways.some(({ id }) => id === settings.id)
  return {
    ...defaults,
    ...settings,
    collect_logs: settings.collect_logs ?? true,
    cache_ttl: settings.cache_ttl ?? null,
    authentication: isAuthenticated(settings, desk.rooms.tokens.size),
    is_default: settings.id === 'default',
    source: isDeclared ? 'configuration' : 'api',
    created_at: toTime(created_at),
    modified_at: toTime(modified_at),
  }
}
