import { fromBase64, toBase64, toBytes, toText } from './bytes.ts'
import { LineError } from './errors.ts'
import type { Created, Item, RunFrame, Streamed } from './messages.ts'
import { faultOf, type Run } from './run.ts'

/** Belong to one HTTP connection (RFC 9110, 7.6.1), and are not allowed in an item. */
const connection =
  'connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade host content-length expect'.split(
    ' ',
  )
/** Fetch standard, "null body status". */
const bodiless = new Set([101, 103, 204, 205, 304])

/** Fields of `universal.created` that are headers of an HTTP answer, without their prefix. */
const fromMetadata = {
  eventId: 'event-id',
  runId: 'run-id',
  step: 'step',
  cacheStatus: 'cache-status',
  logId: 'log-id',
} as const

/** A request read whole, so that it can go over a socket, or over HTTP after all. */
export interface Outgoing {
  readonly url: string
  readonly method: string
  readonly headers: Headers
  /** Null where there is none. */
  readonly body: Uint8Array<ArrayBuffer> | null
  readonly redirect: RequestRedirect
  readonly signal: AbortSignal | undefined
}

/** Call `act` with the signal's reason once it aborts, or now if it has; returns what takes that back. */
export function whenAborted(signal: AbortSignal | undefined, act: (reason: unknown) => void): () => void {
  const abort = () => act(signal?.reason)
  signal?.addEventListener('abort', abort, { once: true })
  if (signal?.aborted) abort()
  return () => signal?.removeEventListener('abort', abort)
}

/** Read a request. @throws the signal's reason */
export async function readRequest(request: Request, signal: AbortSignal | undefined): Promise<Outgoing> {
  const { url, method, headers, redirect } = request
  const body = new Uint8Array(await unlessAborted(request.arrayBuffer(), signal))
  const isEmpty = method === 'GET' || method === 'HEAD' || (body.length === 0 && !headers.has('content-type'))
  return { url, method, headers: new Headers(headers), body: isEmpty ? null : body, redirect, signal }
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const settle = whenAborted(signal, reject)
    work.then(resolve, reject).finally(settle)
  })
}

/** A request to `{provider}/{endpoint}` as an item. */
export function toItem({ method, headers, body }: Outgoing, path: string): Item {
  const slash = path.indexOf('/')
  const own = new Headers(headers)
  for (const name of connection) own.delete(name)
  return {
    provider: decode(path.slice(0, slash)),
    endpoint: path.slice(slash + 1),
    method,
    headers: Object.fromEntries(own),
    raw: true,
    ...(body && toPayload(body)),
  }
}

/** What cannot be decoded is no provider, which the gateway will say. */
function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

function toPayload(bytes: Uint8Array): Pick<Item, 'body' | 'encoding'> {
  const text = toText(bytes)
  return text === undefined ? { body: toBase64(bytes), encoding: 'base64' } : { body: text }
}

/**
 * The response of a run, once its answer begins. Aborting the signal ends it until all of it has come, read or not.
 * @throws LineError, redirected where that is to be an error; the signal's reason
 */
export async function toResponse(run: Run, { url, method, redirect, signal }: Outgoing): Promise<Response> {
  run.settle = whenAborted(signal, (reason) => run.stop(reason))
  try {
    const created = await run.read()
    if (created.type !== 'universal.created') throw faultOf(created as never) ?? strange()
    const { status = 200 } = created.metadata
    if (status < 200 || status > 599) throw strange()
    const body = method === 'HEAD' || bodiless.has(status) ? null : toBody(run, created)
    const response = new Response(body, { status, headers: headersOf(created) })
    assertStays(response, redirect)
    return withUrl(response, url.split('#')[0] ?? '')
  } catch (error) {
    run.stop(error)
    throw error
  }
}

/** @throws LineError redirected */
export function assertStays({ status, headers, type }: Response, redirect: RequestRedirect): void {
  // Of a redirect that is not followed, a page is told nothing at all.
  const isRedirect = type === 'opaqueredirect' || (status > 299 && status < 400 && headers.has('location'))
  if (isRedirect && (redirect === 'error' || type === 'opaqueredirect'))
    throw new LineError('redirected', 'The answer is a redirect, which is not followed')
}

/** As a network's responses, and their clones, have it. */
function withUrl(response: Response, url: string): Response {
  const clone = () => withUrl(Response.prototype.clone.call(response), url)
  return Object.defineProperties(response, { url: { value: url }, clone: { value: clone } })
}

/** The provider's, and the gateway's own, as plain HTTP has them. */
function headersOf({ headers, metadata }: Created): [string, string][] {
  const own = Object.entries(fromMetadata).flatMap(([field, header]): [string, string][] =>
    metadata[field] === undefined ? [] : [[`cf-aig-${header}`, String(metadata[field])]],
  )
  return [...(headers ?? [['content-type', metadata.contentType ?? 'application/json']]), ...own].map(
    ([name, value]) => [name, value],
  )
}

/** Reads on only as its reader does, so that the gateway's window is the only buffer. */
function toBody(run: Run, created: Created): ReadableStream<Uint8Array> {
  return new ReadableStream({
    type: 'bytes',
    start(controller) {
      if ('response' in created) controller.enqueue(bytesOfSingle(created))
    },
    async pull(controller) {
      try {
        for (;;) {
          const frame = await run.read()
          if (frame.type !== 'universal.stream') return endWith(frame, controller)
          const bytes = bytesOf(frame)
          if (bytes.length > 0) return controller.enqueue(bytes)
        }
      } catch (error) {
        controller.error(error)
      }
    },
    cancel(reason) {
      run.stop(reason)
    },
  })
}

function endWith(frame: RunFrame, controller: ReadableByteStreamController): void {
  const fault = frame.type === 'universal.done' ? faultOf(frame) : strange()
  if (fault) controller.error(fault)
  else {
    controller.close()
    controller.byobRequest?.respond(0) // as a reader with its own buffer waits for that
  }
}

/** A gateway's own error may come as a single answer, JSON as JSON. */
function bytesOfSingle({ response, metadata }: Created): Uint8Array<ArrayBuffer> {
  if (typeof response !== 'string') return toBytes(JSON.stringify(response))
  return metadata.encoding === 'base64' ? fromBase64(response) : toBytes(response)
}

const bytesOf = ({ data = '', encoding }: Streamed): Uint8Array<ArrayBuffer> =>
  encoding === 'base64' ? fromBase64(data) : toBytes(data)

const strange = (): LineError => new LineError('bad_message', 'The gateway said what the wire does not know')
