import { type Body, idOf, toWords } from './wire.ts'

/** A tool that may be called. */
export interface Tool {
  readonly name: string
  readonly schema: unknown
}

/** What a request asks for, whichever its wire. */
export interface Asked {
  readonly tools?: readonly Tool[]
  readonly choice?: 'auto' | 'none' | 'any' | { readonly name: string }
  /** Whether more than one tool may be called at once; default true. */
  readonly parallel?: boolean
  /** How often tools have been called since the user spoke last, and what they said. */
  readonly rounds?: number
  readonly results?: readonly string[]
  /** JSON is asked for; of a schema, where there is one. */
  readonly json?: boolean
  readonly schema?: unknown
  readonly thinks?: boolean
  /** Media types of the images, audio and files that came along. */
  readonly media?: readonly string[]
}

/** A call of a tool. */
export interface Call {
  readonly id: string
  readonly name: string
  readonly args: Body
}

/** What the emulated model says. */
export interface Say {
  readonly words: readonly string[]
  readonly calls: readonly Call[]
  readonly thought: string
  readonly model: string
}

/** A request that a provider would refuse. */
export class Wrong extends Error {}

/** What a thought is signed with: the same for the same thought. */
export const signatureOf = (thought: string): string => Buffer.from(`signed:${thought}`).toString('base64')

/** Whether a signature is one of ours. */
export const isSigned = (signature: unknown): boolean =>
  Buffer.from(String(signature), 'base64').toString().startsWith('signed:')

/**
 * The emulated model: it calls one tool of those it has after another, or all at once when told to do it `together`,
 * then tells what they said; it writes samples of schemas, and names the media that it was shown.
 */
export function toSay(asked: Asked, text: string, model: string, count: number | undefined): Say {
  const { thinks, results = [], media = [], json, schema } = asked
  const thought = thinks ? `Let me think about it: ${text.slice(-40)}` : ''
  const calls = toCalls(asked, text, model)
  if (calls.length > 0) return { words: [], calls, thought, model }
  const seen = media.length > 0 ? ` I see ${media.join(', ')}.` : ''
  const plain = results.length > 0 ? `The tools said: ${results.join('; ')}` : text + seen
  const said = json ? JSON.stringify(schema ? toSample(schema) : { said: plain }) : plain
  return { words: toWords(said, count), calls, thought, model }
}

function toCalls(asked: Asked, text: string, model: string): Call[] {
  const { tools = [], choice = 'auto', parallel = true, rounds = 0, results = [] } = asked
  if (choice === 'none') return []
  const named = typeof choice === 'object' ? tools.filter(({ name }) => name === choice.name) : tools
  if (rounds > 0 && results.length >= named.length) return []
  const isTogether = parallel && rounds === 0 && /\btogether\b/.test(text)
  const wanted = isTogether ? named : named.slice(rounds, rounds + 1)
  return wanted.map(({ name, schema }, index) => {
    const args = toSample(schema) as Body // schemas of tools are of objects
    return { id: idOf('call_', [name, text, String(rounds), String(index)], model), name, args }
  })
}

/** A value that fits a JSON schema. */
export function toSample(schema: unknown): unknown {
  const { type, properties, items, anyOf, ...rest } = (schema ?? {}) as Body
  const { const: only, enum: some } = rest as { const?: unknown; enum?: unknown[] }
  if (only !== undefined) return only
  if (some) return some[0]
  if (Array.isArray(anyOf)) return toSample(anyOf[0])
  switch (Array.isArray(type) ? type[0] : type) {
    case 'object': {
      const members = Object.entries((properties ?? {}) as Body)
      return Object.fromEntries(members.map(([name, member]) => [name, toSample(member)]))
    }
    case 'array':
      return [toSample(items)]
    case 'number':
    case 'integer':
      return 7
    case 'boolean':
      return true
    case 'null':
      return null
    default:
      return type === undefined ? {} : 'Rome'
  }
}

/** The media type of a `data:` URL, or of what an address ends with. */
export function mediaOf(url: unknown): string {
  const text = String(url)
  const [, type] = /^data:([^;,]+)/.exec(text) ?? []
  return type ?? `something at ${text}`
}

/** Lists of objects, whatever a client sent. */
export const listOf = (value: unknown): readonly Body[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === 'object' && one !== null) : []

/** @throws Wrong for members that the provider does not know */
export function checkNames(body: Body, known: string, message: (name: string) => string): void {
  const names = new Set(known.split(' '))
  const unknown = Object.keys(body).find((name) => !names.has(name))
  if (unknown !== undefined) throw new Wrong(message(unknown))
}

/** @throws Wrong where calls and results do not fit one another */
export function checkPairs(calls: readonly unknown[], results: readonly unknown[], message: string): void {
  const missing = calls.filter((id) => !results.includes(id))
  const extra = results.filter((id) => !calls.includes(id))
  if (missing.length + extra.length > 0) throw new Wrong(`${message} (${[...missing, ...extra].join(', ')})`)
}
