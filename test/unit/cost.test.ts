import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { EventStreamCodec } from '@smithy/eventstream-codec'
import { describe, expect, test } from 'vitest'
import { prices as list } from '../../adapters/prices.ts'
import { estimateInput } from '../../src/observe/estimate.ts'
import { createMeter } from '../../src/observe/meter.ts'
import { modelOf } from '../../src/observe/model.ts'
import { createFindPrice } from '../../src/observe/prices.ts'
import { createPricing } from '../../src/observe/pricing.ts'
import type { PriceSettings } from '../../src/prices.ts'
import { createProviders } from '../../src/providers/providers.ts'
import { providers as rows } from '../../src/providers/table.ts'
import type { CustomCost, Step, Usage } from '../../src/types.ts'
import { root } from '../launch.ts'

/** One answer as a provider's documents have it, and what it must come to. */
interface Case {
  readonly name: string
  readonly provider: string
  readonly path: string
  readonly model?: string
  readonly request?: object
  readonly customCost?: CustomCost
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly contentType?: string
  /** When the prices are asked for. */
  readonly at?: string
  /** One of these three. */
  readonly body?: unknown
  readonly stream?: string
  readonly frames?: readonly { readonly type: string; readonly data: object }[]
  /** Whether each frame holds its event in base64. */
  readonly packed?: boolean
  /** Dollars for a million tokens; those of the list that the reckoning uses. */
  readonly prices: Readonly<Record<string, number>> | null
  readonly usage: Usage | null
  /** How the cost was reckoned by hand. */
  readonly reckoning: string | null
  readonly cost: number | null
  readonly basis: string
}

const folder = join(root, 'test/fixtures/usage')
const files = readdirSync(folder).map((file): [string, { source: string; cases: Case[] }] => [
  file,
  JSON.parse(readFileSync(join(folder, file), 'utf8')),
])

const own: PriceSettings[] = [
  { model: 'llama-*', per_million: { input: 0.2, output: 0.4, cache_read: 0.02 }, per_request: 0.001 },
]
const providers = createProviders(
  { lab: { base_url: 'http://lab.example/v1', prices: own }, 'workers-ai': { account_id: 'a' }, vllm: {} },
  {},
  rows,
)

function toStep({ provider, path, model, request, customCost }: Case): Step {
  return {
    provider,
    method: 'POST',
    url: providers.get(provider)!.resolve(path, '', new Headers()),
    headers: new Headers({ 'content-type': 'application/json' }),
    body: JSON.stringify(request ?? { ...(model && { model }), messages: [] }),
    options: customCost ? { customCost } : {},
  }
}

const encoder = new TextEncoder()
const codec = new EventStreamCodec(
  (bytes) => new TextDecoder().decode(bytes as Uint8Array),
  (text) => encoder.encode(text),
)

function toBytes({ body, stream, frames, packed }: Case): Uint8Array {
  if (!frames) return encoder.encode(stream ?? JSON.stringify(body))
  const encoded = frames.map(({ type, data }) => {
    const text = JSON.stringify(data)
    const payload = packed ? JSON.stringify({ bytes: Buffer.from(text).toString('base64'), p: 'abc' }) : text
    return codec.encode({
      headers: {
        ':event-type': { type: 'string', value: type },
        ':content-type': { type: 'string', value: 'application/json' },
        ':message-type': { type: 'string', value: 'event' },
      },
      body: encoder.encode(payload),
    })
  })
  return Buffer.concat(encoded)
}

/** What the record of an answer says of it, its bytes cut into pieces of a size. */
function account(one: Case, pieceBytes: number) {
  const step = toStep(one)
  const headers = new Headers({ 'content-type': one.contentType ?? 'application/json', ...one.headers })
  const meter = createMeter(headers, () => estimateInput(step))
  const bytes = toBytes(one)
  for (let at = 0; at < bytes.length; at += pieceBytes) meter.read(bytes.subarray(at, at + pieceBytes))
  const reading = meter.reading()
  const at = one.at === undefined ? undefined : new Date(one.at)
  const pricing = createPricing(list, providers.get, () => at ?? new Date())
  return { reading, cost: pricing.costOf(step, reading, one.status ?? 200) }
}

describe.each(files)('%s', (_, { source, cases }) => {
  test('says where it comes from', () => expect(source.length).toBeGreaterThan(20))

  test.each(cases)('$provider: $name', (one) => {
    for (const pieceBytes of [1, 7, 100, 1_000_000]) {
      const { reading, cost } = account(one, pieceBytes)
      expect(reading.usage ?? null, `in pieces of ${pieceBytes}`).toEqual(one.usage)
      expect(cost).toEqual({ value: one.cost, currency: 'USD', basis: one.basis })
    }
  })

  test.each(cases.filter(({ prices }) => prices))('$provider: $name: by the prices of the list', (one) => {
    const { per_search, per_audio_hour, ...tokens } = one.prices!
    const model = account(one, 1_000).reading.model ?? modelOf(toStep(one).url, JSON.stringify(one))
    const find = createFindPrice([], list, providers.get(one.provider)!.book)
    const price = find(model, one.at === undefined ? new Date() : new Date(one.at))
    const tier = price?.above?.findLast(({ input_tokens }) => one.usage!.inputTokens > input_tokens)
    expect({ ...price, ...(tier ?? price)?.per_million }).toMatchObject(tokens)
    if (per_search !== undefined) expect(price?.per_search).toBe(per_search)
    if (per_audio_hour !== undefined) expect(price?.per_audio_hour).toBe(per_audio_hour)
  })
})

test('there are answers of forty kinds', () => {
  expect(files.flatMap(([, { cases }]) => cases).length).toBeGreaterThanOrEqual(40)
})
