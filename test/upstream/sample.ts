import { toFrame } from './bedrock.ts'
import type { Say } from './model.ts'
import { type Wire, wireOf } from './wires.ts'

/** Where each dialect's wire is found in the emulator. */
const paths: Readonly<Record<string, string>> = {
  openai: '/chat/completions',
  anthropic: '/messages',
  gemini: '/models/m:streamGenerateContent',
  bedrock: '/model/m/converse-stream',
  cohere: '/v2/chat',
  'workers-ai': '/run/@cf/m',
  'openai-responses': '/responses',
}

/** Whether the emulator speaks a dialect: then it can be made to say anything. */
export const isSpoken = (dialect: string): boolean => dialect in paths

/** The whole answer of a model that says this. */
export const wholeOf = (dialect: string, say: Say): unknown => wireFor(dialect).single(say, {})

/** The stream of it: one piece an event. */
export function streamOf(dialect: string, say: Say): readonly Uint8Array[] {
  const wire = wireFor(dialect)
  const events = wire.stream(say, {})
  if (wire.framing === 'aws') return events.map(toFrame)
  const texts = events.map(
    ({ event, data }) => `${event ? `event: ${event}\n` : ''}data: ${JSON.stringify(data)}\n\n`,
  )
  return [...texts, ...(wire.done ? ['data: [DONE]\n\n'] : [])].map((text) => new TextEncoder().encode(text))
}

function wireFor(dialect: string): Wire {
  const wire = wireOf(paths[dialect] ?? '')
  if (!wire) throw new Error(`the emulator has no wire of ${dialect}`)
  return wire
}
