import * as z from 'zod'
import { slug } from '../config.ts'
import { newId } from '../ids.ts'
import { assertCustom } from '../providers/providers.ts'
import type { Change, Stored, StoredProvider } from '../store/config.ts'
import { headersPlaceOf } from '../store/keyring.ts'
import { ManageError, paging, toPage } from './answer.ts'
import type { Desk } from './desk.ts'
import { type Asked, assertPlace, change, type Route, route, toTime, vaultOf } from './route.ts'

/** Shown in the place of a header's value, which may be a credential. */
const hidden = '[hidden]'
const text = z.string().max(10_000).optional()

const fields = {
  name: z.string().min(1).max(128),
  slug,
  base_url: z.url({ protocol: /^https?$/, error: 'base_url must be a valid HTTP or HTTPS URL' }),
  enable: z.boolean().optional(),
  /** A JSON object. */
  headers: z.string().max(16_384).transform(readHeaders).optional(),
  beta: z.boolean().optional(),
  description: text,
  link: text,
  curl_example: text,
  js_example: text,
  position: z.number().optional(),
}
const wanted = z.strictObject(fields)
const patch = wanted.partial()

const provider = z.strictObject({
  id: z.string(),
  name: z.string(),
  slug: z.string(),
  base_url: z.string(),
  enable: z.boolean(),
  headers: z.string().optional(),
  beta: z.boolean().optional(),
  description: z.string().optional(),
  link: z.string().optional(),
  curl_example: z.string().optional(),
  js_example: z.string().optional(),
  position: z.number().optional(),
  created_at: z.iso.datetime(),
  modified_at: z.iso.datetime(),
  source: z.enum(['configuration', 'api']),
})

const flag = z.enum(['true', 'false']).transform((value) => value === 'true')
const orders = ['created_at', 'modified_at', 'name', 'slug', 'position'] as const

/** Providers that are in no table (contract 1.6), plain http and private hosts among them. */
export const providerRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/custom-providers',
    summary: 'List custom providers',
    query: z.strictObject({
      ...paging,
      enable: flag.optional(),
      beta: flag.optional(),
      search: z.string().max(128).default(''),
      order_by: z.enum(orders).default('created_at'),
    }),
    result: z.array(provider),
    async handle(asked) {
      const { enable, beta, search, order_by } = asked.query
      const found = all(asked)
        .filter((one) => enable === undefined || one.enable === enable)
        .filter((one) => beta === undefined || (one.beta ?? false) === beta)
        .filter((one) => `${one.name} ${one.slug}`.toLowerCase().includes(search.toLowerCase()))
        .sort((one, other) => ((one[order_by] ?? 0) < (other[order_by] ?? 0) ? -1 : 1))
      return toPage(found, asked.query)
    },
  }),
  route({
    method: 'POST',
    path: '/custom-providers',
    summary: 'Make a custom provider',
    body: wanted,
    result: provider,
    handle: create,
  }),
  route({
    method: 'GET',
    path: '/custom-providers/{id}',
    summary: 'Get a custom provider',
    result: provider,
    handle: async (asked) => ({ result: find(asked) }),
  }),
  route({
    method: 'PATCH',
    path: '/custom-providers/{id}',
    summary: 'Change a custom provider',
    body: patch,
    result: provider,
    handle: update,
  }),
  route({
    method: 'DELETE',
    path: '/custom-providers/{id}',
    summary: 'Delete a custom provider with its keys',
    result: provider,
    handle: remove,
  }),
]

async function create(asked: Asked<unknown, z.infer<typeof wanted>>) {
  const { body, desk } = asked
  const { name, slug, base_url, enable = false, headers, ...shown } = body
  const id = newId()
  const now = Date.now()
  const record: StoredProvider = {
    ...{ id, slug, name, base_url, enable, shown, created_at: now, modified_at: now },
    ...(await sealed(headers ?? {}, { id, base_url }, desk)),
  }
  assertUsable(record, headers)
  const deed = { action: 'provider.create', target: `custom-providers/${id}`, fields: Object.keys(body) }
  await change(asked, deed, (stored) => {
    const there = [...Object.keys(desk.config.providers), ...stored.provider.map((one) => one.slug)]
    if (there.includes(slug))
      throw new ManageError('duplicate', 'A custom provider with this slug is there already', [
        'body',
        'slug',
      ])
    assertPlace(stored, 'provider')
    return { changes: [{ kind: 'provider', put: record }], result: undefined }
  })
  return { result: toResult(record) }
}

