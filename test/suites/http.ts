import type { Target } from '../target.ts'

/** placeholder */
export function httpSuite(_target: Target): void {}
