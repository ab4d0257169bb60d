import { connect, type Socket } from 'node:net'
import { WebSocket } from 'ws'
import { MessageReader } from './wire.ts'

/** Who is asked, and how. */
export interface Address {
  readonly port: number
  readonly over: 'http' | 'socket'
  /** Of chat completions, or of the socket. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
}

/** One request, and who is told what comes of it. */
export interface Ask {
  /** JSON of a chat completion, ASCII. */
  readonly body: string
  /** The bytes of an answer's next part. */
  part(bytes: Buffer): void
  /** The end; an error where there should have been a whole answer. */
  done(error?: string): void
}

/** Carries one request at a time. */
export interface Line {
  ask(ask: Ask): void
  /** Close the connection, whatever is under way. */
  leave(): void
}

/** Open `count` lines: connections, or places on one socket. */
export async function openLines(address: Address, count: number): Promise<Line[]> {
  if (address.over === 'socket') return openSocket(address, count)
  return Promise.all(Array.from({ length: count }, () => openHttp(address)))
}

/** One request at a time over a connection that is made again where its server closes it. */
async function openHttp(address: Address): Promise<Line> {
  const headers = Object.entries(address.headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const head = `POST ${address.path} HTTP/1.1\r\nhost: 127.0.0.1:${address.port}\r\ncontent-type: application/json\r\n${headers.join('')}content-length: `
  let asked: Ask | undefined
  let socket: Socket | undefined
  const over = (error?: string): void => {
    const ask = asked
    asked = undefined
    ask?.done(error)
  }
  const open = async (): Promise<Socket> => {
    const made = await dial(address.port)
    const reader = createReader(
      () => asked,
      over,
      () => {
        socket = undefined
      },
    )
    made.on('data', (bytes) => reader.push(bytes))
    made.on('close', () => {
      if (socket === made) over('the connection closed')
    })
    return made
  }
  const send = (to: Socket, { body }: Ask): void =>
    void to.write(`${head}${body.length}\r\n\r\n${body}`, 'latin1')
  socket = await open()
  return {
    ask(ask) {
      asked = ask
      if (socket) return send(socket, ask)
      open().then(
        (made) => {
          socket = made
          send(made, ask)
        },
        (error: unknown) => over(String(error)),
      )
    },
    leave: () => socket?.destroy(),
  }
}

/** Reads answers: `closing` is called for one that is its connection's last. */
function createReader(
  asked: () => Ask | undefined,
  over: (error?: string) => void,
  closing: () => void,
): MessageReader {
  let refused = ''
  let isLast = false
  return new MessageReader({
    head(text) {
      refused = text.startsWith('HTTP/1.1 200') ? '' : text.slice(0, 40)
      isLast = /\r\nconnection: *close/i.test(text)
    },
    body(bytes) {
      if (refused) refused += ` ${bytes.toString('latin1', 0, 400)}`
      else asked()?.part(bytes)
    },
    end() {
      if (isLast) closing()
      over(refused || undefined)
    },
    fault: over,
  })
}

function dial(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      socket.on('error', () => undefined) // its close is told
      resolve(socket)
    })
  })
}

const eventIdMark = Buffer.from('"eventId":"')
/** Where the mark may stand in a frame at the latest. */
const markBytes = 256

async function openSocket(address: Address, count: number): Promise<Line[]> {
  const socket = await dialSocket(address)
  const asked: (Ask | undefined)[] = []
  const over = (index: number, error?: string): void => {
    const ask = asked[index]
    asked[index] = undefined
    ask?.done(error)
  }
  socket.on('message', (data: Buffer) => {
    const at = data.subarray(0, markBytes).indexOf(eventIdMark) + eventIdMark.length
    const index = Number.parseInt(data.toString('latin1', at, at + 6), 10)
    const type = data.toString('latin1', 19, 23)
    if (type === 'stre') return asked[index]?.part(data)
    if (type === 'done') return over(index)
    if (!data.includes('"response":')) return
    if (!data.includes('"status":200')) return over(index, data.toString('latin1', 0, 400))
    asked[index]?.part(data)
    over(index)
  })
  socket.on('close', () => {
    for (const index of asked.keys()) over(index, 'the socket closed')
  })
  return Array.from({ length: count }, (_, index) => ({
    ask(ask) {
      asked[index] = ask
      socket.send(
        `{"type":"universal.create","request":{"eventId":"${index}","provider":"bench","endpoint":"chat/completions","query":${ask.body}}}`,
      )
    },
    leave: () => socket.terminate(),
  }))
}

function dialSocket({ port, path, headers }: Address): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, { headers, perMessageDeflate: false })
    socket.once('open', () => resolve(socket))
    socket.once('error', reject)
    socket.on('error', () => undefined) // its close is told
  })
}

/** Sockets that say nothing; resolves with a function that closes them. */
export async function openIdle(address: Address, count: number): Promise<() => void> {
  const open: WebSocket[] = []
  const atOnce = 100
  while (open.length < count) {
    const some = Array.from({ length: Math.min(atOnce, count - open.length) }, () => dialSocket(address))
    open.push(...(await Promise.all(some)))
  }
  return () => {
    for (const socket of open) socket.terminate()
  }
}
