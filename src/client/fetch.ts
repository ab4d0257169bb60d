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
  readonly signal: AbortSignal
}

/** Read a request. @throws the signal's reason */
export async function readRequest(request: Request, signal: AbortSignal): Promise<Outgoing> {
  const { url, method, headers } = request
  const body = new Uint8Array(await unlessAborted(request.arrayBuffer(), signal))
  const isEmpty = method === 'GET' || method === 'HEAD' || (body.length === 0 && !headers.has('content-type'))
  return { url, method, headers: new Headers(headers), body: isEmpty ? null : body, signal }
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

/** A request to `{provider}/{endpoint}` as an item. */
export function toItem({ method, headers, body }: Outgoing, path: string): Item {
  const slash = path.indexOf('/')
  const own = new Headers(headers)
  for (const name of connection) own.delete(name)
  return {
    provider: decodeURIComponent(path.slice(0, slash)),
    endpoint: path.slice(slash + 1),
    method,
    headers: Object.fromEntries(own),
    raw: true,
    ...(body && toPayload(body)),
  }
}

function toPayload(bytes: Uint8Array): Pick<Item, 'body' | 'encoding'> {
  const text = toText(bytes)
  return text === undefined ? { body: toBase64(bytes), encoding: 'base64' } : { body: text }
}

/** The response of a run, once its answer begins. Aborting `signal` ends it until its body has been read. */
export async function toResponse(run: Run, { url, method, signal }: Outgoing): Promise<Response> {
  const abort = () => run.stop(signal.reason)
  const settle = () => signal.removeEventListener('abort', abort)
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  try {
    const created = await run.read()
    if (created.type !== 'universal.created') throw faultOf(created as never) ?? strange()
    return answer(run, created, { url, method, settle })
  } catch (error) {
    settle()
    throw error
  }
}

function answer(
  run: Run,
  created: Created,
  { url, method, settle }: { url: string; method: string; settle: () => void },
): Response {
  const { status = 200 } = created.metadata
  if (status < 200 || status > 599) throw strange()
  const hasBody = method !== 'HEAD' && !bodiless.has(status)
  const response = new Response(hasBody ? toBody(run, created, settle) : null, {
    status,
    headers: headersOf(created),
  })
  Object.defineProperty(response, 'url', { value: url })
  if (!hasBody) settle()
  return response
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
function toBody(run: Run, created: Created, settle: () => void): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        if ('response' in created) controller.enqueue(bytesOfSingle(created))
      },
      async pull(controller) {
        try {
          const frame = await run.read()
          if (frame.type === 'universal.stream') return controller.enqueue(bytesOf(frame))
          settle()
          endWith(frame, controller)
        } catch (error) {
          settle()
          controller.error(error)
        }
      },
      cancel(reason) {
        settle()
        run.stop(reason)
      },
    },
    { highWaterMark: 0 },
  )
}

function endWith(frame: RunFrame, controller: ReadableStreamDefaultController<Uint8Array>): void {
  const fault = frame.type === 'universal.done' ? faultOf(frame) : strange()
  if (fault) controller.error(fault)
  else controller.close()
}

/** A gateway's own error may come as a single answer, JSON as JSON. */
function bytesOfSingle({ response, metadata }: Created): Uint8Array {
  if (typeof response !== 'string') return toBytes(JSON.stringify(response))
  return metadata.encoding === 'base64' ? fromBase64(response) : toBytes(response)
}

const bytesOf = ({ data = '', encoding }: Streamed): Uint8Array =>
  encoding === 'base64' ? fromBase64(data) : toBytes(data)

const strange = (): LineError => new LineError('bad_message', 'The gateway said what the wire does not know')
