import { expect } from 'vitest'
import { quantile } from './bench/stats.ts'

/** From the end of one side to that of the other (PROTOCOL.md). */
const promptMs = 100
/** One slow moment of a busy machine: no proof of anything, so long as it passes. */
const slowMs = 1_000
/** How often a thing is done, so that two slow moments leave nine of ten as they are. */
export const promptTimes = 30

/** What was timed again and again is prompt: nine times of ten within the bound, and never far beyond it. */
export function expectPrompt(times: readonly number[]): void {
  expect(times.length).toBeGreaterThanOrEqual(promptTimes)
  expect(quantile(times, 0.9), `of ${times.map(Math.round).join(', ')} ms`).toBeLessThanOrEqual(promptMs)
  expect(Math.max(...times)).toBeLessThanOrEqual(slowMs)
}
