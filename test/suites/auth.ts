import type { Target } from '../target.ts'

/** placeholder */
export function authSuite(_target: Target): void {}
