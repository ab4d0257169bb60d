import * as z from 'zod'

/** PROTOCOL.md, "universal.create": start a request. `request` is one universal item, or a list of them. */
const create = z.object({
  type: z.literal('universal.create'),
  request: z.union(
    [z.record(z.string(), z.unknown()), z.array(z.unknown())],
    'an object or a list of objects',
  ),
})

/** A message of a client, understood. */
export interface ClientMessage {
  type: 'universal.create'
  request: Record<string, unknown> | unknown[]
}

/** What reading a frame gave: a message, or why not. */
export type Read =
  | { readonly message: ClientMessage; readonly eventId?: string }
  | { readonly fault: string; readonly eventId?: string }

const eventIdMax = 256

/** Read a text frame. */
export function readMessage(text: string): Read {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { fault: 'The message is not JSON' }
  }
  const eventId = findEventId(value)
  const id = eventId === undefined ? {} : { eventId }
  if (!isObject(value)) return { fault: 'A message is an object with a type' }
  if (value.type !== create.shape.type.value)
    return { fault: 'Unknown type; this socket takes universal.create', ...id }
  const parsed = create.safeParse(value)
  if (parsed.success) return { message: parsed.data, ...id }
  const issue = parsed.error.issues[0]
  return { fault: `${issue?.path.join('.')}: ${issue?.message}`, ...id }
}

/** The event id of a message, where one can be made out: the request's, its first item's, or the message's own. */
function findEventId(value: unknown): string | undefined {
  if (!isObject(value)) return undefined
  const { request } = value
  const holder = Array.isArray(request) ? request[0] : request
  for (const id of [isObject(holder) ? holder.eventId : undefined, value.eventId]) {
    if (typeof id === 'string' && id !== '' && id.length <= eventIdMax) return id
  }
  return undefined
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Metadata of a frame (contract 3.3), `status` added. */
export type Metadata = Readonly<Record<string, string | number>>

/** Parts are spliced in as JSON text, so that a provider's numbers and key order stay as they were. */
export const frames = {
  created: (metadata: Metadata, response?: string): string => frame('universal.created', metadata, response),
  stream: (eventId: string, event: string | undefined, response: string): string =>
    frame(
      'universal.stream',
      { eventId },
      response,
      event === undefined ? '' : `,"event":${JSON.stringify(event)}`,
    ),
  done: (metadata: Metadata, error?: { code: string; message: string }): string =>
    frame('universal.done', metadata, undefined, error ? `,"error":${JSON.stringify(error)}` : ''),
  /** PROTOCOL.md, "Bad JSON, unknown type, bad shape": ends nothing but the message itself. */
  error: (code: string, message: string, eventId?: string): string =>
    JSON.stringify({
      type: 'error',
      error: { code, message },
      metadata: eventId === undefined ? {} : { eventId },
    }),
}

function frame(type: string, metadata: Metadata, response?: string, extra = ''): string {
  const body = response === undefined ? '' : `,"response":${response}`
  return `{"type":"${type}","metadata":${JSON.stringify(metadata)}${extra}${body}}`
}
