/** The members of the Workers platform that are used here. */
declare module 'cloudflare:workers' {
  export interface DurableStorage {
    get<T>(key: string): Promise<T | undefined>
    put(key: string, value: unknown): Promise<void>
    deleteAll(): Promise<void>
  }
  export interface DurableState {
    readonly storage: DurableStorage
    getWebSockets(): WebSocket[]
  }
  export class DurableObject<Env = unknown> {
    constructor(ctx: DurableState, env: Env)
    protected readonly ctx: DurableState
    protected readonly env: Env
  }
}
