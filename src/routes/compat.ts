import { readHeaders } from '../controls.ts'
import { messages } from '../dialects/anthropic/messages.ts'
import { chat } from '../dialects/chat.ts'
import type { Api } from '../dialects/dialect.ts'
import { createEmbedding } from '../dialects/embeddings.ts'
import { parseExact } from '../dialects/exact.ts'
import { Failure, toFailureBody } from '../dialects/failure.ts'
import type { ApiName, Chat, Json } from '../dialects/hub.ts'
import { Notes } from '../dialects/notes.ts'
import { answerResponses } from '../dialects/responses/api.ts'
import { createIdentity, createTranslation, type Untold } from '../dialects/translation.ts'
import { GatewayError } from '../errors.ts'
import { limits } from '../limits.ts'
import type { PlainRequest } from '../plain.ts'
import type { Provider } from '../providers/providers.ts'
import { readBytes } from '../streams.ts'
import type { Call, Step } from '../types.ts'
import { takeToken, toPrincipal } from './authenticate.ts'
import { type Compat, type CompatRequest, compatSlug, type Room } from './context.ts'
import { forwardable } from './headers.ts'
import { listModels } from './models.ts'
import type { Target } from './target.ts'

const apis: Readonly<Record<string, Api | 'embeddings'>> = {
  'chat/completions': chat,
  messages,
  responses: answerResponses,
  embeddings: 'embeddings',
}

const prefixes = { chat: 'chatcmpl-', messages: 'msg_', responses: 'resp_', embeddings: '' } as const

/** One API for every model. */
export const compat: Compat = { read: readCompat, toSteps: toCompatSteps, listModels }

/**
 * Any request to `/v1/{account}/{gateway}/compat/…`.
 * @throws GatewayError
 */
async function readCompat(
  request: PlainRequest,
  target: Target,
  requestId: string,
  room: Room,
): Promise<Call> {
  try {
    return await toCall(request, target, requestId, room)
  } catch (error) {
    throw toShaped(error, apiOf(target.path))
  }
}

async function toCall(request: PlainRequest, target: Target, requestId: string, room: Room): Promise<Call> {
  const headers = new Headers(request.headers)
  const principal = toPrincipal(await takeToken(headers, room.gate), room.gate)
  const options = { ...room.defaults, ...readHeaders(headers) }
  const { method, signal } = request
  const text = method === 'POST' ? await readBytes(request.body, limits.bodyBytes, signal) : undefined
  const body = text && parseExact(new TextDecoder().decode(text))
  const steps = await toCompatSteps({ path: target.path, method, body, headers, options, requestId }, room)
  const { eventId = requestId, onDisconnect = 'stop' } = options
  return { requestId, eventId, gateway: room.settings.id, principal, steps, onDisconnect, signal }
}

/**
 * The steps of a request whose model is `{provider}/{model}` or an alias, which may be a list across vendors.
 * @throws GatewayError not_found, bad_format, invalid_provider, bad_request; in the shape of the API
 */
async function toCompatSteps(asked: CompatRequest, room: Room): Promise<Call['steps']> {
  const path = asked.path.replace(/^\/?(v1\/)?/, '')
  if (path === 'models' && asked.method === 'GET') return [toModels(asked, room)]
  const api = Object.hasOwn(apis, path) ? apis[path] : undefined
  if (!api) throw toShaped(new GatewayError('not_found'), apiOf(path))
  const name = nameOf(api)
  try {
    return await toSteps(asked, api, room)
  } catch (error) {
    throw toShaped(error, name)
  }
}

/** The API that a path is meant for, even where it leads nowhere. */
const apiOf = (path: string): ApiName => {
  const [first = ''] = path.replace(/^\/?(v1\/)*/, '').split('/')
  return first === 'messages' || first === 'responses' ? first : 'chat'
}

/** An error in the shape of an API. */
function toShaped(error: unknown, api: ApiName): unknown {
  if (error instanceof RangeError)
    return toShaped(new Failure(400, 'The body is nested too deeply', 'bad_format'), api)
  if (error instanceof Failure)
    return new GatewayError('bad_request', error.message, { body: toFailureBody(api, error) })
  if (!(error instanceof GatewayError) || error.detail.body) return error
  const { code, message, status } = error
  const body = toFailureBody(api, new Failure(status, message, code))
  return new GatewayError(code, message, { ...error.detail, body })
}

