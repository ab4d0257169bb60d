import * as z from 'zod'
import { newId } from '../ids.ts'
import type { Change, StoredKey } from '../store/config.ts'
import { headersPlaceOf, placeOf } from '../store/keyring.ts'
import { ManageError, paging, toPage } from './answer.ts'
import type { Desk } from './desk.ts'
import { type Asked, assertPlace, change, type Route, route, toTime, vaultOf } from './route.ts'

/** Characters of a secret that may be shown, where it has at least four times as many. */
const shownChars = 4

const nothing = z.union([z.literal(0), z.null()], 'keys have no limits of their own here').optional()

const wanted = z.strictObject({
  provider_slug: z.string().min(1).max(80),
  alias: z
    .string()
    .regex(/^[\w.-]{1,64}$/, 'letters, digits, . - and _, 64 at most')
    .default('default'),
  default_config: z.boolean().default(false),
  secret: z.string('required, as there is no Secrets Store here').min(1).max(16_384),
  secret_id: z.null('there is no Secrets Store here').optional(),
  rate_limit: nothing,
  rate_limit_period: nothing,
})

const key = z.strictObject({
  id: z.string(),
  gateway_id: z.string(),
  provider_slug: z.string(),
  alias: z.string(),
  default_config: z.boolean(),
  secret_id: z.string(),
  secret_preview: z.string(),
  created_at: z.iso.datetime(),
  modified_at: z.iso.datetime(),
  source: z.enum(['configuration', 'api']),
})

/** Provider keys, for calls that bring none (contract 7.5). Nobody is ever told one. */
export const keyRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/gateways/{gateway}/provider_configs',
    summary: 'List stored provider keys',
    query: z.strictObject({ ...paging, search: z.string().max(80).default('') }),
    result: z.array(key),
    handle: async (asked) =>
      toPage(
        all(asked).filter((one) => `${one.provider_slug} ${one.alias}`.includes(asked.query.search)),
        asked.query,
      ),
  }),
  route({
    method: 'POST',
    path: '/gateways/{gateway}/provider_configs',
    summary: 'Store a provider key',
    body: wanted,
    result: key,
    handle: create,
  }),
  route({
    method: 'DELETE',
    path: '/gateways/{gateway}/provider_configs/{id}',
    summary: 'Delete a stored provider key',
    result: key,
    handle: remove,
  }),
  route({
    method: 'POST',
    path: '/provider_configs/rotate',
    summary: 'Seal what is stored with the newest master key, so that older ones can go',
    result: z.strictObject({ sealed: z.int(), unreadable: z.int() }),
    handle: rotate,
  }),
]

async function create(asked: Asked<unknown, z.infer<typeof wanted>>) {
  const { desk, params, body } = asked
  const gateway_id = params.gateway ?? ''
  const provider_slug = slugOf(asked)
  const vault = vaultOf(desk, 'Keys')
  const { alias, default_config, secret } = body
  const named = { id: newId(), gateway_id, provider_slug }
  const deed = {
    action: 'key.create',
    target: `gateways/${gateway_id}/provider_configs/${named.id}`,
    gateway: gateway_id,
    fields: Object.keys(body),
  }
  const record = await change(asked, deed, async (stored) => {
    const own = stored.key.filter(
      (one) => one.gateway_id === gateway_id && one.provider_slug === provider_slug,
    )
    if (own.some((one) => one.alias === alias))
      throw new ManageError('duplicate', 'A key with this alias is there already', ['body', 'alias'])
    assertPlace(stored, 'key')
    const now = Date.now()
    const put: StoredKey = {
      ...named,
      alias,
      default_config,
      secret: await vault.seal(secret, placeOf(named, stored.provider)),
      secret_preview: toPreview(secret),
      created_at: now,
      modified_at: now,
    }
    const former = own.filter((one) => default_config && one.default_config)
    const demoted = former.map((one): Change => ({ kind: 'key', put: { ...one, default_config: false } }))
    return { changes: [...demoted, { kind: 'key', put }], result: put }
  })
  return { result: toResult(record) }
}

