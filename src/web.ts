import { lengthOf } from './fields.ts'
import {
  type ByteReader,
  type ByteSource,
  bodiless,
  type Part,
  type PlainRequest,
  type PlainResponse,
} from './plain.ts'
import { toStream } from './streams.ts'

/** A body that says it is no longer than this is taken whole: as a stream it would cost several times as much. */
const wholeBytes = 65_536

/** How long a short body is; undefined for any other. */
function wholeLength(headers: Headers): number | undefined {
  const length = lengthOf(headers)
  return length !== null && Number(length) <= wholeBytes ? Number(length) : undefined
}

/** The body of one of the web's messages, taken at once by whoever reads it. */
class WholeBody implements ByteSource, ByteReader {
  readonly #message: Request | Response
  #isRead = false

  constructor(message: Request | Response) {
    this.#message = message
  }

  get stream(): ReadableStream<Uint8Array> | null {
    return this.#message.body
  }

  getReader(): ByteReader {
    return this
  }

  async read(): Promise<Part> {
    if (this.#isRead) return { done: true }
    this.#isRead = true
    const value = new Uint8Array(await this.#message.arrayBuffer())
    return value.byteLength > 0 ? { done: false, value } : { done: true }
  }

  /** Of one that is being read: no effect, as the rest is short, and goes with the message's signal. */
  async cancel(reason?: unknown): Promise<void> {
    if (this.#isRead) return
    this.#isRead = true
    await this.#message.body?.cancel(reason)
  }
}

/** A request of the web's, whose body is looked at only where it is asked for. */
export class WebRequest implements PlainRequest {
  readonly source: Request
  #body: ByteSource | null | undefined

  constructor(source: Request) {
    this.source = source
  }

  get method(): string {
    return this.source.method
  }
  get url(): string {
    return this.source.url
  }
  get headers(): Headers {
    return this.source.headers
  }
  get signal(): AbortSignal {
    return this.source.signal
  }
  get body(): ByteSource | null {
    if (this.#body === undefined)
      this.#body = wholeLength(this.headers) === undefined ? this.source.body : new WholeBody(this.source)
    return this.#body
  }
}

/** A response of the web's, as far as it is used here. */
export function fromWebResponse(response: Response): PlainResponse {
  const { status, statusText, ok, headers } = response
  if (wholeLength(headers) === undefined || bodiless.has(status)) return response
  return { status, statusText, ok, headers, body: new WholeBody(response) }
}

/** A request as the web has it. */
export function toWebRequest(request: PlainRequest): Request {
  if (request instanceof WebRequest) return request.source
  if (request instanceof Request) return request
  const { method, url, headers, body, signal } = request
  const init: RequestInit & { duplex?: 'half' } = { method, headers: [...headers], signal }
  if (body) Object.assign(init, { body: toStream(body), duplex: 'half' })
  return new Request(url, init)
}

/** A response as the web has it; a short body whose one part is all of it has come by then. Rejects for odd headers. */
export async function toWebResponse(response: PlainResponse): Promise<Response> {
  if (response instanceof Response) return response
  const { status, statusText, headers, body } = response
  const init = { status, statusText, headers: [...headers] }
  const length = wholeLength(headers)
  if (!body || length === undefined) return new Response(body && toStream(body), init)
  const reader = body.getReader()
  const first = reader.read()
  const part = await first.catch(() => undefined) // told to whoever reads it again
  if (!part || part.done || part.value.byteLength !== length)
    return new Response(toStream(ahead(reader, [first])), init)
  const last = reader.read()
  const isEnd = (await last.catch(() => undefined))?.done
  return new Response(isEnd ? (part.value as BufferSource) : toStream(ahead(reader, [first, last])), init)
}

/** What a reader still has, after what was read of it. */
function ahead(reader: ByteReader, parts: Promise<Part>[]): ByteSource {
  const all: ByteReader = {
    read: () => parts.shift() ?? reader.read(),
    cancel: (reason) => reader.cancel(reason),
  }
  return { getReader: () => all, cancel: all.cancel }
}
