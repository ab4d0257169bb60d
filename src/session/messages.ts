import * as z from 'zod/mini'

/** The item or items of a create; read where the request is turned into a call. */
export type ClientRequest = Record<string, unknown> | unknown[]

/** PROTOCOL.md, "universal.create". */
export interface Create {
  type: 'universal.create'
  request: ClientRequest
}
/** PROTOCOL.md, "universal.cancel". */
export interface Cancel {
  type: 'universal.cancel'
  eventId?: string | undefined
  runId?: string | undefined
}
/** PROTOCOL.md, "universal.resume". */
export interface Resume {
  type: 'universal.resume'
  eventId?: string | undefined
  runId?: string | undefined
  from: number
  raw?: boolean | undefined
}
/** PROTOCOL.md, "universal.ack". */
export interface Ack {
  type: 'universal.ack'
  eventId: string
  seq: number
}
/** PROTOCOL.md, "session.update". */
export interface Update {
  type: 'session.update'
  headers: Record<string, string | null>
}
/** PROTOCOL.md, "session.ping". */
export interface Ping {
  type: 'session.ping'
  id?: string | undefined
}

/** A message of a client, understood. */
export type ClientMessage = Create | Cancel | Resume | Ack | Update | Ping

const eventIdMax = 256
const eventId = z.string().check(z.minLength(1), z.maxLength(eventIdMax))
const runIdMax = 128
const runId = z.string().check(z.minLength(1), z.maxLength(runIdMax))
const request = z.union(
  [z.record(z.string(), z.unknown()), z.array(z.unknown())],
  'an object or a list of objects',
)
const named = { eventId: z.optional(eventId), runId: z.optional(runId) }

const schemas: { readonly [M in ClientMessage as M['type']]: z.ZodMiniType<M> } = {
  'universal.create': z.object({ type: z.literal('universal.create'), request }),
  'universal.cancel': z.object({ type: z.literal('universal.cancel'), ...named }),
  'universal.resume': z.object({
    type: z.literal('universal.resume'),
    ...named,
    from: z._default(z.int().check(z.minimum(0)), 0),
    raw: z.optional(z.boolean()),
  }),
  'universal.ack': z.object({ type: z.literal('universal.ack'), eventId, seq: z.int().check(z.minimum(-1)) }),
  'session.update': z.object({
    type: z.literal('session.update'),
    headers: z.record(z.string(), z.nullable(z.string())),
  }),
  'session.ping': z.object({
    type: z.literal('session.ping'),
    id: z.optional(z.string().check(z.maxLength(256))),
  }),
}

const types: { readonly [W in Wire]: readonly string[] } = {
  base: ['universal.create'],
  'trunkline.v1': Object.keys(schemas),
}

/** The wires a socket may speak. */
export type Wire = 'base' | 'trunkline.v1'

/** The request a fault belongs to. */
export interface Named {
  readonly eventId?: string
  readonly runId?: string
}

/** What reading a frame gave: a message, or why not. */
export type Read = ({ readonly message: ClientMessage } | { readonly fault: string }) & {
  readonly named: Named
}

/** Read a text frame. */
export function readMessage(text: string, wire: Wire): Read {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { fault: 'The message is not JSON', named: {} }
  }
  const named = nameOf(value, wire)
  if (!isObject(value)) return { fault: 'A message is an object with a type', named }
  const schema = schemaOf(value.type, wire)
  if (!schema) return { fault: `Unknown type; this socket takes ${types[wire].join(', ')}`, named }
  const parsed = schema.safeParse(value)
  if (parsed.success && hasBadEventId(value)) return { fault: badEventId, named }
  if (parsed.success) return { message: parsed.data, named }
  const issue = parsed.error.issues[0]
  return { fault: `${issue?.path.join('.')}: ${issue?.message}`, named }
}

/** An error that names an event ends its request, so only what begins a reading is named by it. */
function nameOf(value: unknown, wire: Wire): Named {
  if (!isObject(value)) return {}
  const eventId = findEventId(value)
  const runId = typeof value.runId === 'string' ? value.runId.slice(0, runIdMax) : undefined
  const begins = wire === 'base' || value.type === 'universal.create' || value.type === 'universal.resume'
  return {
    ...(begins && eventId !== undefined && { eventId }),
    ...(runId !== undefined && { runId }),
  }
}

function schemaOf(type: unknown, wire: Wire): z.ZodMiniType<ClientMessage> | undefined {
  return typeof type === 'string' && types[wire].includes(type)
    ? schemas[type as ClientMessage['type']]
    : undefined
}

const isEventId = (id: unknown): id is string =>
  typeof id === 'string' && id !== '' && id.length <= eventIdMax

/** The event id of a message, where one can be made out: the request's, its first item's, or the message's own. */
const findEventId = (value: Record<string, unknown>): string | undefined =>
  [firstItem(value.request)?.eventId, value.eventId].find(isEventId)

const badEventId = `eventId: a text of 1 to ${eventIdMax} characters`

/** A request that names itself by what is no name would not know its answer by another. */
const hasBadEventId = ({ request, eventId }: Record<string, unknown>): boolean =>
  [firstItem(request)?.eventId, eventId].some((id) => id !== undefined && id !== null && !isEventId(id))

/** What a create says of its run: its only or first item. */
export function firstItem(value: unknown): Record<string, unknown> | undefined {
  const first: unknown = Array.isArray(value) ? value[0] : value
  return isObject(first) ? first : undefined
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** How a run of `trunkline.v1` is to be read and kept (PROTOCOL.md, "universal.create"). */
export interface RunWishes {
  onDisconnect: 'stop' | 'detach'
  raw: boolean
  /** First event to read. */
  from: number
  /** Its client will ack: the window holds from the first event on. */
  acks: boolean
}

const runWishes: z.ZodMiniType<RunWishes> = z.object({
  onDisconnect: z._default(z.enum(['stop', 'detach']), 'detach'),
  raw: z._default(z.boolean(), false),
  from: z._default(z.int().check(z.minimum(0)), 0),
  acks: z._default(z.boolean(), false),
})

/** Read them from a create, or tell what is wrong. */
export function readWishes(given: ClientRequest): RunWishes | string {
  const parsed = runWishes.safeParse(firstItem(given) ?? {})
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  return `${issue?.path.join('.')}: ${issue?.message}`
}
