import crossws from 'crossws/adapters/bun'
import { type Config, createGateway, type Runtime } from '../src/index.ts'
import { limits } from '../src/limits.ts'
import { isLoopback } from '../src/loopback.ts'
import { createConnect } from './connect.ts'
import { hooksFor } from './crossws.ts'
import { createFetch } from './fetch.ts'
import { idleSeconds, isUpgrade, report, type ServeOptions, type Server, toUrl } from './server.ts'
import { givenBy } from './sqlite.ts'

/** The members of Bun that are used here. */
interface BunServer {
  readonly port: number
  stop(closeConnections: boolean): Promise<void>
  timeout(request: Request, seconds: number): void
}
declare const Bun: {
  serve(options: {
    port: number
    hostname: string
    idleTimeout: number
    maxRequestBodySize: number
    development: boolean
    websocket: object
    fetch(request: Request, server: BunServer): Promise<Response | undefined>
  }): BunServer
}

/** Bun's own, which stands in for the package of that name; a bundler, finding none, leaves it alone. */
const socketModule: string = 'ws'
/** Uploads pass through, so this only bounds what a client may send at all. */
const requestBytesMax = 1 << 30

/**
 * A provider may select nothing of an offer, which Bun takes for a fault before anyone sees the answer; so it is dialled
 * again, and offered nothing.
 */
function selectable(connect: Runtime['connect']): Runtime['connect'] {
  return (url, dial, listener) =>
    connect(url, dial, listener).catch((error: unknown) => {
      if (!(error instanceof Error && error.message.includes('Server sent no subprotocol'))) throw error
      return connect(url, { ...dial, protocols: [] }, listener)
    })
}

/** Serve on Bun. */
export async function serve(given: Config, { port, host, env, data }: ServeOptions): Promise<Server> {
  const config = { ...given, isLocal: isLoopback(host) }
  const { WebSocket } = (await import(socketModule)) as typeof import('ws')
  const gateway = createGateway(
    config,
    {
      fetch: createFetch({ timeout: false }), // or it would end after five minutes
      connect: selectable(createConnect(WebSocket)),
      report,
    },
    await givenBy(env, data),
  )
  const sockets = crossws({ hooks: hooksFor(gateway, report), idleTimeout: idleSeconds * 2 })
  const server = Bun.serve({
    port,
    hostname: host,
    idleTimeout: idleSeconds,
    maxRequestBodySize: requestBytesMax,
    development: false,
    websocket: {
      ...sockets.websocket,
      maxPayloadLength: limits.messageBytes,
      // One frame of the largest size above the mark at which sending waits; past it Bun would drop frames.
      backpressureLimit: limits.socketBufferBytes + 2 * limits.messageBytes,
      closeOnBackpressureLimit: true,
    },
    async fetch(request, own) {
      own.timeout(request, 0) // for as long as it is answered: a model may think for minutes
      return isUpgrade(request) ? sockets.handleUpgrade(request, own as never) : gateway.fetch(request)
    },
  })
  return {
    url: toUrl(host, server.port),
    async stop() {
      void server.stop(false) // takes no new connections from here on
      await gateway.drain()
      await server.stop(true)
    },
  }
}
