import type { Dispatcher } from 'undici'
import Agent from 'undici/lib/dispatcher/agent.js'
import { Fields } from '../../src/fields.ts'
import { limits } from '../../src/limits.ts'
import {
  type ByteReader,
  type ByteSource,
  bodiless,
  type OutboundRequest,
  type Part,
  type PlainResponse,
} from '../../src/plain.ts'
import { decoded } from './decode.ts'

/** Connections to one origin; past it requests wait for one. With HTTP/2 many requests share one. */
const connectionsMax = 2_048
/** A connection that is not used is kept this long, unless its server says otherwise. */
const idleMs = 30_000
const connectMs = 10_000
/** Bytes of a body that wait to be read before its provider is read no further. */
const waitingBytes = 65_536

/** Outbound HTTP through undici, which underlies Node's own `fetch`, without what the web's shapes cost. */
export function createOutbound(
  connect: object = {},
): (request: OutboundRequest, signal: AbortSignal) => Promise<PlainResponse> {
  const agent = new Agent({
    allowH2: true,
    connections: connectionsMax,
    keepAliveTimeout: idleMs,
    headersTimeout: limits.firstByteMs,
    bodyTimeout: limits.silenceMs,
    connect: { timeout: connectMs, ...connect },
  })
  return ({ method, url, headers, body }, signal) => {
    const exchange = new Exchange(method, signal)
    const flat: string[] = []
    for (const [name, value] of headers) flat.push(name, value)
    const path = url.pathname + url.search
    const options = { origin: url.origin, path, method, headers: flat, body }
    // Of bodies, its types leave out the web's streams, which it takes like anything else that can be iterated.
    if (!signal.aborted) agent.dispatch(options as Dispatcher.DispatchOptions, exchange)
    return exchange.response
  }
}

type Controller = Dispatcher.DispatchController
const done: Part = { done: true }

/** One request and its answer: undici's handler on one side, the body's reader on the other. */
class Exchange implements Dispatcher.DispatchHandler, ByteSource, ByteReader {
  readonly response: Promise<PlainResponse>
  readonly #method: string
  readonly #head = Promise.withResolvers<PlainResponse>()
  readonly #waiting: Buffer[] = []
  #waitingBytes = 0
  #reading: PromiseWithResolvers<Part> | undefined
  #controller: Controller | undefined
  #isOver = false
  #fault: { readonly error: unknown } | undefined

  constructor(method: string, signal: AbortSignal) {
    this.#method = method
    this.response = this.#head.promise
    if (signal.aborted) this.#abort(signal.reason)
    else signal.addEventListener('abort', () => this.#abort(signal.reason), { once: true })
  }

  onRequestStart(controller: Controller): void {
    this.#controller = controller
    if (this.#fault) controller.abort(toError(this.#fault.error))
  }

  onResponseStart(
    _: Controller,
    status: number,
    headers: Record<string, string | string[]>,
    statusText = '',
  ): void {
    if (status < 200) return // more is to come
    const fields = new Fields()
    for (const name in headers) {
      const value = headers[name] ?? ''
      fields.set(name, typeof value === 'string' ? value : value.join(', '))
    }
    const isEmpty = this.#method === 'HEAD' || bodiless.has(status)
    const body = isEmpty ? null : decoded(this, fields.get('content-encoding'))
    this.#head.resolve({ status, statusText, ok: status < 300, headers: fields, body })
  }

  onResponseData(controller: Controller, bytes: Buffer): void {
    if (this.#reading) {
      this.#settle({ done: false, value: bytes })
      return
    }
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.byteLength
    if (this.#waitingBytes >= waitingBytes) controller.pause()
  }

  onResponseEnd(): void {
    this.#isOver = true
    this.#settle(done)
  }

  onResponseError(_: Controller, error: Error): void {
    this.#fail(error)
  }

  getReader(): ByteReader {
    return this
  }

  read(): Promise<Part> {
    const value = this.#waiting.shift()
    if (value) {
      this.#waitingBytes -= value.byteLength
      if (this.#waitingBytes < waitingBytes && this.#controller?.paused) this.#controller.resume()
      return Promise.resolve({ done: false, value })
    }
    if (this.#fault) return Promise.reject(this.#fault.error)
    if (this.#isOver) return Promise.resolve(done)
    this.#reading = Promise.withResolvers()
    return this.#reading.promise
  }

  async cancel(reason?: unknown): Promise<void> {
    this.#waiting.length = 0
    this.#abort(reason)
  }

  #settle(part: Part): void {
    this.#reading?.resolve(part)
    this.#reading = undefined
  }

  /** Closes the connection, or the stream of one that is shared. After the end: no effect. */
  #abort(reason: unknown): void {
    if (this.#isOver) return
    this.#fail(reason)
    this.#controller?.abort(toError(reason))
  }

  #fail(error: unknown): void {
    if (this.#isOver || this.#fault) return
    this.#fault = { error }
    this.#head.reject(error)
    this.#reading?.reject(error)
    this.#reading = undefined
  }
}

const toError = (reason: unknown): Error => (reason instanceof Error ? reason : new Error('aborted'))
