import type { Target } from '../target.ts'

/** placeholder */
export function universalSuite(_target: Target): void {}
