import { once } from 'node:events'
import { get } from 'node:http'
import { connect as dial, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { chat, connect, type Line, newKey, type Refused } from '../client.ts'
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
  rawFramesSuite(target)
  handshakeSuite(target)
  upgradesSuite(target)
  refusalsSuite(target)
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
    line.socket.send('x'.repeat(33 << 20))
    expect((await line.closed).code).toBe(1009)
    expect((await other.result(other.create(item('other'))))[0]?.metadata.status).toBe(200)
    other.close()
    await expectAlive(target)
  })

  test('messages sent right after the handshake are all served', async () => {
    const line = await connect(target)
    const ids = Array.from({ length: 50 }, (_, index) => {
      line.socket.send(`{"type":"x","eventId":"bad ${index}"}`)
      return line.create(item(`early ${index}`))
    })
    for (const id of ids) expect((await line.result(id))[0]?.metadata.status).toBe(200)
    const errors = line.frames.filter((frame) => frame.type === 'error')
    expect(errors.map((frame) => frame.metadata.eventId)).toEqual(ids.map((_, index) => `bad ${index}`))
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

function rawFramesSuite(target: Target): void {
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

  const broken: [title: string, frame: Buffer][] = [
    ['with an opcode that does not exist', maskedFrame(0x83, Buffer.from('{}'))],
    ['with a reserved bit', maskedFrame(0xa1, Buffer.from('{}'))],
    ['that continues nothing', maskedFrame(0x80, Buffer.from('{}'))],
    ['that is a ping in parts', maskedFrame(0x09, Buffer.from('x'))],
  ]
  for (const [title, frame] of broken) {
    test(`a frame ${title} closes its own socket only`, async () => {
      const line = await connect(target)
      line.socket.on('error', () => undefined)
      rawSocket(line).write(frame)
      const began = performance.now()
      expect([1002, 1006]).toContain((await line.closed).code)
      // workerd sends its close frame at once, and keeps the connection itself for ten seconds more.
      expect(performance.now() - began).toBeLessThan(target.runtime === 'workers' ? 15_000 : 5_000)
      await expectAlive(target)
    })
  }

  test('a frame without a mask harms its own socket only', async () => {
    const line = await connect(target)
    line.socket.on('error', () => undefined)
    rawSocket(line).write(Buffer.from([0x81, 2, 0x7b, 0x7d]))
    const fault = line.next((frame) => frame.type === 'error').then((frame) => frame.error?.code)
    const outcome = await Promise.race([line.closed.then(({ code }) => code), fault])
    // Deno and workerd take it as if it were masked, whatever RFC 6455, 5.1 says.
    const lax = target.runtime === 'deno' || target.runtime === 'workers'
    expect(lax ? ['bad_message'] : [1002, 1006]).toContain(outcome)
    line.close()
    await expectAlive(target)
  })

  test('a message in parts, cut inside a character and with a ping between them, is one message', async () => {
    const line = await connect(target)
    const text = Buffer.from('{"type":"x","eventId":"café"}')
    const cut = text.indexOf(0xc3) + 1
    const raw = rawSocket(line)
    raw.write(maskedFrame(0x01, text.subarray(0, cut)))
    raw.write(maskedFrame(0x89, Buffer.from('p')))
    raw.write(maskedFrame(0x80, text.subarray(cut)))
    expect((await line.next((frame) => frame.type === 'error')).metadata.eventId).toBe('café')
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
    expect((await fetch(`${target.url}/health`)).status).toBe(200)
    await expectAlive(target)
  })
}

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

/** Ask for an upgrade that is refused. */
/** The status of a request as it is written, with an upgrade. */
function statusOf(target: Target, lines: readonly string[], body = ''): Promise<number> {
  const { hostname, port, host } = new URL(target.url)
  return new Promise((resolve, reject) => {
    const socket = dial(Number(port), hostname)
    socket.on('error', reject)
    socket.once('data', (data) => {
      resolve(Number(String(data).split(' ')[1]))
      socket.destroy()
    })
    socket.write([...lines, `Host: ${host}`, 'Connection: Upgrade', '', body].join('\r\n'))
  })
}

function upgradesSuite(target: Target): void {
  const path = '/v1/default/default'
  const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='
  const version = 'Sec-WebSocket-Version: 13'
  const cases: [title: string, status: number, lines: string[], body?: string][] = [
    [
      'a GET that could do HTTP/2',
      200,
      ['GET /health HTTP/1.1', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQ'],
    ],
    [
      'a POST that could do HTTP/2',
      target.runtime === 'deno' ? 400 : 200, // Deno takes no upgrade with a body, and says so itself
      [`POST ${path}/openai/echo HTTP/1.1`, 'Upgrade: h2c', 'Content-Length: 2'],
      '{}',
    ],
    ['a handshake without a key', 426, [`GET ${path} HTTP/1.1`, 'Upgrade: websocket', version]],
    [
      'a POST as a handshake',
      400,
      [`POST ${path} HTTP/1.1`, 'Upgrade: websocket', version, key, 'Content-Length: 2'],
      '{}',
    ],
    ['a handshake in capitals', 101, [`GET ${path} HTTP/1.1`, 'Upgrade: WEBSOCKET', version, key]],
  ]
  test.each(cases)('%s is answered with %i', async (_, status, lines, body) => {
    expect(await statusOf(target, lines, body)).toBe(status)
    await expectAlive(target)
  })
}

function refusedUpgrade(target: Target, path: string, protocol?: string): Promise<Answer> {
  const headers = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...(protocol !== undefined && { 'sec-websocket-protocol': protocol }),
  }
  return new Promise((resolve, reject) => {
    const request = get(target.url + path, { headers }, (response) => {
      let body = ''
      response.on('data', (chunk: Buffer) => {
        body += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }))
    })
    request.on('upgrade', (_response, socket) => {
      socket.destroy()
      reject(new Error('upgraded'))
    })
    request.on('error', reject)
  })
}

function refusalsSuite(target: Target): void {
  const refusals: [path: string, status: number, code: number][] = [
    ['/v1/default/nowhere', 400, 2001],
    ['/v1/default/default/nobody', 400, 2008],
    ['/v2', 404, 7000],
  ]
  for (const [path, status, code] of refusals) {
    test(`an upgrade of ${path} is refused with ${status} and the envelope`, async () => {
      const answer = await refusedUpgrade(target, path)
      expect(answer.status).toBe(status)
      expect(answer.headers['cf-aig-request-id']).toMatch(/./)
      expect(JSON.parse(answer.body)).toMatchObject({ name: 'AiGatewayError', error: [{ code }] })
      await expectAlive(target)
    })
  }

  test('a key offered as a subprotocol is in no part of the answer', async () => {
    const answer = await refusedUpgrade(target, '/v1/default/default', 'openai-insecure-api-key.sk-x')
    expect(answer.status).toBe(400)
    expect(answer.headers['cf-aig-request-id']).toMatch(/./)
    expect(JSON.stringify(answer)).not.toContain('sk-x')
  })
}

function offersSuite(target: Target): void {
  const token = `cf-aig-authorization.${tokens.locked}`
  const offers: [offer: string[], selected: string | 400][] = [
    [['app.v1'], 'app.v1'],
    [[token], token],
    [[token, 'app.v1'], 'app.v1'],
    [['openai-insecure-api-key.sk-x', 'realtime'], 'realtime'],
    [['app.v1', 'trunkline.v1'], 'trunkline.v1'],
    [['openai-insecure-api-key.sk-x'], 400],
    [['trunkline.v1', token], 'trunkline.v1'],
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
  for (const sent of [1000, 3001, 4999, undefined]) {
    test(`a close with ${sent ?? 'no code'} is answered with the same`, async () => {
      const line = await connect(target)
      line.socket.close(sent)
      // workerd: the adapter answers for crossws, and has no code but 1000 for "none" (adapters/workers/worker.ts).
      const noCode = target.runtime === 'workers' ? 1000 : 1005
      expect((await line.closed).code).toBe(sent ?? noCode)
    })
  }

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
