/** The members of the Workers platform that are used here. */
declare module 'cloudflare:workers' {
  export interface DurableStorage {
    readonly sql: {
      exec<Row extends object = object>(
        query: string,
        ...values: readonly (string | number | null | Uint8Array)[]
      ): { toArray(): Row[] }
    }
    transactionSync<T>(closure: () => T): T
    setAlarm(at: number): Promise<void>
    deleteAlarm(): Promise<void>
    deleteAll(): Promise<void>
  }
  export interface DurableState {
    readonly id: { readonly name?: string }
    readonly storage: DurableStorage
    getWebSockets(): WebSocket[]
    waitUntil(work: Promise<unknown>): void
  }
  /** Keeps work of the request that is being served going after its response. */
  export function waitUntil(work: Promise<unknown>): void
  export class DurableObject<Env = unknown> {
    constructor(ctx: DurableState, env: Env)
    protected readonly ctx: DurableState
    protected readonly env: Env
  }
}
