import { GatewayError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { limits } from '../limits.ts'
import { readBytes } from '../streams.ts'
import { takeToken } from './authenticate.ts'
import type { Asking } from './context.ts'

/**
 * `POST …/tokens/session`: a short-lived token for a page (PROTOCOL.md, "Session tokens").
 * @throws GatewayError unauthorized without a gateway token, forbidden with a session token, bad_request
 */
export async function mintToken({ request, room: { gate } }: Asking): Promise<Response> {
  const token = await takeToken(new Headers(request.headers), gate)
  if (!token) throw new GatewayError('unauthorized', 'A session token is made by a gateway token: send one')
  const bytes = await readBytes(request.body, limits.mintBytes, request.signal)
  const asked = bytes.byteLength === 0 ? {} : parseJson(new TextDecoder().decode(bytes))
  const minted = await gate.tokens.mint(token, gate.id, asked)
  return Response.json(minted, { headers: { 'cache-control': 'no-store' } })
}
