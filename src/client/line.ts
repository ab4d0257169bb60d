import { lengthOf } from './bytes.ts'
import { LineError } from './errors.ts'
import { assertStays, type Outgoing, readRequest, toItem, toResponse, whenAborted } from './fetch.ts'
import { streamHttp } from './http.ts'
import { defaults, type Limits } from './limits.ts'
import { type LineState, Link } from './link.ts'
import type { Item, RunFrame } from './messages.ts'
import { faultOf, Run, unsent } from './run.ts'
import { protocol, type SocketConstructor } from './socket.ts'

/** A `fetch`, as far as it is used here. */
export type Fetch = (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>

/** How to connect. */
export interface ConnectOptions {
  /** Gateway token, of characters that a subprotocol may have (RFC 9110, 5.6.2). */
  readonly token?: string
  /**
   * Plain HTTP after `limits.handshakes` failed tries, until a socket gets through again; what runs by then waits for
   * that. Default false: requests wait, and fail with `unreachable` after `limits.patienceMs`.
   */
  readonly fallback?: boolean
  /** Sent with each request that does not name them itself, such as `cf-aig-*` settings. */
  readonly headers?: HeadersInit
  /** Aborting it closes the line. */
  readonly signal?: AbortSignal
  /**
   * Default: the global one. A connection whose peer is dead cannot be ended by those of Node and Deno: it takes memory,
   * and keeps the process alive, until TCP gives it up. Where that matters, give the one of the package `ws`.
   */
  readonly WebSocket?: SocketConstructor
  /** For what does not go over the socket; default: the global one. */
  readonly fetch?: Fetch
  /** Waits and counts that differ from the defaults. */
  readonly limits?: Partial<Limits>
}

const tokenHeader = 'cf-aig-authorization'

/**
 * Any number of requests over one socket of a gateway. Dispatches `statechange`. While it is open, it keeps a
 * process alive.
 */
export class Line extends EventTarget {
  /** The gateway's base URL for HTTP, without a slash at its end. */
  readonly base: string
  readonly #headers: Headers
  readonly #token: string | undefined
  readonly #http: Fetch
  readonly #link: Link
  readonly #tried = new EventTarget()
  /** Names of requests must not repeat within a session. */
  readonly #prefix = `${Math.random().toString(36).slice(2)}${Date.now().toString(36)}-`
  /** Lets go of the signal. */
  readonly #settle: () => void
  #count = 0
  #told: LineState = 'connecting'

  /** Begins to connect, for `connect` to wait. @throws TypeError, DOMException for a URL or token that cannot be */
  constructor(url: string | URL, options: ConnectOptions) {
    super()
    const { token, fallback = false, headers, limits, signal, fetch = globalThis.fetch } = options
    signal?.throwIfAborted()
    const target = new URL(url)
    target.hash = ''
    target.pathname = target.pathname.replace(/\/+$/, '')
    target.protocol = target.protocol.replace('http', 'ws')
    this.base = `${target.protocol.replace('ws', 'http')}//${target.host}${target.pathname.replace(/\/$/, '')}`
    this.#token = token
    this.#headers = new Headers(headers)
    // As a function on its own, as browsers want it.
    this.#http = (input, init) => fetch(input, init)
    const route = {
      url: target.href,
      protocols: [protocol, ...(token === undefined ? [] : [`${tokenHeader}.${token}`])],
      Socket: options.WebSocket ?? (globalThis.WebSocket as SocketConstructor),
      limits: { ...defaults, ...limits },
      isPatient: fallback,
    }
    this.#link = new Link(route, {
      changed: () => this.#changed(),
      isRefused: () => this.#isRefused(route.limits),
    })
    this.#settle = whenAborted(signal, (reason) => this.#link.close(reason))
  }

  /** Each change is a `statechange` event. */
  get state(): LineState {
    return this.#link.state
  }

  /** Base URL of a provider, for an SDK. */
  url(provider: string): string {
    return `${this.base}/${encodeURIComponent(provider)}`
  }

  /**
   * `fetch` over the socket, for what is behind `url(provider)`. A body is read whole before it is sent, and must fit
   * into one message with its request: 32 MiB, or what the gateway says; a third less for bytes that are not UTF-8.
   * Redirects are not followed, and `statusText` is empty, as it is over HTTP/2. Other URLs of the gateway go over HTTP with the token, foreign ones without it.
   * @throws LineError, the signal's reason, and what `new Request` throws
   */
  readonly fetch: Fetch = async (input, init) => {
    const inherited = input instanceof Request ? input.signal : undefined
    const signal = (init?.signal === undefined ? inherited : init.signal) ?? undefined
    signal?.throwIfAborted()
    // A Request would hang on to the signal for as long as that lives.
    const request = new Request(input, { ...init, signal: null })
    const path = this.#pathOf(request.url)
    if (path === undefined) return this.#http(request, beside(signal))
    const isCall = /^(?!run\/)[^/?]+\//.test(path)
    if (!isCall || this.state === 'http') return this.#sendHttp(request, signal)
    const outgoing = await readRequest(request, signal)
    for (const [name, value] of this.#headers) {
      if (!outgoing.headers.has(name)) outgoing.headers.set(name, value)
    }
    try {
      return await toResponse(this.#start(toItem(outgoing, path)), outgoing)
    } catch (error) {
      if (error !== unsent) throw error
      return this.#sendHttp(toRequest(outgoing), signal)
    }
  }

  /**
   * The socket's own frames of one request: `universal.created`, any number of `universal.stream`, `universal.done`.
   * It is sent when the first is asked for, and stopped when the iteration is left or `signal` aborts.
   * @throws LineError, also behind a `universal.done` that says `incomplete` or `cancelled`; the signal's reason
   */
  async *stream(
    request: Item | readonly Item[],
    { signal }: { readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<RunFrame, void, undefined> {
    signal?.throwIfAborted()
    const run = this.#start(this.#withHeaders(request))
    run.settle = whenAborted(signal, (reason) => run.stop(reason))
    try {
      yield* untilDone(readAll(run))
    } catch (error) {
      if (error !== unsent) throw error
      const asked = { request: this.#withHeaders(request), eventId: run.eventId, raw: run.raw, signal }
      yield* untilDone(
        streamHttp(asked, (path, init) => this.#sendHttp(new Request(this.base + path, init), signal)),
      )
    } finally {
      run.stop(unsent)
    }
  }

  /**
   * Stop every run, and close. The gateway is told in the background, over another connection where it has to be; that
   * takes two handshakes' time at most.
   */
  close(): void {
    this.#link.close(new LineError('closed', 'The line is closed'))
  }

  /** Resolves once requests can be made. @throws LineError, unreachable where a first socket fails too often */
  async ready(): Promise<this> {
    while (this.state === 'connecting') {
      if (this.#link.isStuck)
        this.#link.close(new LineError('unreachable', 'No connection to the gateway', true))
      else await new Promise((resolve) => this.#tried.addEventListener('tried', resolve, { once: true }))
    }
    if (this.state === 'closed') throw this.#link.failure
    return this
  }

  /** Whether the gateway takes the token, which a refused upgrade cannot tell. */
  async #isRefused({ handshakeMs }: Limits): Promise<boolean> {
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), handshakeMs)
    try {
      const response = await this.#sendHttp(new Request(`${this.base}/run/-`), late.signal)
      await response.body?.cancel()
      return response.status === 401
    } finally {
      clearTimeout(timer)
    }
  }

  #changed(): void {
    this.#tried.dispatchEvent(new Event('tried'))
    if (this.#told === this.state) return
    this.#told = this.state
    if (this.state === 'closed') this.#settle()
    this.dispatchEvent(new Event('statechange'))
  }

  /** What follows the gateway's base in a URL, without its fragment; undefined for a foreign one. */
  #pathOf(url: string): string | undefined {
    const [own = ''] = url.split('#')
    if (own === this.base || own.startsWith(`${this.base}?`)) return ''
    return own.startsWith(`${this.base}/`) ? own.slice(this.base.length + 1) : undefined
  }

  #withHeaders(request: Item | readonly Item[]): readonly Item[] | Item {
    const add = (item: Item): Item => ({
      ...item,
      headers: { ...Object.fromEntries(this.#headers), ...item.headers },
    })
    return isList(request) ? request.map(add) : add(request)
  }

  #start(request: Item | readonly Item[]): Run {
    const [first, ...rest] = isList(request) ? request : [request]
    if (!first) throw new TypeError('A list of items must not be empty')
    const eventId = first.eventId ?? this.#prefix + this.#count++
    const named = { ...first, eventId, acks: true }
    const frame = { type: 'universal.create', request: isList(request) ? [named, ...rest] : named }
    const create = JSON.stringify(frame)
    const run = new Run(eventId, create, lengthOf(create), first.raw === true)
    this.#link.start(run)
    return run
  }

  /** Redirects could lead elsewhere, and token and keys with them. @throws LineError redirected */
  async #sendHttp(request: Request, signal: AbortSignal | undefined): Promise<Response> {
    const headers = new Headers(request.headers)
    for (const [name, value] of this.#headers) if (!headers.has(name)) headers.set(name, value)
    if (this.#token !== undefined && !headers.has(tokenHeader))
      headers.set(tokenHeader, `Bearer ${this.#token}`)
    const response = await this.#http(new Request(request, { headers, redirect: 'manual' }), beside(signal))
    assertStays(response, request.redirect)
    return response
  }
}

async function* readAll(run: Run): AsyncGenerator<RunFrame, never, undefined> {
  for (;;) yield await run.read()
}

async function* untilDone(frames: AsyncGenerator<RunFrame>): AsyncGenerator<RunFrame, void, undefined> {
  for await (const frame of frames) {
    yield frame
    if (frame.type !== 'universal.done') continue
    const fault = faultOf(frame)
    if (fault) throw fault
    return
  }
}

/** Not in the request, which may lose it with the next garbage. */
const beside = (signal: AbortSignal | undefined): RequestInit => (signal ? { signal } : {})

const isList = (request: Item | readonly Item[]): request is readonly Item[] => Array.isArray(request)

const toRequest = ({ url, method, headers, body, redirect }: Outgoing): Request =>
  new Request(url, { method, headers, body, redirect })
