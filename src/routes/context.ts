import type { GatewaySettings } from '../config.ts'
import type { Providers } from '../providers/providers.ts'
import type { Handler, Options } from '../types.ts'
import type { Gate } from './authenticate.ts'

/** One gateway as the routes know it; made once, at start. */
export interface Room {
  readonly settings: GatewaySettings
  readonly gate: Gate
  readonly providers: Providers
  readonly run: Handler
  /** The gateway's own defaults of a step's settings. */
  readonly defaults: Options
}
