import { limits } from '../limits.ts'
import type { Frame, Listener, RelayEnd, RelayWatch, Side, Socket } from '../socket.ts'

/** What a frame takes in memory beside its own bytes. */
const frameBytes = 256
/** What a close frame can hold of a reason (RFC 6455, 5.5). */
const reasonBytesMax = 123

/**
 * Two sockets as one: frames pass untouched and in order, a slow reader slows its writer, and the end of one is the
 * end of the other. A side's listener may be used before its socket is there.
 */
export class Relay {
  readonly client: Listener
  readonly provider: Listener
  readonly #watch: RelayWatch
  readonly #lanes: Readonly<Record<Side, Lane>>
  #isOver = false

  constructor(watch: RelayWatch) {
    this.#watch = watch
    const stalled = () => this.end(1013, 'reader too slow')
    this.#lanes = { client: new Lane(stalled), provider: new Lane(stalled) }
    this.client = this.#listener('client')
    this.provider = this.#listener('provider')
  }

  /** One side's socket is there. */
  join(side: Side, socket: Socket): void {
    this.#lanes[side].from(socket)
    this.#lanes[other(side)].to(socket)
  }

  /** Close both sides, for a reason of the gateway's. */
  end(code: number, reason: string): void {
    this.#over({ by: 'gateway', code, reason: toReason(reason) }, ['client', 'provider'])
  }

  #listener(side: Side): Listener {
    const lane = this.#lanes[side]
    return {
      receive: (frame) => {
        if (this.#isOver) return
        const refusal = this.#watch.passes(side, frame)
        if (refusal !== undefined) this.end(1008, refusal)
        else if (!lane.push(frame)) this.end(1013, 'reader too slow')
      },
      closed: (code, reason) => this.#over({ by: side, ...toLegal(code, reason) }, [other(side)]),
    }
  }

  /** The lane that leads to a side closes it, behind the frames it still holds, unless the gateway ends it all. */
  #over(end: RelayEnd, closing: readonly Side[]): void {
    if (this.#isOver) return
    this.#isOver = true
    // What still comes is dropped, but a close that is not read is not answered.
    for (const lane of Object.values(this.#lanes)) lane.release()
    for (const side of closing) {
      const lane = this.#lanes[other(side)]
      if (end.by === 'gateway') lane.drop()
      lane.close(...toClosing(end, side))
    }
    this.#watch.ended(end)
  }
}

const other = (side: Side): Side => (side === 'client' ? 'provider' : 'client')

/** What a close frame may say (RFC 6455, 7.4); whoever says anything else has closed in no order. */
function toLegal(code: number, reason: string): { code: number; reason: string } {
  if (code === 1005) return { code, reason: '' }
  const isLegal = (code >= 1000 && code <= 1014 && code !== 1004) || (code >= 3000 && code <= 4999)
  return isLegal ? { code, reason: toReason(reason) } : { code: 1006, reason: '' }
}

/** The same code and reason; the one that stands for a lost connection cannot be sent, and becomes what it means. */
function toClosing({ by, code, reason }: RelayEnd, side: Side): [code: number, reason: string] {
  if (code !== 1006) return [code, reason]
  if (side === 'provider') return [1001, 'client lost']
  return [1011, by === 'provider' ? 'provider lost' : reason]
}

/** One direction. Frames wait while the socket they go to has no room, or is not there yet. */
class Lane {
  readonly #stalled: () => void
  #source: Socket | undefined
  #target: Socket | undefined
  #isWaiting = true
  #held: Frame[] = []
  #heldBytes = 0
  #timer: ReturnType<typeof setTimeout> | undefined
  #closing: [code: number, reason: string] | undefined

  constructor(stalled: () => void) {
    this.#stalled = stalled
  }

  from(socket: Socket): void {
    this.#source = socket
  }

  to(socket: Socket): void {
    this.#target = socket
    if (this.#closing) this.close(...this.#closing)
    else this.#flush()
  }

  /** False for a frame that is one too many. */
  push(frame: Frame): boolean {
    if (!this.#isWaiting) {
      this.#send(frame)
      return true
    }
    if (this.#heldBytes > limits.relayHeldBytes) return false
    this.#held.push(frame)
    this.#heldBytes += frame.length + frameBytes
    return true
  }

  release(): void {
    clearTimeout(this.#timer)
    if (this.#isWaiting) this.#source?.resume?.()
  }

  drop(): void {
    this.#held = []
  }

  close(code: number, reason: string): void {
    this.#closing = [code, reason]
    if (!this.#target) return
    for (const frame of this.#held) void this.#target.send(frame)
    this.#held = []
    this.#target.close(code, reason)
  }

  #send(frame: Frame): void {
    const room = this.#target?.send(frame)
    if (!room) return
    this.#isWaiting = true
    this.#source?.pause?.()
    this.#watch(Number.POSITIVE_INFINITY, Date.now())
    void room.then(() => {
      clearTimeout(this.#timer)
      this.#flush()
    })
  }

  /** It is for as long as the target takes nothing at all, however long a frame is. */
  #watch(least: number, since: number): void {
    const left = this.#target?.buffered?.() ?? Number.POSITIVE_INFINITY
    const from = left < least ? Date.now() : since
    const rest = from + limits.relayStallMs - Date.now()
    if (rest <= 0) this.#stalled()
    else this.#timer = setTimeout(() => this.#watch(left, from), Math.min(rest, limits.relayLookMs))
  }

  #flush(): void {
    if (this.#closing) return
    const held = this.#held
    this.#isWaiting = false
    this.#held = []
    this.#heldBytes = 0
    let sent = 0
    while (sent < held.length && !this.#isWaiting) this.#send(held[sent++]!)
    for (const frame of held.slice(sent)) this.push(frame)
    if (!this.#isWaiting) this.#source?.resume?.()
  }
}

/** The beginning of a text that a close frame has room for. */
function toReason(text: string): string {
  const bytes = new TextEncoder().encode(text).subarray(0, reasonBytesMax)
  return new TextDecoder().decode(bytes, { stream: true })
}
