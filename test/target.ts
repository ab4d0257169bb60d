import type { RuntimeName } from './launch.ts'

/** A gateway under test, and the emulator behind it. */
export interface Target {
  readonly runtime: RuntimeName
  readonly url: string
  readonly ws: string
  readonly upstream: string
}
