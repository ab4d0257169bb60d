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

/** Tries until most of them were in time. */
const triesMax = 9
/** After a try that was late, in milliseconds: what made it late may pass. */
const restMs = 250

/**
 * Milliseconds that something takes: those of the first try, or, where that took longer than it may, the median of as
 * many as it takes until most were in time, so that one slow moment of the machine does not decide.
 */
export async function timeOf(attempt: () => Promise<number>, mostMs: number = cancelMs): Promise<number> {
  const all = [await attempt()]
  const late = () => all.filter((ms) => !(ms <= mostMs)).length
  while (2 * late() >= all.length && all.length < triesMax) {
    await new Promise((wake) => setTimeout(wake, restMs))
    all.push(await attempt())
  }
  return all.toSorted((one, other) => one - other)[all.length >> 1] ?? Number.NaN
}
