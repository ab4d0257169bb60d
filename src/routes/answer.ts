import { GatewayError, toGatewayError } from '../errors.ts'
import { newId } from '../ids.ts'
import type { Call, Runtime } from '../types.ts'
import type { Room } from './context.ts'
import { assertOrigin, preflight, share } from './cors.ts'
import { toFailure, toResponse } from './respond.ts'

/** Reads a request as a call. May reject with a `GatewayError`. */
export type ReadCall = (requestId: string) => Promise<Call>

/** From an HTTP request to its response: who may ask, what is asked, what came of it. Never rejects. */
export type Answer = (request: Request, room: Room, read: ReadCall) => Promise<Response>

/** Make the one way in which HTTP routes answer. */
export function createAnswer(report: Runtime['report']): Answer {
  return async (request, room, read) => {
    const requestId = newId()
    let eventId = requestId
    try {
      const early = preflight(request, room)
      if (early) return share(early, request, room)
      assertOrigin(request.headers, room)
      const call = await read(requestId)
      eventId = call.eventId
      return share(toResponse(call, await room.run(call)), request, room)
    } catch (error) {
      if (!(error instanceof GatewayError)) report('http', error)
      return share(toFailure(toGatewayError(error), requestId, eventId), request, room)
    }
  }
}
