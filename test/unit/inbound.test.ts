import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { type Answer, serveMessage } from '../../adapters/node/inbound.ts'
import { toStream } from '../../src/streams.ts'

/** How long a client may go on sending after its answer, and more than that. */
const lingerMs = 1_000

/** A connection to a server that answers so, and all that has come over it. */
async function open(answer: Answer) {
  const report = (error: unknown) => expect.fail(String(error))
  const server = createServer((request, response) => void serveMessage(request, response, answer, report))
  onTestFinished(() => void server.close().closeAllConnections())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  const seen = { text: '', isClosed: false }
  socket.on('data', (part: Buffer) => {
    seen.text += part
  })
  socket.on('error', () => undefined) // of one that is cut off: it closes
  socket.on('close', () => {
    seen.isClosed = true
  })
  return { socket, seen }
}

const answers = (text: string): number => text.match(/^HTTP\/1.1 200/gm)?.length ?? 0

test.for([
  ['handed on', 100_000],
  ['handed on', 100],
  ['never looked at', 100_000],
  ['never looked at', 100],
] as const)(
  'a body that comes after its answer, %s and read by nobody, of %i bytes, costs its connection nothing',
  async ([how, bytes]) => {
    const { socket, seen } = await open(async (request) => {
      if (how === 'handed on' && request.body) toStream(request.body)
      return new Response('early')
    })
    socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes}\r\n\r\n`)
    await expect.poll(() => answers(seen.text)).toBe(1)
    socket.write('x'.repeat(bytes))
    await sleep(lingerMs * 1.2)
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    await expect.poll(() => answers(seen.text)).toBe(2)
    expect(seen.isClosed).toBe(false)
  },
)

test('a client that never ends its body is cut off, some time after its answer', async () => {
  const { socket, seen } = await open(async () => new Response('early'))
  socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nx')
  await expect.poll(() => answers(seen.text)).toBe(1)
  expect(seen.isClosed).toBe(false)
  await expect.poll(() => seen.isClosed, { timeout: lingerMs * 5 }).toBe(true)
})
