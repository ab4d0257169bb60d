import { GatewayError } from '../errors.ts'
import type { Home } from '../runs/home.ts'
import type { Owner, Reader, Run } from '../runs/run.ts'
import type { Call } from '../types.ts'
import { takeToken, toPrincipal } from './authenticate.ts'
import type { Asking, Room } from './context.ts'
import { responseHeaders, toReply } from './respond.ts'

const ownerOf = (call: Call): Owner => ({ gateway: call.gateway, credential: call.principal.credential })

/** A call that goes on when its client leaves; the response is its first reader (PROTOCOL.md, "Runs over HTTP"). */
export async function startDetached(call: Call, room: Room, home: Home): Promise<Response> {
  const { requestId, eventId } = call
  const session = home.newSessionId()
  const run = home.createRun({ eventId, owner: ownerOf(call), onDisconnect: 'detach', session })
  const reader = run.read(0)
  void home.start(run, async (signal) => {
    const own = { ...call, signal }
    return toReply(own, await room.run(own))
  })
  return toResponse(reader, { [responseHeaders.requestId]: requestId, [responseHeaders.eventId]: eventId })
}

/**
 * `GET …/run/{runId}/resume?from=N`.
 * @throws GatewayError expired for a run that is not held or not theirs, gap, bad_request
 */
export async function resumeRun(asking: Asking, runId: string): Promise<Response> {
  const { request, requestId } = asking
  const run = await findRun(asking, runId)
  const from = new URL(request.url).searchParams.get('from') ?? '0'
  if (!/^\d{1,15}$/.test(from)) throw new GatewayError('bad_request', 'from: a whole number')
  if (Number(from) < run.first) throw new GatewayError('gap')
  return toResponse(run.read(Number(from)), { [responseHeaders.requestId]: requestId })
}

/** `GET …/run/{runId}`. @throws GatewayError expired */
export async function describeRun(asking: Asking, runId: string): Promise<Response> {
  return Response.json(toState(await findRun(asking, runId)))
}

/** `DELETE …/run/{runId}`: stops it, and answers once it has stopped. @throws GatewayError expired */
export async function stopRun(asking: Asking, runId: string): Promise<Response> {
  const run = await findRun(asking, runId)
  run.stop(new GatewayError('client_closed'))
  while (!run.terminal) await run.changed()
  return Response.json(toState(run))
}

async function findRun({ request, room, home }: Asking, runId: string): Promise<Run> {
  const token = await takeToken(new Headers(request.headers), room.gate)
  const { credential } = toPrincipal(token, room.gate)
  try {
    return home.find(runId, { gateway: room.settings.id, credential })
  } catch {
    throw new GatewayError('expired') // one answer for what is gone, what never was, and what is not theirs
  }
}

/** The answer to a run that cannot be found, as the contract has it (2.9). */
export const notFound = (): Response => Response.json({ error: 'Request not found' }, { status: 404 })

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
async function toResponse(reader: Reader, own: Readonly<Record<string, string>>): Promise<Response> {
  const head = await reader.head()
  const headers = new Headers(head?.headers.map(([name, value]): [string, string] => [name, value]))
  for (const [name, value] of Object.entries(own)) headers.set(name, value)
  headers.set(responseHeaders.runId, reader.run.id)
  for (const [header, field] of fromMetadata) {
    const value = head?.metadata[field]
    if (value !== undefined) headers.set(header, String(value))
  }
  return new Response(toBody(reader), { status: head?.status ?? 200, headers })
}

const fromMetadata = [
  [responseHeaders.step, 'step'],
  [responseHeaders.cacheStatus, 'cacheStatus'],
] as const

function toBody(reader: Reader): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const event = await reader.next()
          if (event) return controller.enqueue(event.bytes)
          const { outcome } = reader.run.terminal ?? {}
          if (outcome === 'completed' || outcome === 'failed') controller.close()
          else controller.error(new GatewayError('provider_failed', `The run ended ${outcome}`))
        } catch (error) {
          controller.error(error) // a gap
        }
        reader.close()
      },
      cancel: () => reader.close(),
    },
    { highWaterMark: 0 },
  )
}
