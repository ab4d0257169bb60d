import { readHeaders } from '../controls.ts'
import { GatewayError } from '../errors.ts'
import { limits } from '../limits.ts'
import { pause } from '../pause.ts'
import type { Refused, Relayed } from '../pipeline/relayed.ts'
import type { Provider } from '../providers/providers.ts'
import { type Realtime, takeParam } from '../providers/realtime.ts'
import type { Home } from '../runs/home.ts'
import { Relay } from '../session/relay.ts'
import type { Call, Step } from '../types.ts'
import { type Gate, type Offer, takeToken, toPrincipal } from './authenticate.ts'
import type { Asking, Room } from './context.ts'
import { forwardable, returnable } from './headers.ts'
import { responseHeaders } from './respond.ts'
import type { FindRoom } from './session.ts'
import type { Target } from './target.ts'
import { assertSelectable, type RelayStart, readUpgrade, type Upgrade } from './upgrade.ts'

/**
 * An upgrade on `/v1/{account}/{gateway}/{provider}…`: the provider's own socket is dialled before the client's is
 * granted, so that a provider that refuses is heard by the client.
 * @throws GatewayError
 */
export async function grantRelay(
  asking: Asking,
  target: Target,
  find: FindRoom,
): Promise<Response | Upgrade> {
  const { request, requestId, room, home } = asking
  if (home.isDraining) throw new GatewayError('draining')
  const provider = room.providers.get(target.slug)
  if (!provider) throw new GatewayError('invalid_provider', `Invalid provider: ${target.slug.slice(0, 80)}`)
  const { headers, offer } = readUpgrade(request, room, provider.realtime.keyNames)
  const { realtime } = provider
  const open = realtime.takeKey(headers, target.search, offer.key)
  const search = await takePassed(headers, open, realtime.passes, room.gate)
  const principal = toPrincipal(await takeToken(headers, room.gate), room.gate)
  assertSelectable(offer)
  // Last, as it may cost another session its place.
  if (!home.makeRoom()) throw new GatewayError('too_many_requests', 'Too many sessions')
  const options = { ...room.defaults, ...readHeaders(headers) }
  const step = (slug: string, url: URL, own: Headers): Step => ({
    provider: slug,
    method: 'GET',
    url,
    headers: own,
    body: null,
    options,
  })
  const first = step(target.slug, realtime.resolve(target.path, search), forwardable(headers))
  const other = provider.fallback === undefined ? undefined : room.providers.get(provider.fallback)
  const toOther = (one: Provider): Step => {
    const url = one.realtime.resolve(target.path, withoutPasses(search, realtime))
    return step(one.slug, url, withoutKeys(first.headers, room))
  }
  const steps: Call['steps'] = other ? [first, toOther(other)] : [first]
  const { signal, ended } = home.enter(new AbortController().signal)
  const call: Call = {
    requestId,
    eventId: options.eventId ?? requestId,
    gateway: room.settings.id,
    principal,
    steps,
    signal: AbortSignal.any([request.signal, signal]),
  }
  return dial(call, offer, { room, find, home, stopping: signal, leaving: request.signal, ended })
}

/**
 * The gateway's token may come where a provider has its own credentials, and is brought to its header.
 * @returns the query without it
 */
async function takePassed(
  headers: Headers,
  search: string,
  passes: readonly string[],
  { tokens }: Gate,
): Promise<string> {
  let rest = search
  for (const [name, value] of new URLSearchParams(search)) {
    if (!passes.includes(name) || !(await tokens.find(value))) continue
    rest = takeParam(rest, name).rest
    if (!headers.has('cf-aig-authorization')) headers.set('cf-aig-authorization', value)
  }
  return rest
}

/** A client's key is for the provider it named, and for no other. */
function withoutKeys(headers: Headers, { providers }: Room): Headers {
  const own = new Headers(headers)
  for (const name of providers.credentialHeaders) own.delete(name)
  return own
}

