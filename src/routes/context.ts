import type { Config, GatewaySettings } from '../config.ts'
import type { Pricing } from '../observe/pricing.ts'
import type { RelayHandler } from '../pipeline/relayed.ts'
import type { PlainRequest } from '../plain.ts'
import type { Providers } from '../providers/providers.ts'
import type { Home } from '../runs/home.ts'
import type { Call, Handler, Options } from '../types.ts'
import type { Gate } from './authenticate.ts'
import type { Target } from './target.ts'

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

/** A request in one of the APIs of `compat`. */
export interface CompatRequest {
  /** Behind `compat/`; a leading `v1/` is left out, as SDKs differ. */
  readonly path: string
  readonly method: string
  /** Parsed from JSON already. */
  readonly body: unknown
  /** Without credentials of the gateway. */
  readonly headers: Headers
  readonly options: Options
  readonly requestId: string
}

/** One API for every model: the pseudo provider `compat`, a part of its own. */
export interface Compat {
  /** Any request to `/v1/{account}/{gateway}/compat/…`. Rejects with a `GatewayError`. */
  read(request: PlainRequest, target: Target, requestId: string, room: Room): Promise<Call>
  /** The steps of a request whose model names a provider, or an alias. Rejects with a `GatewayError`. */
  toSteps(asked: CompatRequest, room: Room): Promise<Call['steps']>
  /** What `compat/models` lists. */
  listModels(
    config: Pick<Config, 'aliases' | 'providers'>,
    providers: Providers,
    pricing: Pick<Pricing, 'rulesOf'>,
  ): () => readonly ListedModel[]
}

/** The pseudo provider whose model names a provider. */
export const compatSlug = 'compat'

/** One gateway as the routes know it; another one once its settings change. */
export interface Room {
  readonly settings: GatewaySettings
  readonly gate: Gate
  readonly providers: Providers
  readonly run: Handler
  readonly compat: Compat | undefined
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
  readonly request: PlainRequest
  readonly requestId: string
  readonly room: Room
  readonly home: Home
}
