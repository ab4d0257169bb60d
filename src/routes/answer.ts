import { GatewayError, toGatewayError } from '../errors.ts'
import { newId } from '../ids.ts'
import type { PlainResponse } from '../plain.ts'
import type { Call, Runtime } from '../types.ts'
import type { Asking } from './context.ts'
import { assertHost, assertOrigin, preflight, share } from './cors.ts'
import { toFailure, toResponse } from './respond.ts'
import { startDetached } from './runs.ts'

/** From an HTTP request to its response. May reject. */
export type Respond = (asking: Asking) => Promise<PlainResponse>

/** What every answer has in common: the origin's rights, and errors as responses. Never rejects. */
export type Answer = (asking: Omit<Asking, 'requestId'>, respond: Respond) => Promise<PlainResponse>

/** Make the one way in which HTTP routes answer. */
export function createAnswer(report: Runtime['report']): Answer {
  return async (asked, respond) => {
    const { request, room } = asked
    const requestId = newId()
    try {
      assertHost(request, room)
      const early = preflight(request, room)
      if (early) return share(early, request, room)
      assertOrigin(request.headers, room)
      const response = await respond({ ...asked, requestId })
      return share(request.method === 'HEAD' ? withoutBody(response) : response, request, room)
    } catch (error) {
      if (!(error instanceof GatewayError)) report('http', error)
      return share(toFailure(toGatewayError(error), requestId), request, room)
    }
  }
}

/** A body that nobody will read would hold up what it is read from. */
function withoutBody({ status, statusText, ok, headers, body }: PlainResponse): PlainResponse {
  void body?.cancel().catch(() => undefined) // one that has failed is over all the same
  return { status, statusText, ok, headers, body: null }
}

/** Reads a request as a call. May reject with a `GatewayError`. */
export type ReadCall = (asking: Asking) => Promise<Call>

/** Answers with what came of a call. */
export function answerCall(read: ReadCall, report: Runtime['report']): Respond {
  return async (asking) => {
    const { request, requestId, room, home } = asking
    if (home.isDraining) throw new GatewayError('draining')
    const call = await read(asking)
    if (call.onDisconnect === 'detach') return startDetached(call, room, home)
    const { signal, ended } = home.enter(request.signal)
    const passing = { ...call, signal, ...home.sharing }
    try {
      return toResponse(passing, await room.run(passing), ended)
    } catch (error) {
      ended()
      if (!(error instanceof GatewayError)) report('http', error)
      return toFailure(toGatewayError(error), requestId, call.eventId)
    }
  }
}
