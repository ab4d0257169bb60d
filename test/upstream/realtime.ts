import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { type WebSocket, WebSocketServer } from 'ws'
import { statusOf, targetOf } from './answer.ts'
import { type Control, readControl } from './control.ts'
import type { Entry, Ledger } from './ledger.ts'
import { openaiError } from './openai.ts'
import { wireOf } from './wires.ts'

/** More than gateways take, so that it is theirs to refuse. */
const messageBytesMax = 64 << 20
const floodBytes = 65_536
const floodBufferBytes = 4 << 20
const greetingChars = 2_000
const pollMs = 5
/** From this status on a socket is refused. */
const refusal = 400

/**
 * The providers' sockets: whatever is sent comes back as it came, unless the control asks for something else. What was
 * offered, and how the socket ended, is in the ledger.
 */
export function createSockets(
  ledger: Ledger,
): (request: IncomingMessage, socket: Duplex, head: Buffer) => Promise<void> {
  const server = new WebSocketServer({
    noServer: true,
    maxPayload: messageBytesMax,
    perMessageDeflate: false,
    handleProtocols: (offered, request) => controlOf(request).select ?? [...offered][0] ?? false,
  })
  return async (request, socket, head) => {
    socket.on('error', () => socket.destroy())
    const entry = ledger.open(request)
    const [path] = targetOf(request)
    const asked = controlOf(request)
    const control = { ...asked, status: statusOf(asked, ledger) }
    ledger.label(entry, control.key)
    socket.once('close', () => ledger.settle(entry, 'client_closed'))
    if (control.delay) await sleep(control.delay)
    if (control.hang === 'headers') return void socket.on('end', () => socket.destroy()).resume()
    if (control.status >= refusal) return refuse(socket, entry, control, path)
    server.handleUpgrade(request, socket, head, (opened) => {
      entry.status = 101
      serve(opened, entry, control, () => ledger.settle(entry, 'finished'))
      if (control.raw) socket.write(Buffer.from(control.raw, 'hex'))
    })
  }
}

function controlOf(request: IncomingMessage): Control {
  const [path, query] = targetOf(request)
  return readControl(request, path, query)
}

function refuse(socket: Duplex, entry: Entry, control: Control, path: string): void {
  const { status = 500, headers = {}, hang } = control
  entry.status = status
  const body = JSON.stringify((wireOf(path)?.error ?? openaiError)(status, `emulated ${status}`))
  const length = hang ? {} : { 'content-length': Buffer.byteLength(body) }
  const own = { 'content-type': 'application/json', ...length, ...headers }
  const lines = Object.entries(own).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`HTTP/1.1 ${status} Emulated\r\nconnection: close\r\n${lines.join('')}\r\n${body}`)
  if (hang) socket.resume()
  else socket.end()
}

/** `closing` is told when the emulator closes it. */
function serve(socket: WebSocket, entry: Entry, control: Control, closing: () => void): void {
  socket.on('error', () => socket.terminate())
  socket.on('close', (code, reason) => {
    entry.closeCode = code
    entry.closeReason = String(reason)
  })
  for (let index = 0; index < (control.greet ?? 0); index += 1) socket.send(greeting(index))
  if (control.deaf) socket.pause()
  if (control.flood) flood(socket, entry, control.flood)
  const leave = (): void => {
    closing()
    end(socket, control.close ?? [1000])
  }
  if (control.close) setTimeout(leave, control.interval ?? 0)
  socket.on('message', (data: Buffer, isBinary) => {
    entry.bodyBytes += data.length
    entry.framesSeen = (entry.framesSeen ?? 0) + 1
    if (!control.flood) socket.send(data, { binary: isBinary })
  })
}

/** The texts of a greeting, which tests know. */
export const greeting = (index: number): string => `greeting ${index} ${'x'.repeat(greetingChars)}`

/** 1006 is no code but the want of one. */
function end(socket: WebSocket, [code, reason = '']: NonNullable<Control['close']>): void {
  if (code === 1006) socket.terminate()
  else if (code === 1005) socket.close()
  else socket.close(code, reason)
}

/** So many frames, numbered, no faster than they are read; then the text `end`. */
function flood(socket: WebSocket, entry: Entry, frames: number): void {
  const frame = Buffer.alloc(floodBytes)
  const go = (): void => {
    while (entry.eventsSent < frames && socket.bufferedAmount < floodBufferBytes) {
      frame.writeUInt32BE(entry.eventsSent++)
      socket.send(Buffer.from(frame))
    }
    if (socket.readyState !== socket.OPEN) return
    if (entry.eventsSent < frames) setTimeout(go, pollMs)
    else socket.send('end')
  }
  go()
}
