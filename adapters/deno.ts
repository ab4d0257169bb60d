import type { Hooks, Peer } from 'crossws'
import crossws from 'crossws/adapters/deno'
import { WebSocket } from 'ws'
import { type Config, createGateway, type Gateway, type Runtime } from '../src/index.ts'
import { isLoopback } from '../src/loopback.ts'
import { createConnect } from './connect.ts'
import { hooksFor } from './crossws.ts'
import { createFetch } from './fetch.ts'
import { idleSeconds, isUpgrade, report, type ServeOptions, type Server, stopMs, toUrl } from './server.ts'
import { givenBy } from './sqlite.ts'

/** The members of Deno that are used here. */
declare const Deno: {
  serve(
    options: {
      port?: number
      hostname?: string
      onListen?: () => void
      onError?: (error: unknown) => Response
    },
    handler: (request: Request, info: object) => Promise<Response>,
  ): { readonly addr: { readonly port: number }; shutdown(): Promise<void> }
}

const offerHeader = 'sec-websocket-protocol'
/** For the close frames that a drain has sent. */
const closeMs = 50

/** Serve on Deno. */
export async function serve(given: Config, { port, host, env, data }: ServeOptions): Promise<Server> {
  const config = { ...given, isLocal: isLoopback(host) }
  const gateway = createGateway(config, { ...outbound, report }, await givenBy(env, data))
  const server = Deno.serve({ port, hostname: host, onListen: () => undefined }, createHandler(gateway))
  return {
    url: toUrl(host, server.addr.port),
    async stop() {
      await gateway.drain() // first, as a shutdown closes every socket at once, with a reason of its own
      await new Promise((resolve) => setTimeout(resolve, closeMs))
      await Promise.race([server.shutdown(), new Promise((resolve) => setTimeout(resolve, stopMs))])
    },
  }
}

const fetchPlain = createFetch()

/**
 * Deno's ways out. It decodes an answer only where it chose the codings itself, and passes on the length of a body only
 * where that is not in a request.
 */
export const outbound: Pick<Runtime, 'fetch' | 'connect'> = {
  fetch(request, signal) {
    request.headers.delete('accept-encoding')
    return fetchPlain(request, signal)
  },
  connect: createConnect(WebSocket),
}

/** HTTP and sockets of a gateway as one Deno handler; for `Deno.serve`, and for Deno Deploy. */
export function createHandler(gateway: Gateway): (request: Request, info: object) => Promise<Response> {
  /** Headers that the upgrade hook asked for: Deno ignores the option crossws passes them in. */
  const asked = new WeakMap<Request, Headers>()
  const hooks = hooksFor(gateway, report)
  const sockets = crossws({ idleTimeout: idleSeconds, hooks: withCloseEvents(withHeaders(hooks, asked)) })

  const upgrade = async (request: Request, info: object): Promise<Response> => {
    const view = withReadableOffer(request)
    const response = await sockets.handleUpgrade(view, info as never)
    if (response.status !== 101) return response
    for (const [name, value] of asked.get(view) ?? [])
      if (name !== offerHeader) response.headers.set(name, value)
    return response
  }

  return (request, info) => (isUpgrade(request) ? upgrade(request, info) : gateway.fetch(request))
}

function withHeaders(hooks: Partial<Hooks>, asked: WeakMap<Request, Headers>): Partial<Hooks> {
  return {
    ...hooks,
    async upgrade(request) {
      const granted = await hooks.upgrade?.(request)
      if (granted && !(granted instanceof Response) && granted.headers) {
        asked.set(request as Request, new Headers(granted.headers))
      }
      return granted
    },
  }
}

/** crossws' close hook carries no code on Deno and may not run at all, so the socket itself is listened to. */
function withCloseEvents(hooks: Partial<Hooks>): Partial<Hooks> {
  return {
    ...hooks,
    open(peer: Peer) {
      const raw = peer.websocket as WebSocket
      raw.addEventListener(
        'close',
        ({ code, reason }) => void hooks.close?.(peer, { code: code || 1006, reason }),
      )
      return hooks.open?.(peer)
    },
    close: () => undefined,
  }
}

/** Deno splits the offer at ", " only, while clients may send "," alone; to both it is one list. */
function withReadableOffer(request: Request): Request {
  const offer = request.headers.get(offerHeader)
  if (!offer) return request
  const headers = new Headers(request.headers)
  headers.set(
    offerHeader,
    offer
      .split(',')
      .map((name) => name.trim())
      .join(', '),
  )
  return new Proxy(request, {
    get(target, property) {
      if (property === 'headers') return headers
      const value: unknown = Reflect.get(target, property)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
