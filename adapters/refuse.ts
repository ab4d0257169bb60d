import type { GatewayError } from '../src/errors.ts'
import { newId } from '../src/ids.ts'
import { toFailure } from '../src/routes/respond.ts'

/** Answer every request with one error: a gateway that anyone could use does not open on a public address. */
export function refuseAll(error: GatewayError): (request: Request) => Promise<Response> {
  return async () => toFailure(error, newId())
}
