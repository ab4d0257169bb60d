import type { Target } from '../target.ts'

/** placeholder */
export function edgeSuite(_target: Target): void {}
