import type { GatewaySettings } from '../config.ts'
import type { RelayHandler } from '../pipeline/relayed.ts'
import type { Providers } from '../providers/providers.ts'
import type { Home } from '../runs/home.ts'
import type { Handler, Options } from '../types.ts'
import type { Gate } from './authenticate.ts'

/** A model as `compat/models` lists it (contract 1.1). */
export interface ListedModel {
  readonly id: string
  readonly object: 'model'
  readonly created: number
  readonly owned_by: string
  /** USD per token, where they are known. */
  readonly cost_in?: number
  readonly cost_out?: number
}

/** One gateway as the routes know it; another one once its settings change. */
export interface Room {
  readonly settings: GatewaySettings
  readonly gate: Gate
  readonly providers: Providers
  readonly run: Handler
  readonly relay: RelayHandler
  /** Names of models of the operator's own, and what they stand for. */
  readonly aliases: ReadonlyMap<string, readonly string[]>
  /** What `compat/models` lists. */
  readonly models: () => readonly ListedModel[]
  /** The gateway's own defaults of a step's settings. */
  readonly defaults: Options
}

/** One HTTP request, and where it is answered. */
export interface Asking {
  readonly request: Request
  readonly requestId: string
  readonly room: Room
  readonly home: Home
}
