import { type GatewayError, toErrorResponse } from '../src/errors.ts'

/** Answer every request with one error: a gateway that anyone could use does not open on a public address. */
export function refuseAll(error: GatewayError): (request: Request) => Promise<Response> {
  return async () => toErrorResponse(error)
}