/** @throws ManageError invalid, declared */
function slugOf({ desk, body, stored }: Asked<unknown, z.infer<typeof wanted>>): string {
  const { provider_slug, alias, default_config, secret } = body
  const place = ['body', 'provider_slug']
  const isCustom = stored.provider.some(({ slug }) => `custom-${slug}` === provider_slug)
  const provider = desk.rooms.providers.get(provider_slug)
  if (!provider && !isCustom) throw new ManageError('invalid', 'body.provider_slug: no such provider', place)
  try {
    provider?.assertKey(secret)
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw new ManageError('invalid', `body.secret: ${error.message}`, ['body', 'secret'])
  }
  const slug = provider?.slug ?? provider_slug
  if ((alias === 'default' || default_config) && desk.config.providers[slug]?.api_key !== undefined)
    throw new ManageError('declared', `The configuration declares the default key of ${slug}`)
  return slug
}

async function remove(asked: Asked) {
  const result = all(asked).find(({ id }) => id === asked.params.id)
  if (!result) throw new ManageError('not_found')
  if (result.source === 'configuration') throw new ManageError('declared')
  const target = `gateways/${result.gateway_id}/provider_configs/${result.id}`
  await change(asked, { action: 'key.delete', target, gateway: result.gateway_id }, () => ({
    changes: [{ kind: 'key', remove: result.id }],
    result: undefined,
  }))
  return { result }
}

async function rotate(asked: Asked) {
  const vault = vaultOf(asked.desk, 'Keys')
  const deed = { action: 'keys.rotate', target: 'provider_configs/rotate' }
  const result = await change(asked, deed, async (stored) => {
    const keys = stored.key.map(async (one): Promise<Change | undefined | null> => {
      if (await vault.isNewest(one.secret)) return undefined
      const place = placeOf(one, stored.provider)
      const secret = await vault.unseal(one.secret, place).catch(() => null) // its key is not here
      return secret === null
        ? null
        : { kind: 'key', put: { ...one, secret: await vault.seal(secret, place) } }
    })
    const providers = stored.provider.map(async (one): Promise<Change | undefined | null> => {
      if (!one.headers || (await vault.isNewest(one.headers))) return undefined
      const place = headersPlaceOf(one)
      const headers = await vault.unseal(one.headers, place).catch(() => null) // its key is not here
      return headers === null
        ? null
        : { kind: 'provider', put: { ...one, headers: await vault.seal(headers, place) } }
    })
    const made = await Promise.all([...keys, ...providers])
    const changes = made.filter((one) => one !== null && one !== undefined)
    return {
      changes,
      result: { sealed: changes.length, unreadable: made.filter((one) => one === null).length },
    }
  })
  return { result }
}

function all({ desk, stored, params }: Asked): z.infer<typeof key>[] {
  const gateway = params.gateway ?? ''
  return [
    ...declared(gateway, desk),
    ...stored.key.filter(({ gateway_id }) => gateway_id === gateway).map(toResult),
  ]
}

/** Those of the configuration hold for every gateway. */
const declared = (gateway_id: string, { config, startedAt }: Desk): z.infer<typeof key>[] =>
  Object.entries(config.providers).flatMap(([provider_slug, { api_key }]) =>
    api_key === undefined
      ? []
      : {
          id: `configuration-${provider_slug}`,
          gateway_id,
          provider_slug,
          alias: 'default',
          default_config: true,
          secret_id: `configuration-${provider_slug}`,
          secret_preview: toPreview(api_key),
          created_at: toTime(startedAt),
          modified_at: toTime(startedAt),
          source: 'configuration' as const,
        },
  )

const toResult = ({ secret: _, created_at, modified_at, ...record }: StoredKey): z.infer<typeof key> => ({
  ...record,
  secret_id: record.id,
  created_at: toTime(created_at),
  modified_at: toTime(modified_at),
  source: 'api',
})

/** Of a JSON key nothing is shown, as its end tells nothing. */
const toPreview = (secret: string): string =>
  secret.length >= 4 * shownChars && !secret.trimStart().startsWith('{')
    ? `…${secret.slice(-shownChars)}`
    : '…'
