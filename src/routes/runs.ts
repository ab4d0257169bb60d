import { GatewayError } from '../errors.ts'
import { Fields } from '../fields.ts'
import { newId } from '../ids.ts'
import { bodiless } from '../plain.ts'
import { toBody } from '../runs/body.ts'
import type { RunQuery } from '../runs/elsewhere.ts'
import type { Home } from '../runs/home.ts'
import type { Reader } from '../runs/reader.ts'
import type { Run } from '../runs/run.ts'
import type { Owner } from '../runs/terms.ts'
import { toStream } from '../streams.ts'
import type { Call } from '../types.ts'
import { takeToken, toPrincipal } from './authenticate.ts'
import type { Asking, Room } from './context.ts'
import { responseHeaders, toFailure, toReply } from './respond.ts'

const ownerOf = (call: Call): Owner => ({ gateway: call.gateway, credential: call.principal.credential })

/** A call that goes on when its client leaves; the response is its first reader (PROTOCOL.md, "Runs over HTTP"). */
export async function startDetached(call: Call, room: Room, home: Home): Promise<Response> {
  const { requestId, eventId } = call
  const owner = ownerOf(call)
  const session = home.newSessionId(owner)
  const run = home.createRun({ eventId, owner, onDisconnect: 'detach', raw: false, session })
  const reader = run.read(0)
  void home.start(run, async (signal) => {
    const own = { ...call, signal, runId: run.id, ...home.sharing }
    return toReply(own, await room.run(own))
  })
  const own = { [responseHeaders.requestId]: requestId, [responseHeaders.eventId]: eventId }
  return toResponse(reader, own, call.signal)
}

/**
 * `GET …/run/{runId}/resume?from=N`.
 * @throws GatewayError unauthorized, bad_request
 */
export async function resumeRun(asking: Asking, runId: string): Promise<Response> {
  const from = new URL(asking.request.url).searchParams.get('from') ?? '0'
  if (!/^\d{1,15}$/.test(from)) throw new GatewayError('bad_request', 'from: a whole number')
  return ask(asking, { verb: 'resume', runId, from: Number(from) })
}

/** `GET …/run/{runId}`. @throws GatewayError unauthorized */
export const describeRun = (asking: Asking, runId: string): Promise<Response> =>
  ask(asking, { verb: 'describe', runId, from: 0 })

/** `DELETE …/run/{runId}`: stops it, and answers once it has stopped. @throws GatewayError unauthorized */
export const stopRun = (asking: Asking, runId: string): Promise<Response> =>
  ask(asking, { verb: 'stop', runId, from: 0 })

async function ask(
  { request, room, home, requestId }: Asking,
  query: Omit<RunQuery, 'owner'>,
): Promise<Response> {
  const token = await takeToken(new Fields(request.headers), room.gate)
  const { credential } = toPrincipal(token, room.gate)
  const owner = { gateway: room.settings.id, credential }
  const response = await answerQuery({ ...query, owner }, home, request.signal)
  response.headers.set(responseHeaders.requestId, requestId)
  return response
}

/**
 * What is asked of a run, answered by its home; 404 for one that is gone, never was, or is not theirs. `signal` aborts
 * when who asks has left, where that is known.
 */
export async function answerQuery(
  { verb, runId, owner, from }: RunQuery,
  home: Home,
  signal?: AbortSignal,
): Promise<Response> {
  const run = findRun(runId, owner, home)
  if (!run) return Response.json({ error: 'Request not found' }, { status: 404 }) // contract 2.9
  if (verb === 'resume') {
    if (from < run.first) return toFailure(new GatewayError('gap'), newId())
    return toResponse(run.read(from), {}, signal)
  }
  if (verb === 'stop') {
    run.stop(new GatewayError('client_closed'))
    while (!run.terminal) await run.changed()
  }
  return Response.json(toState(run))
}

function findRun(runId: string, owner: Owner, home: Home): Run | undefined {
  try {
    return home.find(runId, owner)
  } catch {
    return undefined
  }
}

function toState(run: Run): object {
  const { id: runId, head, terminal } = run
  return {
    runId,
    eventId: run.init.eventId,
    state: terminal ? 'done' : 'running',
    seq: run.end - 1,
    ...(head && { status: head.status }),
    ...terminal,
  }
}

/** The run as it is read; a run that broke off breaks off the body. */
async function toResponse(
  reader: Reader,
  own: Readonly<Record<string, string>>,
  signal?: AbortSignal,
): Promise<Response> {
  // Not every runtime cancels the body of a client that has left, least of all before there is one.
  signal?.addEventListener('abort', () => reader.close(), { once: true })
  if (signal?.aborted) reader.close()
  const head = await reader.head()
  const headers = new Headers(head?.headers.map(([name, value]): [string, string] => [name, value]))
  for (const [name, value] of Object.entries(own)) headers.set(name, value)
  headers.set(responseHeaders.runId, reader.run.id)
  for (const [header, field] of fromMetadata) {
    const value = head?.metadata[field]
    if (value !== undefined) headers.set(header, String(value))
  }
  const status = head?.status ?? 200
  const isEmpty = bodiless.has(status)
  if (isEmpty) reader.close()
  return new Response(isEmpty ? null : toStream(toBody(reader)), { status, headers })
}

const fromMetadata = [
  [responseHeaders.step, 'step'],
  [responseHeaders.cacheStatus, 'cacheStatus'],
] as const
