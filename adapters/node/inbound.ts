import type { IncomingMessage, ServerResponse } from 'node:http'
import { Fields } from '../../src/fields.ts'
import type { ByteReader, ByteSource, Part, PlainRequest, PlainResponse } from '../../src/plain.ts'
import { urlOf } from './url.ts'

/** Answers one request. Never rejects. */
export type Answer = (request: PlainRequest) => Promise<PlainResponse>

/** A last part up to this size is worth copying to be written with the head. */
const oneWriteBytes = 16_384

/** A client that still sends after it was answered is cut off after this long: sooner, it might not read the answer. */
const lingerMs = 1_000

/** Node's own request and response, as the gateway knows them. Never rejects. */
export async function serveMessage(
  message: IncomingMessage,
  response: ServerResponse,
  answer: Answer,
  report: (error: unknown) => void,
): Promise<void> {
  const url = urlOf(message)
  if (url === undefined) return void response.writeHead(400, { connection: 'close' }).end()
  const request = new MessageRequest(message, url)
  let reader: ByteReader | undefined
  response.once('close', () => {
    if (!message.complete) linger(message)
    if (response.writableFinished) return
    request.leave()
    reader?.cancel().catch(() => undefined) // a body that has failed rejects, and is closed all the same
  })
  message.on('error', () => undefined) // of a client that has left: its response closes
  response.on('error', () => undefined)
  const answered = await answer(request)
  reader = answered.body?.getReader()
  try {
    if (response.destroyed) return await reader?.cancel()
    writeHead(response, answered)
    if (reader) await copy(response, reader, lengthOf(answered))
    else response.end()
  } catch (error) {
    if (!response.destroyed) report(error)
    response.destroy()
  }
}

/** A request that costs little until more is asked of it. */
class MessageRequest implements PlainRequest {
  readonly url: string
  readonly #message: IncomingMessage
  #stop: AbortController | undefined
  #hasLeft = false
  #headers: Fields | undefined
  #body: ByteSource | null | undefined

  constructor(message: IncomingMessage, url: string) {
    this.#message = message
    this.url = url
  }

  get method(): string {
    return this.#message.method ?? 'GET'
  }

  get headers(): Headers {
    if (this.#headers) return this.#headers
    this.#headers = new Fields()
    const { rawHeaders } = this.#message
    for (let at = 0; at < rawHeaders.length; at += 2)
      this.#headers.append(rawHeaders[at] ?? '', rawHeaders[at + 1] ?? '')
    return this.#headers
  }

  get signal(): AbortSignal {
    this.#stop ??= new AbortController()
    if (this.#hasLeft) this.#stop.abort()
    return this.#stop.signal
  }

  get body(): ByteSource | null {
    if (this.#body !== undefined) return this.#body
    const { headers } = this.#message
    const isSent = headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0'
    const isEmpty = this.method === 'GET' || this.method === 'HEAD' || !isSent
    this.#body = isEmpty ? null : new MessageBody(this.#message)
    return this.#body
  }

  /** The client has left. */
  leave(): void {
    this.#hasLeft = true
    this.#stop?.abort()
  }
}

/** Read only as it is asked for. Its being left does not end the connection, over which the answer is to go. */
class MessageBody implements ByteSource, ByteReader {
  readonly #message: IncomingMessage
  #wake: (() => void) | undefined

  constructor(message: IncomingMessage) {
    this.#message = message
    const wake = (): void => this.#wake?.()
    message.on('readable', wake).once('end', wake).once('error', wake).once('close', wake)
  }

  getReader(): ByteReader {
    return this
  }

  async read(): Promise<Part> {
    const message = this.#message
    for (;;) {
      const value: Buffer | null = message.read()
      if (value) return { done: false, value }
      if (message.readableEnded) return { done: true }
      if (message.destroyed) throw new Error('the client left')
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** What is still to come is let go by, up to `lingerMs` after the answer. */
  async cancel(): Promise<void> {
    if (this.#message.readableEnded) return
    letBy(this.#message)
    this.#wake?.()
  }
}

/** A message that has come whole is left alone, though it may never say `end`: its connection serves the next one. */
function linger(message: IncomingMessage): void {
  const cut = (): void => void (message.complete || message.destroy())
  const timer = setTimeout(cut, lingerMs)
  message.once('close', () => clearTimeout(timer))
  message.once('end', () => clearTimeout(timer))
  letBy(message)
}

/** It flows only where nobody waits to read it, and stops where the last listener is taken off after `resume`. */
function letBy(message: IncomingMessage): void {
  if (message.listenerCount('readable') > 0) message.removeAllListeners('readable')
  message.resume()
}

function writeHead(response: ServerResponse, { status, statusText, headers }: PlainResponse): void {
  const flat: string[] = []
  for (const [name, value] of headers) flat.push(name, value)
  if (statusText) response.writeHead(status, statusText, flat)
  else response.writeHead(status, flat)
}

function lengthOf({ headers }: PlainResponse): number {
  const length = headers.get('content-length')
  return length === null ? Number.POSITIVE_INFINITY : Number(length)
}

/** The last part of a body of known length leaves together with the end, and so with the head if it is the only one. */
async function copy(response: ServerResponse, reader: ByteReader, length: number): Promise<void> {
  let left = length
  const flush = setImmediate(() => response.flushHeaders()) // the first part may be long in coming
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      clearImmediate(flush)
      left -= part.value.byteLength
      if (left <= 0) end(response, part.value)
      else if (!response.write(part.value)) await drained(response)
    }
  } finally {
    clearImmediate(flush)
  }
  if (response.writableEnded) return
  if (left === 0 || left === Number.POSITIVE_INFINITY) response.end()
  else response.destroy()
}

/** With the head, as one text and so by one simple write: half the price of a write of two parts. */
function end(response: ServerResponse, last: Uint8Array): void {
  if (last.byteLength > oneWriteBytes || response.headersSent) response.end(last)
  else response.end(Buffer.from(last.buffer, last.byteOffset, last.byteLength).toString('latin1'), 'latin1')
}

const drained = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    if (response.destroyed) return resolve()
    const go = (): void => {
      response.off('drain', go)
      response.off('close', go)
      resolve()
    }
    response.once('drain', go)
    response.once('close', go)
  })
