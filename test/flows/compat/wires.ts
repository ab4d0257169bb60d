import type { Control } from '../../upstream/control.ts'

/** A dialect as a client of `compat` meets it. */
export interface CompatWire {
  readonly name: string
  /** What stands before the model. */
  readonly provider: string
  readonly model: string
  /** What its provider has no way to do, and is refused. */
  readonly cannot?: readonly ('thinking' | 'forcing')[]
}

/** One model of every dialect. */
export const wires: readonly CompatWire[] = [
  { name: 'openai', provider: 'openai', model: 'gpt-5' },
  { name: 'anthropic', provider: 'anthropic', model: 'claude-sonnet-5' },
  { name: 'anthropic, by budget', provider: 'anthropic', model: 'claude-haiku-4-5' },
  { name: 'gemini', provider: 'google-ai-studio', model: 'gemini-3-pro' },
  { name: 'bedrock', provider: 'aws-bedrock', model: 'us.anthropic.claude-sonnet-5' },
  { name: 'cohere', provider: 'cohere', model: 'command-a-reasoning-08-2025' },
  { name: 'workers-ai', provider: 'workers-ai', model: '@cf/meta/llama-4', cannot: ['thinking', 'forcing'] },
  { name: 'openai-responses', provider: 'openai', model: 'gpt-5-pro' },
]

/** As `compat` spells it. */
export const modelOf = ({ provider, model }: CompatWire): string => `${provider}/${model}`

/** The same, asking the emulator for something. */
export const told = (control: Control): Record<string, string> => ({ 'x-upstream': JSON.stringify(control) })

/** A small picture. */
export const png =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
/** What both tools of a loop answer; the emulator tells it at the end. */
export const results = { weather: '21 degrees', clock: 'noon' } as const
export const schemaOf = (member: string): Record<string, unknown> => ({
  type: 'object',
  properties: { [member]: { type: 'string' } },
  required: [member],
  additionalProperties: false,
})
