import { newId } from '../../src/ids.ts'
import { type SessionLimits, sessionDefaults } from '../../src/limits.ts'
import { Home } from '../../src/runs/home.ts'
import type { Reply } from '../../src/runs/pump.ts'
import type { Owner } from '../../src/runs/terms.ts'
import type { Asked } from '../../src/session/host.ts'
import type { Wire } from '../../src/session/messages.ts'
import { openSession } from '../../src/session/server.ts'
import type { GatewayFrame } from '../client.ts'

/** A client's end of one connection. */
export interface Client {
  readonly frames: GatewayFrame[]
  /** Of its session. */
  readonly id: string
  /** Close code, once the gateway has closed it. */
  readonly code: number | undefined
  send(message: object): void
  /** The connection ends. */
  leave(): void
  /** The first frame that fits; waits 2 s for it. */
  next(fits: (frame: GatewayFrame) => boolean): Promise<GatewayFrame>
}

/** How a client comes. */
export interface Coming {
  /** A session to take up again. */
  readonly id?: string
  readonly attempt?: number
  readonly owner?: Owner
  /** Default: `trunkline.v1`. */
  readonly wire?: Wire
  /** It never reads. */
  readonly isDeaf?: boolean
}

/** Sessions without sockets or providers, and a clock that is set by hand. */
export interface SessionKit {
  readonly home: Home
  /** Requests that a provider was asked. */
  readonly calls: Asked[]
  /** What it answers next; default: 10 bytes. */
  answer: (asked: Asked, signal: AbortSignal) => Promise<Reply>
  /** Whether tokens still open the gateway. */
  isWelcome: boolean
  connect(coming?: Coming): Client
  /** Let so many seconds pass, and drop what is due. */
  pass(seconds: number): void
}

export const anyone: Owner = { gateway: 'g', credential: null }

/** An answer of these chunks, made as they are read. */
export function replyOf(chunks: Iterable<string> | AsyncIterable<string>, contentType = 'text/plain'): Reply {
  const next = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]()
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await next.next()
      if (done) controller.close()
      else controller.enqueue(new TextEncoder().encode(value as string))
    },
  })
  const headers: [string, string][] = [['content-type', contentType]]
  const metadata = { cacheStatus: 'MISS', step: '0', status: 200, contentType }
  return { head: { status: 200, contentType, headers, metadata }, body }
}

export const isType =
  (type: string, eventId?: string) =>
  (frame: GatewayFrame): boolean =>
    frame.type === type && (eventId === undefined || frame.metadata.eventId === eventId)

/** Make one; its clock stands still, or goes by itself. */
export function createKit(
  limits: Partial<SessionLimits> = {},
  clock: 'still' | 'real' = 'still',
): SessionKit {
  let now = 1_000_000
  const own = { limits: { ...sessionDefaults, ...limits } }
  const home = new Home(clock === 'still' ? { ...own, now: () => now } : own)
  const kit: SessionKit = {
    home,
    calls: [],
    answer: async () => replyOf(['0123456789']),
    isWelcome: true,
    connect: (coming = {}) => connect(kit, coming),
    pass: (seconds) => {
      now += seconds * 1_000
      home.sweep()
    },
  }
  return kit
}

function connect(
  kit: SessionKit,
  { id = newId(), attempt, owner = anyone, wire = 'trunkline.v1', isDeaf }: Coming,
): Client {
  const frames: GatewayFrame[] = []
  const state: { code: number | undefined } = { code: undefined }
  const socket = {
    async send(frame: string) {
      if (isDeaf) return new Promise<void>(() => undefined)
      frames.push(JSON.parse(frame) as GatewayFrame)
    },
    close: (code: number) => {
      state.code = code
    },
  }
  const init = {
    id,
    owner,
    wire,
    defaults: {},
    ...(attempt !== undefined && { attempt }),
  } as const
  const session = openSession(socket, init, kit.home, {
    start: (asked, signal) => {
      kit.calls.push(asked)
      return kit.answer(asked, signal)
    },
    toDefaults: (wanted) => wanted,
    isWelcome: async () => kit.isWelcome,
  })
  return {
    frames,
    id,
    get code() {
      return state.code
    },
    send: (message) => session.receive(JSON.stringify(message)),
    leave: () => session.closed(),
    async next(fits) {
      for (
        const end = Date.now() + 2_000;
        Date.now() < end;
        await new Promise((wake) => setTimeout(wake, 1))
      ) {
        const found = frames.find(fits)
        if (found) return found
      }
      throw new Error(`no such frame; last: ${JSON.stringify(frames.slice(-3))}`)
    },
  }
}

/** A create of a request that is its own name. */
export const create = (eventId: string, more: object = {}): object => ({
  type: 'universal.create',
  request: { eventId, provider: 'p', endpoint: 'e', query: {}, ...more },
})
