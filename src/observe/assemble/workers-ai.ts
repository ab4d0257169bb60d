import type { Json } from '../usage.ts'

/** Workers AI's text generation, in its envelope. */
export function workersAi(events: readonly Json[]): Json {
  const rest: Record<string, unknown> = {}
  let response = ''
  for (const { response: piece, p: _, ...own } of events) {
    if (typeof piece === 'string') response += piece
    Object.assign(rest, own)
  }
  return { result: { response, ...rest }, success: true, errors: [], messages: [] }
}
