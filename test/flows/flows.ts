import type { Fetch } from '../../src/client/index.ts'
import type { Control } from '../upstream/control.ts'
import { aiFlows } from './ai.ts'
import { anthropicFlows } from './anthropic.ts'
import { aiFlowsOf } from './compat/ai.ts'
import { openaiFlowsOf } from './compat/openai.ts'
import { wires } from './compat/wires.ts'
import { fetchFlows } from './fetch.ts'
import { googleFlows } from './google.ts'
import { check, type Flow, json, model, told, user, type Way } from './kit.ts'
import { openaiFlows } from './openai.ts'

/** Loops of tools through `compat`, to wires that are not the client's own. */
const loops = wires
  .filter(({ name }) => /^(anthropic|gemini|bedrock)$/.test(name))
  .flatMap((wire) => [...openaiFlowsOf(wire), ...aiFlowsOf(wire)])
  .filter(({ name }) => name.includes('loop'))

/** Chat, streams, tool calls, aborts and errors of the official SDKs. */
export const flows: readonly Flow[] = [
  ...loops,
  ...fetchFlows,
  ...openaiFlows,
  ...anthropicFlows,
  ...aiFlows,
  ...googleFlows,
]

/** Streams of 50 events at once, each byte for byte what the emulator itself says. */
export async function runStreams({ url, fetch: through, upstream }: Way, count: number): Promise<void> {
  const control = { events: 50, comments: true }
  const ask = (send: Fetch, base: string, text: string, more: Control) =>
    send(`${base}/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ model, stream: true, messages: user(text) }),
      headers: { ...json, ...told({ ...control, ...more }) },
    }).then((response) => response.text())
  const texts = Array.from({ length: count }, (_, index) => `stream ${index} é`)
  await Promise.all(
    texts.map(async (text) => {
      const got = await ask(through, url('openai'), text, { interval: 20 })
      const expected = await ask(fetch, `${upstream}/openai`, text, {})
      check(got === expected, `${text}: ${got.length} of ${expected.length}`)
    }),
  )
}
