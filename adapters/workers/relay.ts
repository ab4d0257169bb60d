import { GatewayError } from '../../src/errors.ts'
import type { Listener, Runtime, Socket, Upgrade } from '../../src/index.ts'
import { limits } from '../../src/limits.ts'
import { createRoom } from '../server.ts'

/** What workerd's sockets have beside the standard. */
interface WorkerSocket extends WebSocket {
  accept(): void
}
declare const WebSocketPair: new () => { 0: WorkerSocket; 1: WorkerSocket }

/** Dial a provider: here an upgrade is a request, and its answer the socket or a refusal. */
export const connect: Runtime['connect'] = async (url, { headers, protocols, signal }, listener) => {
  const asked = new Headers(headers)
  asked.set('upgrade', 'websocket')
  if (protocols.length > 0) asked.set('sec-websocket-protocol', protocols.join(', '))
  const response = await fetch(url.href.replace(/^ws/, 'http'), {
    headers: asked,
    signal,
    redirect: 'manual',
  })
  const { webSocket } = response as Response & { readonly webSocket: WorkerSocket | null }
  if (!webSocket) return toRefusal(response)
  const protocol = response.headers.get('sec-websocket-protocol') ?? ''
  const socket = toSocket(webSocket, listener)
  if (protocol === '' || protocols.includes(protocol)) return { socket, protocol }
  socket.close(1002, 'no such subprotocol was offered')
  throw new GatewayError('provider_failed')
}

/** Serve a client whose upgrade was granted, in the Worker itself: what it holds is held by its provider's socket too. */
export function accept({ protocol, headers, start }: Upgrade): Response {
  const pair = new WebSocketPair()
  let listener: Listener | undefined
  const socket = toSocket(pair[1], {
    receive: (frame) => listener?.receive(frame),
    closed: (code, reason) => listener?.closed(code, reason),
  })
  listener = 'serve' in start ? start.serve(socket) : undefined
  const own = new Headers(headers)
  if (protocol !== undefined) own.set('sec-websocket-protocol', protocol)
  return new Response(null, { status: 101, headers: own, webSocket: pair[0] } as ResponseInit)
}

function toSocket(socket: WorkerSocket, listener: Listener): Socket {
  socket.binaryType = 'arraybuffer'
  socket.addEventListener('message', ({ data }: MessageEvent<string | ArrayBuffer>) => {
    listener.receive(typeof data === 'string' ? data : new Uint8Array(data))
  })
  socket.addEventListener('close', ({ code, reason }) => listener.closed(code, reason))
  socket.addEventListener('error', () => listener.closed(1006, ''))
  socket.accept()
  const isOpen = (): boolean => socket.readyState === 1
  // Some versions of workerd do not tell, and those that do forget what their own pipes hold.
  const waits = createRoom(limits.relayBufferBytes, () => socket.bufferedAmount ?? 0, isOpen)
  return {
    send(frame) {
      if (!isOpen()) return undefined
      socket.send(frame as string | Uint8Array<ArrayBuffer>)
      return waits(frame.length)
    },
    buffered: () => socket.bufferedAmount ?? 0,
    close(code, reason) {
      if (!isOpen()) return
      if (code === 1005) socket.close()
      else socket.close(code, reason)
    },
  }
}

/** What a provider said instead of opening a socket, up to a limit, and as far as it came in time. */
async function toRefusal({ body, status, headers }: Response): Promise<Response> {
  const parts: Uint8Array<ArrayBuffer>[] = []
  const reader = body?.getReader()
  try {
    for (let size = 0; reader && size < limits.refusalBytes; size += parts.at(-1)!.length) {
      const { done, value } = await reader.read()
      if (done) break
      parts.push(value.subarray(0, limits.refusalBytes - size))
    }
    await reader?.cancel()
  } catch {
    // Broken off, by the provider or for want of time; its status is known.
  }
  return new Response(body && new Blob(parts), { status, headers })
}
