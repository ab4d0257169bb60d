import type { Config } from '../config.ts'
import type { Rooms } from '../rooms.ts'
import type { Cache } from '../store/cache.ts'
import type { Logs } from '../store/logs.ts'
import type { Settings } from '../store/settings.ts'
import type { Runtime } from '../types.ts'

/** What the API works on. */
export interface Desk {
  readonly config: Config
  readonly rooms: Rooms
  readonly cache: Cache
  readonly logs: Logs | undefined
  readonly settings: Settings | undefined
  readonly report: Runtime['report']
  /** Milliseconds since the epoch: what the configuration declares was made then. */
  readonly startedAt: number
  /** Write what waits to be recorded. */
  flush(): Promise<void>
}

/** Makes the API, for any request below `/client/`. It never rejects. */
export type CreateManagement = (desk: Desk) => (request: Request) => Promise<Response>