async function toSteps(asked: CompatRequest, api: Api | 'embeddings', room: Room): Promise<Call['steps']> {
  const body = asked.body as Json | null // looked into only where it is an object
  const named = typeof body === 'object' ? body?.model : undefined
  if (!body || typeof named !== 'string') throw new GatewayError('bad_format')
  const alias = room.aliases.get(named) ?? room.aliases.get(named.replace(/^dynamic\//, ''))
  const targets = alias ?? [named]
  // A client's key is for one vendor, and an alias hides which.
  const isShared = new Set(targets.map((target) => target.split('/')[0])).size > 1
  const making = { asked, api, body, room, isShared, isAlias: alias !== undefined }
  const make = targets.length > 1 ? toStepOrRefusal : toStep
  const [first, ...rest] = await Promise.all(targets.map((target) => make(target, making)))
  if (!first) throw new GatewayError('bad_format')
  return [first, ...rest]
}

const nameOf = (api: Api | 'embeddings'): ApiName => (typeof api === 'string' ? api : api.name)

interface Making {
  readonly asked: CompatRequest
  readonly api: Api | 'embeddings'
  readonly body: Json
  readonly room: Room
  readonly isShared: boolean
  readonly isAlias: boolean
}

async function toStep(target: string, making: Making): Promise<Step> {
  const { asked, room, isShared } = making
  const { slug, model: full } = readTarget(target)
  const provider = room.providers.get(slug)
  if (!provider) throw new GatewayError('invalid_provider', `Invalid provider: ${slug.slice(0, 80)}`)
  const headers = takeKey(asked.headers, room, isShared ? undefined : provider)
  const { byokAlias: alias } = asked.options
  const { prefix, model } = await provider.place(full, { headers, alias })
  const notes = new Notes(slug, asked.options.compatLenient ?? false)
  const { path, body, translation, own = {} } = translate(provider, { ...making, model, notes })
  for (const [name, value] of Object.entries(own)) if (!headers.has(name)) headers.set(name, value)
  headers.set('content-type', 'application/json')
  const [bare = '', search] = path.split('?')
  const url = provider.resolve(prefix + bare, search === undefined ? '' : `?${search}`, new Headers())
  const text = JSON.stringify(body)
  const dropped = notes.header !== undefined && { 'cf-aig-dropped-fields': notes.header }
  const served = making.isAlias && { 'cf-aig-provider': slug, 'cf-aig-model': full }
  return {
    provider: slug,
    method: 'POST',
    url,
    headers,
    body: text,
    options: asked.options,
    translation: { ...translation, headers: { ...dropped, ...served } },
  }
}

/** In a list, a provider that cannot do what is asked is passed over, as if it had said so itself. */
async function toStepOrRefusal(target: string, making: Making): Promise<Step> {
  try {
    return await toStep(target, making)
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    const { slug, model } = readTarget(target)
    const { asked, api } = making
    const name = nameOf(api)
    return {
      provider: slug,
      method: 'POST',
      url: new URL(asked.path, 'https://compat'),
      headers: new Headers(),
      body: JSON.stringify({ model }),
      options: asked.options,
      translation: { ...createIdentity({ api: name, stream: false }), headers: {} },
      answer: () => Response.json(toFailureBody(name, error), { status: error.status }),
    }
  }
}

/** `{provider}/{model}`; Workers AI's own models are known by their name. @throws GatewayError bad_format */
function readTarget(target: string): { slug: string; model: string } {
  if (target.startsWith('@')) return { slug: 'workers-ai', model: target }
  const slash = target.indexOf('/')
  if (slash < 1 || slash === target.length - 1) throw new GatewayError('bad_format')
  return { slug: target.slice(0, slash), model: target.slice(slash + 1) }
}

/** The headers that go on, with the client's key, from wherever it came, where the provider looks for it. */
function takeKey(given: Headers, room: Room, provider: Provider | undefined): Headers {
  const headers = forwardable(given)
  let key: string | undefined
  for (const slot of room.providers.credentialHeaders) {
    key ??= headers.get(slot)?.replace(/^(Bearer|Token|Key)\s+/i, '')
    headers.delete(slot)
  }
  if (key) provider?.present(headers, key)
  return headers
}

interface Translated {
  readonly path: string
  readonly body: Json
  readonly translation: Untold
  readonly own?: Readonly<Record<string, string>> | undefined
}

function translate(provider: Provider, making: Making & { model: string; notes: Notes }): Translated {
  const { api, body, model, notes, asked } = making
  const { slug } = provider
  const dialect = provider.dialectOf(model)
  const name = nameOf(api)
  const own = dialect?.speaks?.[name]
  const stream = body.stream === true && name !== 'embeddings'
  const choices = typeof body.n === 'number' ? body.n : 1
  if (own !== undefined)
    return {
      path: own,
      body: dialect?.tidy?.(name, { ...body, model }, notes) ?? { ...body, model },
      translation: createIdentity({ api: name, stream, choices }),
    }
  if (!dialect) throw new Failure(400, `${slug} has no chat API`, 'unsupported_provider', 'model')
  const base = { id: prefixes[name] + asked.requestId, created: Math.floor(Date.now() / 1_000), model }
  if (typeof api === 'string') {
    if (!dialect.embeddings) throw new Failure(400, `${slug} embeds nothing`, 'unsupported_provider', 'model')
    return createEmbedding(dialect.embeddings, { ...body, model }, notes)
  }
  const wanted: Chat = { ...api.request({ ...body, model }, notes), stream }
  const asking = provider.refusesUsage ? { ...wanted, stream_options: undefined } : wanted
  const { path, body: native, headers } = dialect.request(asking, notes)
  const maxTokens = wanted.max_completion_tokens ?? wanted.max_tokens ?? undefined
  return {
    path,
    body: native,
    own: headers,
    translation: createTranslation({ api, dialect, chat: wanted, base: { ...base, maxTokens } }),
  }
}

/** The list of models is the gateway's own. */
function toModels({ options, requestId }: CompatRequest, room: Room): Step {
  return {
    provider: compatSlug,
    method: 'GET',
    url: new URL('https://compat/models'),
    headers: new Headers(),
    body: null,
    options: { ...options, eventId: options.eventId ?? requestId, collectLog: false },
    answer: () => Response.json({ object: 'list', data: room.models() }),
  }
}
