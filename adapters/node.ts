import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import crossws, { type NodeAdapter } from 'crossws/adapters/node'
import { WebSocket } from 'ws'
import { type Config, createGateway } from '../src/index.ts'
import { limits } from '../src/limits.ts'
import { isLoopback } from '../src/loopback.ts'
import { createConnect } from './connect.ts'
import { hooksFor } from './crossws.ts'
import { serveMessage } from './node/inbound.ts'
import { createOutbound } from './node/outbound.ts'
import { releasing, toRequest } from './node-upgrade.ts'
import { idleSeconds, isUpgrade, report, type ServeOptions, type Server, stopMs, toUrl } from './server.ts'
import { givenBy } from './sqlite.ts'

/** A connection without a request is kept for longer than load balancers do, or they would send into one that closes. */
const keepAliveMs = 75_000
/** Connections that wait to be taken. */
const backlog = 4_096

const shouldUpgradeCallback = ({ method = '', headers }: IncomingMessage): boolean =>
  isUpgrade({ method, headers: new Headers(headers as Record<string, string>) })

/** `autoPong` is younger than the types. */
const serverOptions = { maxPayload: limits.messageBytes, perMessageDeflate: false, autoPong: false }
const badRequest = 'HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n'

async function upgrade(
  sockets: NodeAdapter,
  message: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const request = toRequest(message, socket)
  if (request) await sockets.handleUpgrade(message, socket, head, request)
  else socket.end(badRequest)
}

/** Serve on Node. */
export async function serve(given: Config, { port, host, env, data }: ServeOptions): Promise<Server> {
  const config = { ...given, isLocal: isLoopback(host) }
  const gateway = createGateway(
    config,
    { fetch: createOutbound(), connect: createConnect(WebSocket), report },
    await givenBy(env, data),
  )
  const sockets = crossws({
    hooks: releasing(hooksFor(gateway, report)),
    idleTimeout: idleSeconds,
    serverOptions,
  })
  const broken = (error: unknown): void => report('answer', error)
  const server = createServer(
    { shouldUpgradeCallback },
    (request, response) => void serveMessage(request, response, gateway.answer, broken),
  )
  server.keepAliveTimeout = keepAliveMs
  server.requestTimeout = 0 // uploads take as long as they take
  server.on('upgrade', (request, socket, head) => {
    // crossws attaches no listener until its hook is done, and a reset before that would end the process.
    socket.on('error', () => socket.destroy())
    upgrade(sockets, request, socket, head).catch((error: unknown) => {
      report('upgrade', error)
      socket.destroy()
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host, backlog }, resolve)
  })
  return {
    url: toUrl(host, (server.address() as AddressInfo).port),
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve)) // takes no new connections from here on
      await gateway.drain()
      sockets.closeAll(1001, 'the gateway stops')
      server.closeAllConnections()
      await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, stopMs))])
      sockets.closeAll(1001, '', true) // those whose peers do not answer
      await closed
    },
  }
}
