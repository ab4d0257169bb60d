import { expect } from 'vitest'
import { quantile } from './bench/stats.ts'

/** From the end of one side to that of the other (PROTOCOL.md). */
const promptMs = 100
/** One slow moment of a busy machine is no proof of anything, if it passes so soon. */
export const slowMs = 1_000
/** How often a thing is timed, so that two slow moments leave nine of ten as they are. */
export const promptTimes = 30
/** As often a thing is tried that is long to set up. */
const triesMax = 3

/** What was timed again and again is prompt: nine times of ten within the bound, and never far beyond it. */
export function expectPrompt(times: readonly number[]): void {
  expect(times.length).toBeGreaterThanOrEqual(promptTimes)
  expect(quantile(times, 0.9), `of ${times.map(Math.round).join(', ')} ms`).toBeLessThanOrEqual(promptMs)
  expect(Math.max(...times)).toBeLessThanOrEqual(slowMs)
}

/** What took this long is prompt, or is on trial again: it must be so in one of three tries, and never far from it. */
export async function promptly(attempt: () => Promise<number>): Promise<void> {
  const times: number[] = []
  do {
    times.push(await attempt())
    expect(times.at(-1)).toBeLessThanOrEqual(slowMs)
  } while (times.at(-1)! > promptMs && times.length < triesMax)
  expect(Math.min(...times), `of ${times.map(Math.round).join(', ')} ms`).toBeLessThanOrEqual(promptMs)
}
