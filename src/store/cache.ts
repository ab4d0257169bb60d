/** An answer as it is kept. */
export interface CacheEntry {
  readonly status: number
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Uint8Array<ArrayBuffer>
  /** Of each event of a stream: its end in the body, and milliseconds from the first. Empty for a single answer. */
  readonly events: readonly (readonly [end: number, afterMs: number])[]
  /** Index of the step that answered. */
  readonly step: number
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

/** Answers by digest of their request. Every method may reject when the store cannot be reached. */
export interface Cache {
  /** Undefined for what is not kept, or is no longer fresh. */
  get(key: string): Promise<CacheEntry | undefined>
  put(key: string, gateway: string, entry: CacheEntry): Promise<void>
  /** Drop all of a gateway. */
  clear(gateway: string): Promise<void>
}

/** Bytes of entries in memory, a quarter of what a Worker has; past it the longest unused go. */
const memoryBytes = 33_554_432
/** Of an entry, beside its body. */
const entryBytes = 1_024
/** Of one of its events. */
const eventBytes = 64

interface Held {
  readonly gateway: string
  readonly entry: CacheEntry
}

/** What an entry takes in memory, in bytes, or so. */
export const sizeOf = ({ body, events }: CacheEntry): number =>
  body.byteLength + events.length * eventBytes + entryBytes

/**
 * A cache in memory, alone or in front of another. What the other one has is not looked for twice while it stays in
 * memory; a `clear` elsewhere is not noticed, so what must be forgotten everywhere gets other keys.
 */
export function createMemoryCache(behind?: Cache, now: () => number = Date.now): Cache {
  /** Oldest use first. */
  const held = new Map<string, Held>()
  let bytes = 0

  const drop = (key: string): void => {
    const one = held.get(key)
    if (one && held.delete(key)) bytes -= sizeOf(one.entry)
  }
  const hold = (key: string, one: Held): void => {
    drop(key)
    held.set(key, one)
    bytes += sizeOf(one.entry)
    for (const oldest of held.keys()) {
      if (bytes <= memoryBytes) return
      drop(oldest)
    }
  }

  return {
    async get(key) {
      const one = held.get(key)
      if (one && one.entry.expiresAt > now()) {
        held.delete(key)
        held.set(key, one)
        return one.entry
      }
      drop(key)
      const entry = await behind?.get(key)
      if (entry) hold(key, { gateway: '', entry })
      return entry
    },
    async put(key, gateway, entry) {
      drop(key)
      // What nobody has asked for again need not take memory as well.
      if (behind) await behind.put(key, gateway, entry)
      else hold(key, { gateway, entry })
    },
    async clear(gateway) {
      // One that came from behind does not tell whose it is.
      for (const [key, one] of held) if (one.gateway === gateway || one.gateway === '') drop(key)
      await behind?.clear(gateway)
    },
  }
}
