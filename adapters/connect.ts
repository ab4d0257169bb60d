import type { IncomingMessage } from 'node:http'
import type { WebSocket as WebSocketClass } from 'ws'
import { GatewayError } from '../src/errors.ts'
import type { Listener, Runtime, Socket } from '../src/index.ts'
import { limits } from '../src/limits.ts'
import { bodiless } from '../src/plain.ts'
import { type Corkable, createGather } from './gather.ts'
import { answerPings } from './pongs.ts'
import { createRoom, idleSeconds } from './server.ts'

const protocolHeader = 'sec-websocket-protocol'
/** Headers of a handshake that its own client writes. */
const handshake = /^(host|connection|upgrade|content-length|sec-websocket-.*)$/

/** It answers pings by itself, whatever it is told. */
const isBun = 'Bun' in globalThis

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
        autoPong: false,
      })
      if (!isBun) answerPings(socket)
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
        const told = readRefusal(response, signal).then(toResponse)
        // Left open by ws for whoever listens.
        const close = (): void => void request.destroy()
        told.then(resolve, reject).finally(close)
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
    buffered: () => socket.bufferedAmount,
    close: (code, reason) => (code === 1005 ? socket.close() : socket.close(code, reason)),
    pause: () => socket.pause(),
    resume: () => socket.resume(),
  }
}

/** What a provider said, before it is known whether it makes a response. */
interface Refusal {
  readonly status: number
  readonly headers: Headers
  readonly body: Buffer
}

/** What the web's responses take. */
const [statusMin, statusMax] = [200, 599]

/** @throws GatewayError provider_failed for a status that is none */
function toResponse({ status, headers, body }: Refusal): Response {
  if (status < statusMin || status > statusMax) throw new GatewayError('provider_failed')
  return new Response(bodiless.has(status) ? null : new Uint8Array(body), { status, headers })
}

/** What a provider said instead of opening a socket, up to a limit, and as far as it came in time. Never rejects. */
function readRefusal(response: IncomingMessage, signal: AbortSignal): Promise<Refusal> {
  const parts: Buffer[] = []
  let size = 0
  const { statusCode: status = 502 } = response
  const headers = new Headers()
  for (const [name, value] of Object.entries(response.headers))
    for (const one of [value ?? []].flat()) headers.append(name, one)
  return new Promise((resolve) => {
    const leave = (): void => void response.destroy()
    signal.addEventListener('abort', leave, { once: true })
    const done = (): void => {
      signal.removeEventListener('abort', leave)
      resolve({ status, headers, body: Buffer.concat(parts) })
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