/** The same, of what a provider has handed out. */
const withoutPasses = (search: string, { passes }: Realtime): string =>
  passes.reduce((rest, name) => takeParam(rest, name).rest, search)

/** Where a relay lives. */
interface Place {
  readonly room: Room
  readonly find: FindRoom
  readonly home: Home
  /** Aborts when the gateway stops. */
  readonly stopping: AbortSignal
  /** Aborts when the client leaves, as long as it is no more than a request. */
  readonly leaving: AbortSignal
  readonly ended: () => void
}

async function dial(call: Call, offer: Offer, place: Place): Promise<Response | Upgrade> {
  const { room, home, stopping, ended } = place
  const over = new AbortController()
  let relay: Relay | undefined
  home.relays += 1
  over.signal.addEventListener('abort', () => {
    home.relays -= 1
    ended()
  })
  try {
    const reached = await room.relay({
      call,
      protocols: offer.open,
      relay(watch) {
        relay = new Relay({
          passes: (from, frame) => watch.passes(from, frame),
          ended(end) {
            over.abort()
            watch.ended(end)
          },
        })
        return relay
      },
    })
    if (!('socket' in reached) || !relay) {
      over.abort()
      return toRefusal(call, reached as Refused)
    }
    const made = relay
    made.join('provider', reached.socket)
    const stop = (): void => made.end(1001, 'the gateway stops')
    stopping.addEventListener('abort', stop, { once: true, signal: over.signal })
    if (call.principal.credential !== null) void watchToken(call, place, made, over.signal)
    return toUpgrade(call, reached, offer, { relay: made, leaving: place.leaving })
  } catch (error) {
    over.abort()
    throw error
  }
}

/** Ends a session soon after its token does. */
async function watchToken(call: Call, { find }: Place, relay: Relay, over: AbortSignal): Promise<void> {
  const { credential, grant } = call.principal
  const isValid = async (): Promise<boolean> => {
    const room = await find().catch(() => undefined) // the gateway is gone
    if (!room || credential === null) return false
    const { tokens } = room.gate
    const token = await (grant ? tokens.renew(grant, credential) : tokens.get(credential))
    return token?.opens(call.gateway) === true
  }
  while (!over.aborted && (await isValid()))
    await pause(Math.min(limits.tokenCheckMs, (grant?.expiresAt ?? Infinity) - Date.now()), over)
  relay.end(4401, 'the token is no longer valid')
}

function toUpgrade(
  call: Call,
  reached: Relayed,
  offer: Offer,
  { relay, leaving }: { relay: Relay; leaving: AbortSignal },
): Upgrade {
  // Whoever was granted an upgrade may be gone before it is done.
  const timer = setTimeout(() => relay.end(1011, 'the client never came'), limits.openMs)
  const leave = (): void => {
    clearTimeout(timer)
    relay.client.closed(1006, '')
  }
  leaving.addEventListener('abort', leave, { once: true })
  if (leaving.aborted) leave()
  const start: RelayStart = {
    serve(socket) {
      clearTimeout(timer)
      leaving.removeEventListener('abort', leave)
      relay.join('client', socket)
      return relay.client
    },
  }
  const selected = reached.protocol || offer.selected
  return { ...(selected && { protocol: selected }), headers: headersOf(call, reached), start }
}

/** What the provider said in place of opening a socket. */
function toRefusal(call: Call, reached: Refused): Response {
  const { body, status, headers } = reached.response
  const own = returnable(headers)
  for (const [name, value] of Object.entries(headersOf(call, reached))) own.set(name, value)
  return new Response(body, { status, headers: own })
}

function headersOf(call: Call, { step, logId, ...rest }: Relayed | Refused): Record<string, string> {
  return {
    ...('headers' in rest ? rest.headers : {}),
    [responseHeaders.requestId]: call.requestId,
    [responseHeaders.eventId]: call.eventId,
    [responseHeaders.step]: String(step),
    ...(logId !== undefined && { [responseHeaders.logId]: logId }),
  }
}
