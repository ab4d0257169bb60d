import { once } from 'node:events'
import { connect as dial, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { chat, connect, type Line, newKey, Refused } from '../client.ts'
import { tokens } from '../config.ts'
import type { Target } from '../target.ts'

const item = (text: string, query: object = {}): object => ({
  provider: 'openai',
  endpoint: 'chat/completions',
  query: chat(text, query),
})

/** A request on a fresh socket is answered. */
async function expectAlive(target: Target): Promise<void> {
  const line = await connect(target)
  expect((await line.result(line.create(item('alive'))))[0]?.metadata.status).toBe(200)
  line.close()
}

/** What sockets meet outside the protocol: floods, broken frames, odd handshakes. */
export function edgeSuite(target: Target): void {
  framesSuite(target)
  handshakeSuite(target)
  offersSuite(target)
  endsSuite(target)
}

function framesSuite(target: Target): void {
  test('10,000 faulty messages in a burst are each answered, in order, and the socket lives', async () => {
    const line = await connect(target)
    for (let index = 0; index < 10_000; index += 1) line.socket.send(`{"type":"x","eventId":"${index}"}`)
    await line.next((frame) => frame.type === 'error' && frame.metadata.eventId === '9999')
    expect(line.frames.map((frame) => frame.metadata.eventId)).toEqual(
      Array.from({ length: 10_000 }, (_, index) => String(index)),
    )
    expect((await line.result(line.create(item('after'))))[0]?.metadata.status).toBe(200)
    line.close()
  })

  test('a binary frame gets an error frame, and the socket lives', async () => {
    const line = await connect(target)
    line.socket.send(Buffer.from([0, 255, 1]))
    expect((await line.next((frame) => frame.type === 'error')).error?.code).toBe('bad_message')
    expect((await line.result(line.create(item('after'))))[0]?.metadata.status).toBe(200)
    line.close()
  })

  test('a frame over 32 MiB closes its socket with 1009, and no other', async () => {
    const [line, other] = await Promise.all([connect(target), connect(target)])
    line.socket.on('error', () => undefined)
    line.socket.send('x'.repeat((32 << 20) + 1))
    expect((await line.closed).code).toBe(1009)
    expect((await other.result(other.create(item('other'))))[0]?.metadata.status).toBe(200)
    other.close()
  })

  test('a text frame that is not UTF-8 harms its own socket only', async () => {
    const line = await connect(target)
    line.socket.on('error', () => undefined)
    rawSocket(line).write(maskedFrame(0x81, Buffer.from([0xc3, 0x28])))
    const fault = line.next((frame) => frame.type === 'error').then((frame) => frame.error?.code)
    const outcome = await Promise.race([line.closed.then(({ code }) => code), fault])
    // workerd hands the frame on with replacement characters, so there it is a message that is not JSON;
    // Deno drops the connection without a close frame.
    const expected = { node: 1007, bun: 1007, deno: 1006, workers: 'bad_message' }
    expect(outcome).toBe(expected[target.runtime])
    line.close()
    await expectAlive(target)
  })

  test('messages sent right after the handshake are all served', async () => {
    const line = await connect(target)
    const ids = Array.from({ length: 50 }, (_, index) => line.create(item(`early ${index}`)))
    for (const id of ids) expect((await line.result(id))[0]?.metadata.status).toBe(200)
    line.close()
  })

  test('a ping is answered', async () => {
    const line = await connect(target)
    const pong = once(line.socket, 'pong')
    line.socket.ping('abc')
    expect(String((await pong)[0])).toBe('abc')
    line.close()
  })
}

const rawSocket = (line: Line): Socket => (line.socket as unknown as { _socket: Socket })._socket

/** A client frame with a mask of zeros (RFC 6455, 5.2). */
function maskedFrame(head: number, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([head, 0x80 | payload.length, 0, 0, 0, 0]), payload])
}

function handshakeSuite(target: Target): void {
  test('clients that reset during the handshake harm nobody', async () => {
    const { port } = new URL(target.url)
    const head = [
      'GET /v1/default/locked HTTP/1.1',
      'Host: x',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      `cf-aig-authorization: ${tokens.all}`,
    ]
    await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const socket = dial(Number(port), '127.0.0.1')
        socket.on('error', () => undefined)
        await once(socket, 'connect')
        socket.write(`${head.join('\r\n')}\r\n\r\n`)
        setTimeout(() => socket.resetAndDestroy(), index % 5)
        await once(socket, 'close')
      }),
    )
    await expectAlive(target)
  })

  const refusals: [path: string, status: number][] = [
    ['/v1/default/nowhere', 400],
    ['/v1/default/default/openai', 404],
    ['/v2', 404],
  ]
  for (const [path, status] of refusals) {
    test(`an upgrade of ${path} is refused with ${status} and the envelope`, async () => {
      const odd = { ...target, ws: `${target.ws}${path}?` }
      const error = await connect(odd).catch((refused: unknown) => refused)
      expect(error).toBeInstanceOf(Refused)
      expect((error as Refused).status).toBe(status)
      expect(JSON.parse((error as Refused).body)).toMatchObject({ success: false, name: 'AiGatewayError' })
    })
  }
}

function offersSuite(target: Target): void {
  const token = `cf-aig-authorization.${tokens.locked}`
  const offers: [offer: string[], selected: string | 400][] = [
    [['app.v1'], 'app.v1'],
    [[token], token],
    [[token, 'app.v1'], 'app.v1'],
    [['openai-insecure-api-key.sk-x', 'realtime'], 'realtime'],
    [['trunkline.v1', 'app.v1'], 'app.v1'],
    [['openai-insecure-api-key.sk-x'], 400],
    [['trunkline.v1'], 400],
  ]
  for (const [protocols, selected] of offers) {
    test(`of ${protocols.join(' and ')}, ${selected} is selected`, async () => {
      const outcome = await connect(target, { protocols }).then(
        (line) => {
          line.close()
          return line.protocol
        },
        (error: Refused) => error.status,
      )
      expect(outcome).toBe(selected)
    })
  }

  test('a browser-like WebSocket, which can send subprotocols only, is served', async () => {
    for (const [protocols, selected] of [
      [[token], token],
      [['app.v1', token], 'app.v1'],
    ] as const) {
      const socket = new globalThis.WebSocket(`${target.ws}/v1/default/locked`, [...protocols])
      const frame = await new Promise<string>((resolve, reject) => {
        socket.onopen = () => socket.send(JSON.stringify({ type: 'universal.create', request: item('page') }))
        socket.onmessage = ({ data }) => resolve(String(data))
        socket.onerror = () => reject(new Error('refused'))
      })
      expect(frame).toContain('You said: page')
      expect(socket.protocol).toBe(selected)
      socket.close()
    }
  })
}

function endsSuite(target: Target): void {
  test('a close is answered with its code', async () => {
    const line = await connect(target)
    line.socket.close(3001, 'bye')
    expect((await line.closed).code).toBe(3001)
  })

  test('a socket that is reset leaves the streams of others whole', async () => {
    const [line, other] = await Promise.all([connect(target), connect(target)])
    const query = { model: `emulate?events=30&interval=10&key=${newKey()}`, stream: true, messages: [] }
    const request = { provider: 'openai', endpoint: 'chat/completions', query }
    line.create(request)
    const id = other.create(request)
    await other.next((frame) => frame.type === 'universal.stream')
    rawSocket(line).resetAndDestroy()
    const frames = await other.result(id)
    expect(frames.filter((frame) => frame.type === 'universal.stream')).toHaveLength(32)
    expect(frames.at(-1)).not.toHaveProperty('error')
    other.close()
  })
}
