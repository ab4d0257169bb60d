import { toStopReason } from '../errors.ts'
import { Fields } from '../fields.ts'
import { sha256 } from '../hash.ts'
import { pause } from '../pause.ts'
import type { ByteReader, ByteSource, PlainResponse } from '../plain.ts'
import type { Cache, CacheEntry } from '../store/cache.ts'
import { toSource } from '../streams.ts'
import type { Call, Handler, Result, Runtime, Stage, Step, Watch } from '../types.ts'
import { Flight, type Landed } from './flight.ts'
import type { Attempt } from './record.ts'

/** What a cache stage is made of. */
export interface CacheOptions {
  readonly cache: Cache
  /** What kept answers belong to, now: those of another epoch are given to nobody, wherever they are kept. */
  readonly epoch: () => string
  /** Seconds; null: only for requests that ask for it. */
  readonly ttl: number | null
  /** Watches an answer that no provider was asked for. */
  readonly record: (
    attempt: Attempt,
    response: PlainResponse,
  ) => { readonly watch: Watch; readonly logId?: string }
  readonly runtime: Pick<Runtime, 'report' | 'defer'>
}

/** For requests with a key of their own, where no time is set (contract 5). */
const keyedSeconds = 300
/** Of a stream whose events are kept apart; one of more comes at once. A database takes a value of 2 MB. */
const eventsMax = 50_000
/**
 * Calls of models, which a gateway's `cache_ttl` is for; what else goes to a provider may change something there, and
 * is kept only where the request asks for it.
 */
const inference =
  /\/(chat\/completions|completions|responses|(?<!threads\/[^/]+\/)messages|embeddings?|embed|rerank|classify|moderations|chat|generations|speech|converse|converse-stream|invoke|invoke-with-response-stream|run\/.+|models\/[^/]+:\w+)$/
/** Headers that say who or what sent a request, and nothing of what is asked. */
const passing =
  /^(user-agent|accept-language|accept-encoding|x-stainless-.*|x-request-id|x-client-.*|idempotency-key|traceparent|tracestate|baggage|priority|dnt|date)$/

/**
 * Answers identical requests once: from what is kept, or from what is under way (PROTOCOL.md, "Cache"). A store that
 * cannot be reached costs the cache, and no request.
 */
export function createCacheStage(options: CacheOptions): Stage {
  const { cache, runtime } = options
  return async (call, next) => {
    const ttl = ttlOf(call, options.ttl)
    if (ttl === undefined) return next(call)
    const key = await keyOf(call, options.epoch())
    const entry = await cache
      .get(key)
      .catch((error: unknown) => runtime.report('cache cannot be read', error))
    if (entry) return replay(call, entry, options)
    if (call.signal.aborted) throw toStopReason(call.signal)
    const under = call.shared?.get(key)?.join(call)
    if (!under) return fly(call, next, { key, ttl, options })
    const shared = await under
    if (shared.response.ok || call.steps[0].options.cacheKey === undefined)
      return toHit(call, shared, options)
    // Who names the same key may be anyone, and what a provider refuses is about whose credentials it saw.
    await shared.response.body?.cancel()
    return next(call)
  }
}

/** Seconds that the answer of a call may be kept; undefined: not at all. */
function ttlOf({ steps }: Call, own: number | null): number | undefined {
  const { skipCache, cacheTtl, cacheKey } = steps[0].options
  const isAble = steps.every(
    ({ body, method, answer }) => !answer && !(body instanceof ReadableStream) && /^(GET|POST)$/.test(method),
  )
  if (skipCache || !isAble) return undefined
  if (cacheTtl !== undefined) return cacheTtl || undefined
  if (cacheKey !== undefined) return own || keyedSeconds
  return own && steps.every(({ url }) => inference.test(url.pathname)) ? own : undefined
}

/**
 * A digest of all that a request holds, credentials among it: nobody is served what another's key has paid for.
 * Bodies are the same where their bytes are.
 */
