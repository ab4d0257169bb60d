import type { Fetch } from '../../src/client/index.ts'
import type { Control } from '../upstream/control.ts'
import type { Entry } from '../upstream/ledger.ts'

/** Through what an SDK reaches the emulator, and where the emulator tells what it saw. */
export interface Way {
  /** Base URL of a provider. */
  url(provider: string): string
  readonly fetch: Fetch
  /** URL of the emulator itself. */
  readonly upstream: string
  /** A label that no other flow has, for the ledger. */
  newKey(): string
}

/** What one SDK does for its users; rejects where that fails. Runs in any runtime, a page included. */
export interface Flow {
  readonly name: string
  run(way: Way): Promise<void>
}

const cancelMs = 100
export const model = 'm'
export const user = (content: string): [{ role: 'user'; content: string }] => [{ role: 'user', content }]
export const said = 'You said: hello'

export function check(holds: boolean, what: unknown): void {
  if (!holds) throw new Error(`not as expected: ${JSON.stringify(what)}`)
}

/** What a call rejects with. */
export async function faultOf(
  work: PromiseLike<unknown>,
): Promise<{ status?: number; name: string; statusCode?: number }> {
  try {
    await work
  } catch (error) {
    return error as Error
  }
  throw new Error('did not fail')
}

/** Headers with which the emulator does as it is told. */
export const told = (control: Control): Record<string, string> => ({ 'x-upstream': JSON.stringify(control) })

/** The provider's connection has closed within 100 ms of `left`. */
export async function checkStopped({ upstream }: Way, key: string, left: number): Promise<void> {
  const response = await fetch(`${upstream}/ledger/closed?key=${key}&timeout=5000`)
  const entry = (await response.json()) as Entry | null
  check(entry?.how === 'client_closed' && (entry.closedAt ?? Number.NaN) - left <= cancelMs, entry)
}

export const now = (): number => performance.timeOrigin + performance.now()
export const endless = (key: string): string => `emulate?interval=20&events=500&key=${key}`

export const call = { name: 'weather', arguments: '{"city":"Oslo"}' }
export const json = { 'content-type': 'application/json' }
export const sse = { 'content-type': 'text/event-stream' }
export const streamOf = (events: readonly object[], named = false): string =>
  events
    .map(
      (data) => `${named && 'type' in data ? `event: ${data.type}\n` : ''}data: ${JSON.stringify(data)}\n\n`,
    )
    .join('')
