import type { Entry } from './upstream/ledger.ts'

/** From a client's leaving to the end of the provider's connection, in milliseconds (PROTOCOL.md, "Closing"). */
export const cancelMs = 100

/** Whoever knows where the emulator is. */
interface Place {
  readonly upstream: string
}

/** The time, as the ledger counts it; to be asked just before what is timed. */
export async function clock({ upstream }: Place): Promise<number> {
  return (await (await fetch(`${upstream}/ledger/now`)).json()) as number
}

/** Milliseconds, by the ledger's clock, from `left` to the end of the provider's connection. @throws Error */
export async function stoppedAfter({ upstream }: Place, key: string, left: number): Promise<number> {
  const response = await fetch(`${upstream}/ledger/closed?key=${key}&timeout=5000`)
  const entry = (await response.json()) as Entry | null
  const ms = (entry?.closedAt ?? Number.NaN) - left
  if (entry?.how === 'client_closed' && ms >= 0) return ms
  throw new Error(entry ? `it ended otherwise: ${JSON.stringify(entry)}` : 'it still ran after 5 s')
}

/**
 * Milliseconds that something takes: those of the first try, or, where that took longer than it may, of the middle one
 * of three, so that one slow moment of the machine does not decide.
 */
export async function timeOf(attempt: () => Promise<number>, mostMs: number = cancelMs): Promise<number> {
  const first = await attempt()
  if (first <= mostMs) return first
  const all = [first, await attempt(), await attempt()]
  return all.toSorted((one, other) => one - other)[1] ?? Number.NaN
}
