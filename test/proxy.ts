import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** What a proxy does to bytes and connections from now on. */
export interface Weather {
  /** Each byte arrives this much later, each way. */
  readonly delayMs: number
  /** Of each connection, each way; 0 is no limit. */
  readonly bytesPerSecond: number
  /** What becomes of new connections: passed on, reset at once, or accepted and never answered. */
  readonly newcomers: 'pass' | 'refuse' | 'hold'
}

/** Which connections to cut, and how. */
export interface Cut {
  /** Default `rst`, which throws away what is under way. */
  readonly how?: 'rst' | 'fin'
  /** Chance of each connection to be cut, 0 to 1; default 1. */
  readonly chance?: number
}

/** A TCP proxy between a client and a gateway, or a gateway and a provider, that can be told to fail. */
export interface TestProxy {
  readonly port: number
  /** Open connections. */
  readonly open: number
  /** Connections accepted so far. */
  readonly total: number
  set(weather: Partial<Weather>): void
  /** Returns how many were cut. */
  cut(how?: Cut): number
  /** The connections there are stay open at both ends, and no byte passes. */
  freeze(): void
  /** Ends every connection too. */
  close(): Promise<void>
}

interface Pair {
  readonly client: Socket
  readonly server: Socket | undefined
  isFrozen: boolean
}

/** Bytes on their way each way of a connection, past which the sender waits. */
const underwayBytesMax = 1 << 20
const pollMs = 5
/** A throttle lets out a share this often. */
const tickMs = 20

/** Start a proxy to a port of this machine, on a free port. */
export async function startProxy(port: number): Promise<TestProxy> {
  const pairs = new Set<Pair>()
  let weather: Weather = { delayMs: 0, bytesPerSecond: 0, newcomers: 'pass' }
  let total = 0

  const accept = (client: Socket): void => {
    total += 1
    client.on('error', () => undefined).setNoDelay()
    if (weather.newcomers === 'refuse') {
      client.resetAndDestroy()
      return
    }
    const server =
      weather.newcomers === 'pass' ? connect({ port, host: '127.0.0.1', allowHalfOpen: true }) : undefined
    const pair: Pair = { client, server, isFrozen: false }
    pairs.add(pair)
    const leave = () => {
      if (client.destroyed && (!server || server.destroyed)) pairs.delete(pair)
    }
    client.once('close', leave)
    server?.once('close', leave)
    if (!server) return
    server.on('error', () => undefined).setNoDelay()
    void carry(client, server, pair)
    void carry(server, client, pair)
  }

  /** One way of a connection, with its end. Never rejects. */
  const carry = async (from: Socket, to: Socket, pair: Pair): Promise<void> => {
    let tail: Promise<unknown> = Promise.resolve()
    let underway = 0
    const flow = async (chunk: Buffer, dueAt: number): Promise<void> => {
      await sleep(Math.max(0, dueAt - Date.now()))
      for (const part of shares(chunk, weather.bytesPerSecond)) {
        while (pair.isFrozen) await sleep(pollMs)
        if (part.length < chunk.length) await sleep(tickMs)
        if (!to.destroyed) to.write(part)
      }
      underway -= chunk.length
    }
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        underway += chunk.length
        const dueAt = Date.now() + weather.delayMs
        if (
          weather.delayMs === 0 &&
          weather.bytesPerSecond === 0 &&
          !pair.isFrozen &&
          underway === chunk.length
        ) {
          to.write(chunk)
          underway = 0
        } else tail = tail.then(() => flow(chunk, dueAt))
        while (underway + to.writableLength > underwayBytesMax && !to.destroyed) await sleep(pollMs)
      }
      await tail
      while (pair.isFrozen) await sleep(pollMs)
      to.end()
    } catch {
      while (pair.isFrozen) await sleep(pollMs)
      to.resetAndDestroy()
    }
  }

  const listener = createServer({ allowHalfOpen: true }, accept)
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const endOf = (socket: Socket | undefined, how: Cut['how']): void => {
    if (how === 'fin') socket?.destroySoon()
    else socket?.resetAndDestroy()
  }
  const cut = ({ how = 'rst', chance = 1 }: Cut = {}): number => {
    const struck = [...pairs].filter(() => Math.random() < chance)
    for (const pair of struck) {
      pair.isFrozen = false
      pairs.delete(pair)
      endOf(pair.client, how)
      endOf(pair.server, how)
    }
    return struck.length
  }
  return {
    port: (listener.address() as AddressInfo).port,
    get open() {
      return pairs.size
    },
    get total() {
      return total
    },
    set: (next) => {
      weather = { ...weather, ...next }
    },
    cut,
    freeze: () => {
      for (const pair of pairs) pair.isFrozen = true
    },
    close: () =>
      new Promise((resolve) => {
        listener.close(() => resolve())
        cut()
      }),
  }
}

/** A chunk in parts, each what may pass in one tick. */
function* shares(chunk: Buffer, bytesPerSecond: number): Generator<Buffer> {
  const size =
    bytesPerSecond === 0 ? chunk.length : Math.max(1, Math.floor((bytesPerSecond * tickMs) / 1_000))
  for (let at = 0; at < chunk.length; at += size) yield chunk.subarray(at, at + size)
}
