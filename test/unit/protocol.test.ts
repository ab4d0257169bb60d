import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { sessionDefaults } from '../../src/limits.ts'
import { readMessage, type Wire } from '../../src/session/messages.ts'
import type { GatewayFrame } from '../client.ts'
import { root } from '../launch.ts'
import { type Client, create, createKit, isType, replyOf } from './session-kit.ts'

/** An example of the document. */
interface Example {
  readonly heading: string
  readonly wire: Wire
  readonly message: GatewayFrame
}

/** Every block of JSON, under its heading and in its part. */
function readExamples(): Example[] {
  const document = readFileSync(join(root, 'src/session/PROTOCOL.md'), 'utf8')
  const own = document.indexOf('\n# trunkline.v1\n')
  return [...document.matchAll(/```json\n(.*?)```/gs)].map(({ index, 1: text = '' }) => {
    const heading =
      document
        .slice(0, index)
        .match(/^#+ .*$/gm)
        ?.at(-1) ?? ''
    return { heading, wire: index < own ? 'base' : 'trunkline.v1', message: JSON.parse(text) as GatewayFrame }
  })
}

const clients = /^(universal\.(create|cancel|resume|ack)|session\.(update|ping))$/
const examples = readExamples()
const ofClients = examples.filter(({ message }) => clients.test(message.type))
const ofGateway = examples.filter(({ message }) => !clients.test(message.type))

/** The names and types of all that is in a message. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shapeOf)
  if (typeof value !== 'object' || value === null) return typeof value
  const fields = Object.entries(value).map(([name, field]): [string, unknown] => [name, shapeOf(field)])
  return Object.fromEntries(fields.sort(([one], [other]) => (one < other ? -1 : 1)))
}

/** Messages of a gateway, as many kinds as there are. */
async function saidBy(wire: Wire): Promise<GatewayFrame[]> {
  const kit = createKit()
  const clients: Client[] = []
  const open = (id?: string) => {
    const client = kit.connect({ wire, ...(id !== undefined && { id }) })
    clients.push(client)
    return client
  }
  const usage = { inputTokens: 1, outputTokens: 1, basis: 'reported' } as const
  const cost = { value: 1, currency: 'USD', basis: 'reported' } as const
  const watch = { read: () => undefined, account: () => ({ usage, cost }), end: () => undefined }
  const answers: Record<string, () => ReturnType<typeof replyOf>> = {
    single: () => replyOf(['{"id":"x"}'], 'application/json'),
    stream: () => ({ ...replyOf(['event: a\ndata: {"type":"b"}\n\n'], 'text/event-stream'), watch }),
    broken: () => replyOf(['data: {"type"'], 'text/event-stream'),
  }
  kit.answer = async ({ eventId }) => answers[eventId.split('-')[0] ?? '']!()
  const client = open()
  const ask = async (eventId: string, more: object = {}) => {
    client.send(create(eventId, more))
    const isBase = wire === 'base' && eventId === 'single'
    await client.next(isType(isBase ? 'universal.created' : 'universal.done', eventId))
  }
  await ask('single')
  await ask('stream')
  await ask('broken')
  client.send({ type: 'nonsense' })
  if (wire === 'base') return client.frames
  await ask('stream-raw', { raw: true })
  client.send({ type: 'session.ping', id: 'p' })
  client.send({ type: 'session.update', headers: {} })
  client.leave()
  open(client.id)
  const busy = createKit({ queued: 0 }).connect()
  busy.send(create('none'))
  clients.push(busy)
  await kit.home.drain(0)
  const late = open(client.id)
  late.send({ type: 'universal.ping' })
  return clients.flatMap(({ frames }) => frames)
}

test('the document has an example of each message', () => {
  const types = new Set(examples.map(({ wire, message }) => `${wire} ${message.type}`))
  const base = ['create', 'created', 'stream', 'done'].map((name) => `base universal.${name}`)
  const own = ['create', 'cancel', 'resume', 'ack', 'created', 'stream', 'done', 'error']
  const session = ['ready', 'update', 'updated', 'ping', 'pong', 'goaway']
  expect([...types].sort()).toEqual(
    [
      ...base,
      'base error',
      ...own.map((name) => `trunkline.v1 universal.${name}`),
      ...session.map((name) => `trunkline.v1 session.${name}`),
    ].sort(),
  )
})

test.each(ofClients)('a gateway understands the example of $heading ($wire)', ({ wire, message }) => {
  expect(readMessage(JSON.stringify(message), wire)).toMatchObject({ message: { type: message.type } })
})

test.each(ofGateway)('a gateway says the example of $heading ($wire)', async ({ wire, message }) => {
  const said = (await saidBy(wire)).filter(({ type }) => type === message.type)
  expect(said.map(shapeOf)).toContainEqual(shapeOf(message))
})

test('the limits of the example of session.ready are the defaults', () => {
  const ready = ofGateway.find(({ message }) => message.type === 'session.ready')?.message
  const { inFlight, queued, windowBytes, runBytes, detachSeconds, heartbeatSeconds } = sessionDefaults
  expect(ready).toMatchObject({
    limits: { inFlight, queued, windowBytes, runBytes },
    detachSeconds,
    heartbeatSeconds,
  })
})
