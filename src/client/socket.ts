/** What of a WebSocket is used here; every implementation has it. */
export interface SocketLike {
  readonly protocol: string
  send(data: string): void
  close(code?: number, reason?: string): void
  /** Ends it without the peer; not there in browsers, Node, Deno and Workers. */
  terminate?(): void
  addEventListener(type: string, listener: (event: SocketEvent) => void): void
}

/** A `message` or `close` event, or another. */
export interface SocketEvent {
  readonly type: string
  readonly data?: unknown
  readonly code?: number
}

/** Makes a socket, and begins to connect it. */
export type SocketConstructor = new (url: string, protocols: string[]) => SocketLike

/** Codes that a connection may end with (PROTOCOL.md, "Limits and closing"). */
export const closeCodes = { abnormal: 1006, tooBig: 1009, unauthorized: 4401, takenOver: 4409 } as const

/** The wire that is spoken (PROTOCOL.md, "trunkline.v1"). */
export const protocol = 'trunkline.v1'

/** What a socket tells, and nothing after `gone`. */
export interface Listener {
  open(): void
  text(text: string): void
  /** The close code, where there was one. */
  gone(code: number | undefined): void
}

/** A socket that can be left for good. */
export class Wire {
  readonly #socket: SocketLike
  #listener: Listener | undefined

  /** @throws DOMException for a token that no subprotocol may hold */
  constructor(socket: SocketLike, listener: Listener) {
    this.#socket = socket
    this.#listener = listener
    socket.addEventListener('open', () => this.#listener?.open())
    socket.addEventListener('message', ({ data }) => this.#listener?.text(String(data)))
    socket.addEventListener('close', ({ code }) => this.#gone(code))
    // Followed by a close with its code, but not everywhere.
    socket.addEventListener('error', () => setTimeout(() => this.#gone(undefined), 0))
  }

  get protocol(): string {
    return this.#socket.protocol
  }

  /** Frames sent after the end are lost without a word. */
  send(frame: object | string): void {
    if (this.#listener) this.#socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame))
  }

  /** Ask the peer to close it; `gone` tells of the end, if the peer still answers. */
  close(): void {
    this.#end(() => this.#socket.close(1000))
  }

  /** Hear no more of it, and end it as far as it can be without the peer. */
  leave(): void {
    this.#listener = undefined
    this.#end(() => (this.#socket.terminate ? this.#socket.terminate() : this.#socket.close(1000)))
  }

  #end(end: () => void): void {
    try {
      end()
    } catch {
      // Ended while it was connecting, which some take for a fault.
    }
  }

  #gone(code: number | undefined): void {
    const listener = this.#listener
    this.leave()
    listener?.gone(code)
  }
}
