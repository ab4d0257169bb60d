import * as z from 'zod/mini'
import { readConfig, readHeaders } from '../controls.ts'
import { GatewayError } from '../errors.ts'
import { Fields } from '../fields.ts'
import { parseJson } from '../json.ts'
import { limits } from '../limits.ts'
import type { PlainRequest } from '../plain.ts'
import type { Wire } from '../session/messages.ts'
import { readBytes } from '../streams.ts'
import type { Call, Options, Step } from '../types.ts'
import { takeToken, toPrincipal } from './authenticate.ts'
import { compatSlug, type Room } from './context.ts'
import { forwardable, fromItem } from './headers.ts'
import type { Token } from './tokens.ts'

const object = z.custom<Record<string, unknown>>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'an object',
)

/** One item of a universal request (contract 2.1). Unknown fields are left alone, as the original does. */
const item = z.object({
  provider: z.string('a string').check(z.minLength(1)),
  endpoint: z.string('a string'),
  headers: z.optional(object),
  query: z.custom<unknown>((value) => value !== undefined, 'required'),
  config: z.optional(object),
  authorization: z.optional(z.string('a string')),
})

/** An item of `trunkline.v1` may have another method, and its body as it is to be sent. */
const ownItem = z.extend(item, {
  query: z.optional(z.unknown()),
  method: z._default(
    z.string().check(z.regex(/^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$/, 'an HTTP method')),
    'POST',
  ),
  body: z.optional(z.string('a string')),
  encoding: z.optional(z.literal('base64')),
})
type Item = Omit<z.infer<typeof item>, 'query'> & Partial<z.infer<typeof ownItem>>

/** Who asks, and what holds for all items of one request. */
export interface Asker {
  readonly requestId: string
  readonly eventId?: string
  /** Vouched for by the connection. */
  readonly token: Token | undefined
  /** Of the page that asks; null for what is no page. */
  readonly origin: string | null
  /** Of the request's or the connection's headers. */
  readonly options: Options
  /** Default: `base`. */
  readonly wire?: Wire
  readonly signal: AbortSignal
}

/**
 * A universal request, parsed from JSON already, as a call. HTTP and sockets share this function.
 * @throws GatewayError bad_request, invalid_provider, unauthorized
 */
export async function toUniversalCall(body: unknown, asker: Asker, room: Room): Promise<Call> {
  const items: readonly unknown[] = Array.isArray(body) ? body : [body]
  if (items.length > limits.steps) throw new GatewayError('bad_request', `at most ${limits.steps} items`)
  const steps: Step[] = []
  let token = asker.token
  for (const [index, value] of items.entries()) {
    const where = Array.isArray(body) ? `[${index}].` : ''
    const parsed = (asker.wire === 'trunkline.v1' ? ownItem : item).safeParse(value)
    if (!parsed.success) throw new GatewayError('bad_request', where + firstIssue(parsed.error))
    const made = await toSteps(parsed.data, asker, room, token)
    token = made.token
    steps.push(...made.steps.map((step) => ({ ...step, item: index })))
  }
  if (steps.length > limits.steps) throw new GatewayError('bad_request', `at most ${limits.steps} steps`)
  const [first, ...rest] = steps
  if (!first) throw new GatewayError('bad_request', 'the list of items is empty')
  return {
    requestId: asker.requestId,
    eventId: asker.eventId ?? first.options.eventId ?? asker.requestId,
    gateway: room.settings.id,
    principal: toPrincipal(token, room.gate),
    steps: [first, ...rest],
    onDisconnect: first.options.onDisconnect ?? 'stop',
    signal: asker.signal,
  }
}

async function toSteps(
  { provider: slug, endpoint, method = 'POST', ...rest }: Item,
  asker: Asker,
  room: Room,
  known: Token | undefined,
): Promise<{ steps: readonly Step[]; token: Token | undefined }> {
  const given = fromItem(rest.headers ?? {})
  if (rest.authorization !== undefined && !given.has('authorization')) {
    for (const [name, value] of fromItem({ authorization: rest.authorization })) given.set(name, value)
  }
  // Only a browser's word counts, and it is not in what a page writes.
  if (asker.origin === null) given.delete('origin')
  else given.set('origin', asker.origin)
  const provider = room.providers.get(slug)
  const compat = provider || slug !== compatSlug ? undefined : room.compat
  if (!provider && !compat)
    throw new GatewayError('invalid_provider', `Invalid provider: ${JSON.stringify(slug.slice(0, 80))}`)
  const token = await takeToken(given, room.gate, known)
  const options = {
    ...room.defaults,
    ...asker.options,
    ...readHeaders(given),
    ...readConfig(rest.config ?? {}),
  }
  if (!provider) {
    const { requestId } = asker
    const body = rest.query ?? toParsed(toBody(rest))
    const asked = { path: endpoint, method, body, headers: given, options, requestId }
    return { steps: (await compat?.toSteps(asked, room)) ?? [], token }
  }
  const mark = endpoint.indexOf('?')
  const path = mark < 0 ? endpoint : endpoint.slice(0, mark)
  const url = provider.resolve(path, mark < 0 ? '' : endpoint.slice(mark), given)
  const headers = forwardable(given)
  const body = method === 'GET' || method === 'HEAD' ? null : toBody(rest)
  if (rest.query !== undefined && !headers.has('content-type'))
    headers.set('content-type', 'application/json')
  return { steps: [{ provider: slug, method, url, headers, body, options }], token }
}

const toParsed = (body: Step['body']): unknown =>
  body instanceof Uint8Array ? parseJson(new TextDecoder().decode(body)) : parseJson(String(body))

/** @throws GatewayError bad_request for neither `query` nor `body`, or for what is no base64 */
function toBody({ query, body, encoding }: Pick<Item, 'query' | 'body' | 'encoding'>): Step['body'] {
  if (body === undefined) return query === undefined ? null : toJson(query)
  if (encoding === undefined) return body
  try {
    return Uint8Array.from(atob(body), (char) => char.charCodeAt(0))
  } catch {
    throw new GatewayError('bad_request', 'body: not base64')
  }
}

/** @throws GatewayError bad_request for what is nested deeper than the runtime's stack */
function toJson(query: unknown): string {
  try {
    return JSON.stringify(query)
  } catch {
    throw new GatewayError('bad_request', 'query: nested too deeply')
  }
}

function firstIssue(error: z.core.$ZodError): string {
  const issue = error.issues[0]
  return issue?.path.length ? `${issue.path.join('.')}: ${issue.message}` : 'an item must be an object'
}

/** `POST /v1/{account}/{gateway}`. @throws GatewayError */
export async function readUniversal(request: PlainRequest, requestId: string, room: Room): Promise<Call> {
  const headers = new Fields(request.headers)
  const token = await takeToken(headers, room.gate)
  const options = readHeaders(headers)
  const body = await readJson(request)
  const origin = request.headers.get('origin')
  return toUniversalCall(body, { requestId, token, origin, options, signal: request.signal }, room)
}

async function readJson(request: PlainRequest): Promise<unknown> {
  const bytes = await readBytes(request.body, limits.bodyBytes)
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw new GatewayError('bad_request', 'The body is not JSON')
  }
}
