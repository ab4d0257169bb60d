import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createSecureServer, type ServerHttp2Stream } from 'node:http2'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Server as TlsServer } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createOutbound } from '../../adapters/node/outbound.ts'
import { Fields } from '../../src/fields.ts'
import type { OutboundRequest, PlainResponse } from '../../src/plain.ts'
import { toWebResponse } from '../../src/web.ts'
import { cancelMs } from '../prompt.ts'

const pem = (name: string): Buffer => readFileSync(fileURLToPath(new URL(`./tls/${name}`, import.meta.url)))
const cert = pem('localhost.pem')
const never = new AbortController().signal

type Answer = ServerResponse & { readonly stream?: ServerHttp2Stream }

/** How a provider can fail amid a body. */
const breaks: Readonly<Record<string, (response: Answer, raw: Socket) => void>> = {
  '/break/reset': ({ stream }, raw) => (stream ? stream.close(2) : raw.resetAndDestroy()),
  '/break/session': ({ stream }, raw) => (stream ? stream.session?.destroy() : raw.destroy()),
  '/break/fin': (_, raw) => raw.destroy(),
  '/break/rst': (_, raw) => raw.resetAndDestroy(),
}

describe.each(['2.0', '1.1'])('outbound over HTTP/%s', (version) => {
  let server: TlsServer
  let origin: string
  const closed = new Map<string, PromiseWithResolvers<number>>()
  const versions = new Set<string>()
  const sockets = new Set<Socket>()

  beforeAll(async () => {
    const options = { key: pem('localhost-key.pem'), cert }
    server = version === '2.0' ? createSecureServer(options) : createServer(options)
    server.on(
      'connection',
      (raw: Socket) => sockets.add(raw).size && raw.on('close', () => sockets.delete(raw)),
    )
    server.on('request', (request: IncomingMessage, response: Answer) => {
      versions.add(request.httpVersion)
      const path = request.url ?? ''
      closed.set(path, Promise.withResolvers())
      response.on('close', () => closed.get(path)?.resolve(performance.now()))
      if (path === '/echo') {
        response.writeHead(200, { 'x-seen': String(request.headers['x-asked']) })
        return void request.pipe(response)
      }
      if (path === '/gzip')
        return void response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('whole'))
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('data: 1\n\n')
      setTimeout(
        () =>
          breaks[path]?.(
            response,
            [...sockets].find(({ remotePort }) => remotePort === request.socket.remotePort)!,
          ),
        20,
      )
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    origin = `https://localhost:${(server.address() as AddressInfo).port}`
  })
  afterAll(() => void server.close())

  const send = createOutbound({ ca: cert })
  const ask = (path: string, more: Partial<OutboundRequest> = {}, signal = never): Promise<PlainResponse> =>
    send({ method: 'POST', url: new URL(path, origin), headers: new Fields(), body: null, ...more }, signal)

  test('bodies and headers pass both ways, also streams of many megabytes', async () => {
    const bytes = new Uint8Array(5 << 20).map((_, index) => index % 251)
    const headers = new Fields([['x-asked', 'yes']])
    for (const body of [bytes, new Blob([bytes]).stream()]) {
      const response = await ask('/echo', { headers, body })
      expect([response.status, response.headers.get('x-seen')]).toEqual([200, 'yes'])
      const got = new Uint8Array(await (await toWebResponse(response)).arrayBuffer())
      expect(Buffer.compare(got, bytes)).toBe(0)
    }
    expect([...versions]).toEqual([version])
  })

  test('an encoded body is decoded', async () => {
    expect(await (await toWebResponse(await ask('/gzip'))).text()).toBe('whole')
  })

  test.each(Object.keys(breaks))(
    'a body that breaks off never ends as if it were whole: %s',
    async (path) => {
      const reader = (await ask(path)).body!.getReader()
      expect((await reader.read()).done).toBe(false)
      await expect(reader.read()).rejects.toThrow()
    },
  )

  test.each(['cancel', 'abort'])('what is left by %s is closed at its provider at once', async (how) => {
    const path = `/endless-${how}`
    const leaving = new AbortController()
    const reader = (await ask(path, {}, leaving.signal)).body!.getReader()
    await reader.read()
    const left = performance.now()
    if (how === 'cancel') await reader.cancel()
    else leaving.abort(new Error('left'))
    expect((await closed.get(path)!.promise) - left).toBeLessThan(10 * cancelMs)
    expect((await ask('/gzip')).status).toBe(200) // the way there still works
  })
})
