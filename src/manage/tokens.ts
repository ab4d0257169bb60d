import * as z from 'zod'
import { scopes, slug } from '../config.ts'
import { sha256 } from '../hash.ts'
import { newId } from '../ids.ts'
import type { StoredToken } from '../store/config.ts'
import type { Access } from './access.ts'
import { ManageError, paging, toPage } from './answer.ts'
import type { Desk } from './desk.ts'
import { type Asked, assertPlace, change, type Route, route, toTime } from './route.ts'

/** Stands before each token, so that it is known for what it is where it has leaked. */
const prefix = 'tl_'
const secretBytes = 32

const token = z.strictObject({
  id: z.string(),
  name: z.string(),
  permissions: z.array(z.enum(scopes)),
  gateways: z.array(z.string()).nullable(),
  expires_at: z.iso.datetime().nullable(),
  created_at: z.iso.datetime(),
  source: z.enum(['configuration', 'api']),
})

const wanted = z.strictObject({
  name: z.string().trim().min(1).max(128),
  permissions: z.array(z.enum(scopes)).min(1).default(['run']),
  gateways: z.array(slug).min(1).max(50).nullish(),
  expires_at: z.iso.datetime({ offset: true }).nullish(),
})

/** Gateway tokens. Their secrets are told once, and only a hash is kept. */
export const tokenRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/tokens',
    summary: 'List tokens',
    query: z.strictObject({ ...paging, search: z.string().max(128).default('') }),
    result: z.array(token),
    handle: async (asked) =>
      toPage(
        all(asked).filter(({ name }) => name.includes(asked.query.search)),
        asked.query,
      ),
  }),
  route({
    method: 'POST',
    path: '/tokens',
    summary: 'Make a token; its secret is in this answer only',
    body: wanted,
    result: token.extend({ token: z.string() }),
    handle: create,
  }),
  route({
    method: 'GET',
    path: '/tokens/{id}',
    summary: 'Get a token',
    result: token,
    handle: async (asked) => ({ result: find(asked) }),
  }),
  route({
    method: 'DELETE',
    path: '/tokens/{id}',
    summary: 'Revoke a token',
    result: token,
    async handle(asked) {
      const result = find(asked)
      if (result.source === 'configuration') throw new ManageError('declared')
      await change(asked, { action: 'token.revoke', target: `tokens/${result.id}` }, () => ({
        changes: [{ kind: 'token', remove: result.id }],
        result: undefined,
      }))
      return { result }
    },
  }),
]

async function create(asked: Asked<unknown, z.infer<typeof wanted>>) {
  const { desk, body } = asked
  const { name, permissions, gateways = null, expires_at = null } = body
  const until = expires_at === null ? null : Date.parse(expires_at)
  if (until !== null && until <= Date.now())
    throw new ManageError('invalid', 'body.expires_at: in the past', ['body', 'expires_at'])
  assertHeld(asked.access, { permissions, gateways, until })
  const secret = prefix + toHex(crypto.getRandomValues(new Uint8Array(secretBytes)))
  const record: StoredToken = {
    id: newId(),
    name,
    digest: await sha256(secret),
    permissions: [...new Set(permissions)],
    gateways,
    rates: {},
    created_at: Date.now(),
    expires_at: until,
  }
  const deed = { action: 'token.create', target: `tokens/${record.id}`, fields: Object.keys(body) }
  await change(asked, deed, (stored) => {
    // Names stand in logs and in the audit trail, so each is one token's.
    if ([...desk.config.tokens, ...stored.token].some((one) => one.name === name))
      throw new ManageError('duplicate', 'A token of this name is there already', ['body', 'name'])
    const there = new Set([...desk.config.gateways, ...stored.gateway].map(({ id }) => id))
    const unknown = gateways?.find((id) => !there.has(id))
    if (unknown !== undefined)
      throw new ManageError('invalid', `body.gateways: there is no gateway "${unknown}"`, [
        'body',
        'gateways',
      ])
    assertPlace(stored, 'token')
    if (desk.config.tokens.length + stored.token.length === 0) assertManager(record)
    return { changes: [{ kind: 'token', put: record }], result: undefined }
  })
  return { result: { ...toResult(record), token: secret } }
}

/**
 * Nobody hands out more than they hold.
 * @throws ManageError forbidden
 */
function assertHeld(
  access: Access,
  { permissions, gateways, until }: Pick<StoredToken, 'permissions' | 'gateways'> & { until: number | null },
): void {
  const places = gateways ?? [undefined]
  const lacking = permissions.find((scope) => !places.every((gateway) => access.may(scope, gateway)))
  if (lacking !== undefined)
    throw new ManageError('forbidden', `body.permissions: the token that asks has no "${lacking}" itself`, [
      'body',
      'permissions',
    ])
  if (access.expiresAt !== null && (until ?? Number.POSITIVE_INFINITY) > access.expiresAt)
    throw new ManageError(
      'forbidden',
      `body.expires_at: the token that asks ends at ${toTime(access.expiresAt)} itself`,
      ['body', 'expires_at'],
    )
}

/**
 * With the first token, whoever has none may nothing any more, so that one must be able to make the others.
 * @throws ManageError invalid
 */
function assertManager({ permissions, gateways, expires_at }: StoredToken): void {
  if (permissions.includes('edit') && gateways === null && expires_at === null) return
  throw new ManageError(
    'invalid',
    'body.permissions: the first token must have "edit", for all gateways and without end, or nobody could manage them; or start the gateway with TRUNKLINE_TOKEN',
    ['body', 'permissions'],
  )
}

function find(asked: Asked): z.infer<typeof token> {
  const found = all(asked).find(({ id }) => id === asked.params.id)
  if (!found) throw new ManageError('not_found')
  return found
}

const all = ({ desk, stored }: Asked): z.infer<typeof token>[] => [
  ...declared(desk),
  ...stored.token.map(toResult),
]

/** Those of the configuration, under ids that tell nothing of their secrets. */
const declared = ({ config, startedAt }: Desk): z.infer<typeof token>[] =>
  config.tokens.map(({ name, permissions, gateways = null }, index) => ({
    id: `configuration-${index}`,
    name,
    permissions,
    gateways,
    expires_at: null,
    created_at: toTime(startedAt),
    source: 'configuration',
  }))

const toResult = ({
  digest: _,
  rates: __,
  expires_at,
  created_at,
  permissions,
  gateways,
  ...record
}: StoredToken): z.infer<typeof token> => ({
  ...record,
  permissions: [...permissions],
  gateways: gateways && [...gateways],
  expires_at: expires_at === null ? null : toTime(expires_at),
  created_at: toTime(created_at),
  source: 'api',
})

const toHex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