async function keyOf({ gateway, principal, steps }: Call, epoch: string): Promise<string> {
  const { cacheKey } = steps[0].options
  // What one API has made of an answer is nothing to the clients of another.
  const made = steps.flatMap(({ translation: to }) => (to ? [[to.name(), to.isStream]] : []))
  if (cacheKey !== undefined) return sha256(JSON.stringify([gateway, epoch, cacheKey, ...made]))
  const parts = steps.map(async ({ provider, method, url, headers, body, options, translation }) => {
    const kept = [...headers].filter(([name]) => !passing.test(name)).sort()
    const asked = [provider, method, url.href, options.byokAlias, kept, await textOf(body)]
    return [...asked, translation?.name()]
  })
  return sha256(JSON.stringify([gateway, epoch, principal.credential, await Promise.all(parts)]))
}

async function textOf(body: Step['body']): Promise<unknown> {
  return body instanceof Uint8Array ? [await sha256(body)] : body
}

/** Ask the provider, for all who will ask the same meanwhile. */
function fly(
  call: Call,
  next: Handler,
  { key, ttl, options }: { key: string; ttl: number; options: CacheOptions },
): Promise<Result> {
  const { cache, runtime } = options
  const keep = (landed: Landed): void => {
    if (!landed.result.response.ok) return
    const work = cache
      .put(key, call.gateway, toEntry(landed, ttl))
      .catch((error: unknown) => runtime.report('cache cannot be written', error))
    runtime.defer?.(work)
  }
  const over = (): void => {
    if (call.shared?.get(key) === flight) call.shared.delete(key)
  }
  const flight = new Flight(call, next, { landed: keep, over })
  call.shared?.set(key, flight)
  return flight.join(call)!.then((result) => ({ ...result, watch: told(result.watch) }))
}

/** The flight tells the record of its answer; whoever reads along only asks. */
const told = (watch: Watch): Watch => ({
  read: () => undefined,
  account: () => watch.account(),
  end: () => undefined,
})

const attemptOf = (call: Call, index: number): Attempt => ({
  call,
  step: call.steps[index] ?? call.steps[0],
  index,
  number: 1,
})

function toHit(call: Call, { logId: _, ...result }: Result, { record }: CacheOptions): Result {
  return { ...result, cacheStatus: 'HIT', ...record(attemptOf(call, result.step), result.response) }
}

function toEntry({ result, body, events }: Landed, ttl: number): CacheEntry {
  const first = events[0]?.[1] ?? 0
  return {
    status: result.response.status,
    headers: [...result.response.headers].filter(([name]) => name !== 'set-cookie'),
    body,
    events: events.length <= eventsMax ? events.map(([end, at]) => [end, at - first]) : [],
    step: result.step,
    expiresAt: Date.now() + ttl * 1_000,
  }
}

function replay(call: Call, entry: CacheEntry, options: CacheOptions): Result {
  const { status, headers, body, events, step } = entry
  const { translation } = call.steps[step] ?? call.steps[0]
  const isSpaced = call.steps[0].options.cacheReplay === 'spaced' && events.length > 0
  const content = isSpaced ? inTime(body, events, call.signal) : toSource(body)
  const response = {
    status,
    statusText: '',
    ok: true,
    headers: new Fields(headers),
    body: body.byteLength === 0 ? null : content,
  }
  return {
    response,
    step,
    attempts: 0,
    cacheStatus: 'HIT',
    ...(translation && { headers: translation.headers }),
    ...options.record(attemptOf(call, step), response),
  }
}

/** Each event as long after the first as it came. */
function inTime(body: Uint8Array, events: CacheEntry['events'], signal: AbortSignal): ByteSource {
  const began = Date.now()
  let seq = 0
  let start = 0
  const cancel = async (): Promise<void> => {
    seq = events.length
  }
  const reader: ByteReader = {
    async read() {
      const event = events[seq]
      if (!event) return { done: true }
      const [end, afterMs] = event
      const ms = began + afterMs - Date.now()
      if (ms > 0) await pause(ms, signal)
      const value = body.subarray(start, end)
      seq += 1
      start = end
      return { done: false, value }
    },
    cancel,
  }
  return { getReader: () => reader, cancel }
}