async function update(asked: Asked<unknown, z.infer<typeof patch>>) {
  const { body, desk } = asked
  const { id } = findOwn(asked)
  const { headers, ...rest } = body
  const deed = { action: 'provider.update', target: `custom-providers/${id}`, fields: Object.keys(body) }
  const record = await change(asked, deed, async (stored) => {
    const before = stored.provider.find((one) => one.id === id)
    if (!before) throw new ManageError('not_found')
    if (rest.slug !== undefined && rest.slug !== before.slug)
      throw new ManageError('invalid', 'The slug of a provider stays', ['body', 'slug'])
    const { name = before.name, slug: _, base_url = before.base_url, enable = before.enable, ...more } = rest
    if (base_url !== before.base_url) assertNothingSealed(before, stored, headers)
    const anew = headers && (await sealed(headers, { id, base_url }, desk))
    const shown = { ...before.shown, ...more }
    const put = { ...before, name, base_url, enable, shown, ...anew, modified_at: Date.now() }
    assertUsable(put, headers)
    return { changes: [{ kind: 'provider', put }], result: put }
  })
  await forget(desk)
  return { result: toResult(record) }
}

async function remove(asked: Asked) {
  const result = findOwn(asked)
  const target = `custom-providers/${result.id}`
  await change(asked, { action: 'provider.delete', target }, (stored) => {
    const keys = stored.key.filter(({ provider_slug }) => provider_slug === `custom-${result.slug}`)
    const removals = keys.map(({ id }): Change => ({ kind: 'key', remove: id }))
    return { changes: [{ kind: 'provider', remove: result.id }, ...removals], result: undefined }
  })
  await forget(asked.desk)
  return { result }
}

/**
 * What is sealed was entrusted to one address, and is not sent to another by who may not know it.
 * @throws ManageError invalid
 */
function assertNothingSealed(
  { slug, headers }: StoredProvider,
  { key }: Stored,
  anew: object | undefined,
): void {
  if (headers && !anew)
    throw new ManageError(
      'invalid',
      'body.headers: wanted again, as those of the former address stay with it',
      ['body', 'headers'],
    )
  if (key.some(({ provider_slug }) => provider_slug === `custom-${slug}`))
    throw new ManageError('invalid', 'body.base_url: keys are stored for the address; delete them first', [
      'body',
      'base_url',
    ])
}

/** What a provider was asked before it changed may be answered differently now. */
async function forget({ rooms, cache }: Desk): Promise<void> {
  await Promise.all([...rooms.all().keys()].map((gateway) => cache.clear(gateway)))
}

/** @throws ManageError unavailable, where there are headers and no master key */
async function sealed(
  headers: Readonly<Record<string, string>>,
  place: Pick<StoredProvider, 'id' | 'base_url'>,
  desk: Desk,
): Promise<Pick<StoredProvider, 'headers' | 'header_names'>> {
  const names = Object.keys(headers)
  if (names.length === 0) return { headers: null, header_names: [] }
  const vault = vaultOf(desk, 'Headers, which may hold credentials,')
  return { headers: await vault.seal(JSON.stringify(headers), headersPlaceOf(place)), header_names: names }
}

/** @throws ManageError invalid */
function assertUsable(
  { slug, base_url }: StoredProvider,
  headers: Readonly<Record<string, string>> = {},
): void {
  try {
    assertCustom(slug, { base_url, headers })
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw new ManageError('invalid', error.message.replace(/^\S+ /, ''), ['body', 'base_url'])
  }
}

function readHeaders(json: string, context: z.RefinementCtx): Record<string, string> {
  const shape = z.record(z.string().regex(/^[\w!#$%&'*+.^`|~-]+$/), z.string().regex(/^[\t\x20-\x7e]*$/))
  try {
    return shape.parse(JSON.parse(json))
  } catch {
    context.addIssue('a JSON object of headers is wanted') // the value is not quoted
    return z.NEVER
  }
}

function findOwn(asked: Asked): z.infer<typeof provider> {
  const found = find(asked)
  if (found.source === 'configuration') throw new ManageError('declared')
  return found
}

function find(asked: Asked): z.infer<typeof provider> {
  const found = all(asked).find(({ id }) => id === asked.params.id)
  if (!found) throw new ManageError('not_found')
  return found
}

const all = ({ desk, stored }: Asked): z.infer<typeof provider>[] => [
  ...declared(desk),
  ...stored.provider.map(toResult),
]

/** Those of the configuration that have an address of their own. */
const declared = ({ config, startedAt }: Desk): z.infer<typeof provider>[] =>
  Object.entries(config.providers).flatMap(([slug, { base_url, headers = {} }]) =>
    base_url === undefined
      ? []
      : {
          ...{ id: `configuration-${slug}`, name: slug, slug, base_url, enable: true },
          ...toShown(Object.keys(headers)),
          created_at: toTime(startedAt),
          modified_at: toTime(startedAt),
          source: 'configuration' as const,
        },
  )

function toResult({
  headers: _,
  header_names,
  shown,
  created_at,
  modified_at,
  ...record
}: StoredProvider): z.infer<typeof provider> {
  return {
    ...shown,
    ...record,
    ...toShown(header_names),
    created_at: toTime(created_at),
    modified_at: toTime(modified_at),
    source: 'api',
  }
}

const toShown = (names: readonly string[]): { headers?: string } =>
  names.length > 0 ? { headers: JSON.stringify(Object.fromEntries(names.map((name) => [name, hidden]))) } : {}
