import type { IncomingMessage } from 'node:http'
import type { WebSocket as WebSocketClass } from 'ws'
import type { Listener, Runtime, Socket } from '../src/index.ts'
import { limits } from '../src/limits.ts'
import { type Corkable, createGather } from './gather.ts'
import { createRoom, idleSeconds } from './server.ts'

const protocolHeader = 'sec-websocket-protocol'
/** Headers of a handshake that its own client writes. */
const handshake = /^(host|connection|upgrade|content-length|sec-websocket-.*)$/

/**
 * Dial with `ws`, the only client that tells how a provider refused, on Node, Deno, and on Bun, which has its own of
 * the same interface.
 */
export function createConnect(WebSocket: typeof WebSocketClass): Runtime['connect'] {
  return (url, dial, listener) =>
    new Promise((resolve, reject) => {
      const { headers, protocols, signal } = dial
      if (signal.aborted) return reject(signal.reason)
      const socket = new WebSocket(url, [...protocols], {
        headers: Object.fromEntries([...headers].filter(([name]) => !handshake.test(name))),
        maxPayload: limits.messageBytes,
        perMessageDeflate: false,
      })
      const settle = (done: () => void): void => {
        signal.removeEventListener('abort', leave)
        done()
      }
      const leave = (): void => {
        socket.terminate()
        settle(() => reject(signal.reason))
      }
      signal.addEventListener('abort', leave, { once: true })
      // A fault after the opening is followed by `close`, which tells it.
      socket.on('error', (error) => settle(() => reject(error)))
      socket.on('unexpected-response', (request, response) => {
        signal.removeEventListener('abort', leave)
        void readRefusal(response, signal).then((refusal) => {
          settle(() => resolve(refusal))
          request.destroy() // left open by ws for whoever listens
        })
      })
      let isSelected = true
      let raw: Corkable | undefined
      socket.on('upgrade', ({ headers: answered, socket: own }) => {
        raw = own
        isSelected = protocols.length === 0 || answered[protocolHeader] !== undefined
        // Providers may select nothing of an offer, which ws takes for a fault.
        if (!isSelected) answered[protocolHeader] = protocols[0]
      })
      socket.on('open', () => {
        listen(socket, listener)
        settle(() => resolve({ socket: toSocket(socket, raw), protocol: isSelected ? socket.protocol : '' }))
      })
    })
}

/** From its opening on: one that never opens has nothing to tell. */
function listen(socket: WebSocketClass, listener: Listener): void {
  let isAlive = true
  socket.binaryType = 'nodebuffer'
  socket.on('message', (data: Buffer, isBinary) => {
    isAlive = true
    listener.receive(isBinary ? data : data.toString())
  })
  socket.on('pong', () => {
    isAlive = true
  })
  const timer = setInterval(() => {
    if (socket.isPaused) return // its pongs are not read
    if (!isAlive) return socket.terminate()
    isAlive = false
    socket.ping()
  }, idleSeconds * 1_000)
  socket.on('close', (code, reason) => {
    clearInterval(timer)
    listener.closed(code, String(reason))
  })
}

function toSocket(socket: WebSocketClass, raw: Corkable | undefined): Socket {
  const isOpen = (): boolean => socket.readyState === socket.OPEN
  const gather = createGather(raw)
  const waits = createRoom(limits.relayBufferBytes, () => socket.bufferedAmount, isOpen)
  return {
    send(frame) {
      gather()
      socket.send(frame)
      return waits(frame.length)
    },
    close: (code, reason) => (code === 1005 ? socket.close() : socket.close(code, reason)),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
  }
}

const mayHaveBody = (status: number): boolean => status !== 204 && status !== 205 && status !== 304

/** What a provider said instead of opening a socket, up to a limit, and as far as it came in time. Never rejects. */
function readRefusal(response: IncomingMessage, signal: AbortSignal): Promise<Response> {
  const parts: Buffer[] = []
  let size = 0
  const { statusCode: status = 502 } = response
  const headers = new Headers()
  for (const [name, value] of Object.entries(response.headers))
    for (const one of [value ?? []].flat()) headers.append(name, one)
  return new Promise((resolve) => {
    const body = () => (mayHaveBody(status) ? Buffer.concat(parts) : null)
    const leave = (): void => void response.destroy()
    signal.addEventListener('abort', leave, { once: true })
    const done = (): void => {
      signal.removeEventListener('abort', leave)
      resolve(new Response(body(), { status, headers }))
    }
    response.on('data', (part: Buffer) => {
      size += part.length
      if (size <= limits.refusalBytes) parts.push(part)
      else response.destroy()
    })
    response.on('end', done)
    response.on('close', done)
    response.on('error', done)
  })
}
