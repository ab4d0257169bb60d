import type { Target } from '../target.ts'

/** placeholder */
export function clientsSuite(_target: Target): void {}
