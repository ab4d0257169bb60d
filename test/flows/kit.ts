import type { Fetch } from '../../src/client/index.ts'
import { cancelMs, clock, stoppedAfter, timeOf } from '../prompt.ts'
import type { Control } from '../upstream/control.ts'

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

/** `leave` asks under a key, and leaves; it returns when. The provider's connection has closed 100 ms later. */
export async function checkStops(way: Way, leave: (key: string) => Promise<number>): Promise<void> {
  const ms = await timeOf(async () => {
    const key = way.newKey()
    return stoppedAfter(way, key, await leave(key))
  })
  check(ms <= cancelMs, ms)
}

/** Take the first of a stream, and leave it, by the end of its loop or by `abort`; returns when. */
export async function leaveStream(
  way: Way,
  stream: AsyncIterable<unknown>,
  abort: () => void = () => undefined,
): Promise<number> {
  let left = Number.NaN
  for await (const _ of stream) {
    left = await clock(way)
    abort()
    break
  }
  return left
}
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
