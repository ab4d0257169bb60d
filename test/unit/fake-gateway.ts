import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { type WebSocket, WebSocketServer } from 'ws'

/** An item as the fake received it. */
export interface FakeItem {
  readonly eventId: string
  readonly provider: string
  readonly endpoint: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly query?: unknown
  readonly body?: string
  readonly encoding?: 'base64'
  readonly acks?: boolean
  readonly raw?: boolean
}

/** What a provider answers. */
export interface Answer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Text as it is, bytes as base64. */
  readonly events?: readonly (string | Uint8Array)[]
  /** Before each event. */
  readonly intervalMs?: number
  /** Before the head. */
  readonly delayMs?: number
  /** Never end. */
  readonly hangs?: boolean
  readonly outcome?: 'completed' | 'failed' | 'incomplete' | 'cancelled'
  /** A gateway's own error, in the base wire's shape. */
  readonly response?: unknown
}

/** A message of a client. */
export type Message = {
  readonly type: string
  readonly eventId?: string
  readonly seq?: number
  readonly from?: number
} & {
  readonly request?: FakeItem | readonly FakeItem[]
}

/** How the fake behaves; may be changed at any time. */
export interface Behaviour {
  answer: (item: FakeItem) => Answer
  /** Handshakes to refuse with 503. */
  refusals: number
  /** Protocol to select instead of the first. */
  protocol: string | undefined
  /** Messages are taken and nothing is said. */
  isMute: boolean
  /** Creates after which the connection is cut, before or after they are taken. */
  cutAtCreate: { before: number; after: number }
  heartbeatSeconds: number
  detachSeconds: number
  inFlight: number
  messageBytes: number
  windowBytes: number
  /** The token opens nothing, and HTTP says so; upgrades must be refused as well. */
  isTokenDead: boolean
  /** Messages larger than this close the connection with 1009. */
  tooBigBytes: number
  /** Events asked for again are no longer kept. */
  hasGap: boolean
  /** Where HTTP requests for `redirect` are sent. */
  location: string
}

interface FakeRun {
  readonly item: FakeItem
  readonly events: (string | Uint8Array)[]
  /** Once it was acknowledged, the window holds on later connections too. */
  isWindowed?: boolean
  head?: Answer
  outcome?: string
}

interface Reading {
  readonly run: FakeRun
  readonly eventId: string
  readonly attached: boolean
  position: number
  acked: number | undefined
  hasHead: boolean
  isDone: boolean
}

interface FakeSession {
  readonly id: string
  readonly runs: Map<string, FakeRun>
  readonly dropped: Set<string>
  socket: WebSocket | undefined
  readings: Map<string, Reading>
}

/** A small server that speaks trunkline.v1, and can be told to misbehave. */
export class FakeGateway {
  readonly behaviour: Behaviour = {
    answer: (item) => ({ headers: { 'content-type': 'application/json' }, events: [JSON.stringify(item)] }),
    refusals: 0,
    protocol: undefined,
    isMute: false,
    cutAtCreate: { before: 0, after: 0 },
    heartbeatSeconds: 30,
    detachSeconds: 330,
    inFlight: 64,
    messageBytes: 1 << 20,
    windowBytes: 1 << 16,
    isTokenDead: false,
    tooBigBytes: Number.POSITIVE_INFINITY,
    hasGap: false,
    location: '/elsewhere',
  }
  /** Every message, in order. */
  readonly received: Message[] = []
  /** Event ids of calls to providers. */
  readonly calls: string[] = []
  /** Requests over HTTP. */
  readonly requests: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[] = []
  /** How often HTTP was asked whether the token is good. */
  asked = 0
  /** Offered subprotocols and URLs of the handshakes, refused ones too. */
  readonly handshakes: { protocols: string; url: string }[] = []
  #sessions = new Map<string, FakeSession>()
  #count = 0
  readonly #server = createServer((request, response) => void this.#http(request, response))
  readonly #sockets: WebSocketServer

  constructor() {
    this.#sockets = new WebSocketServer({
      noServer: true,
      handleProtocols: (offered) => this.behaviour.protocol ?? [...offered][0] ?? false,
    })
    this.#server.on('upgrade', (request, socket, head) => {
      socket.on('error', () => socket.destroy())
      const protocols = request.headers['sec-websocket-protocol'] ?? ''
      this.handshakes.push({ protocols, url: request.url ?? '' })
      if (this.behaviour.refusals > 0 || this.behaviour.isTokenDead) {
        this.behaviour.refusals -= 1
        socket.end('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n')
        return
      }
      this.#sockets.handleUpgrade(request, socket, head, (peer) => this.#open(peer, request.url ?? ''))
    })
  }

  /** Its port, once it listens. */
  async listen(): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return (this.#server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    this.cut()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  /** Messages of one type. */
  of(type: string): Message[] {
    return this.received.filter((message) => message.type === type)
  }

  /** Cut every connection. */
  cut(): void {
    for (const socket of this.#sockets.clients) socket.terminate()
  }

  /** Close every connection with a code. */
  closeWith(code: number): void {
    for (const socket of this.#sockets.clients) socket.close(code)
  }

  /** Forget every session, as a restart does. */
  forget(): void {
    this.#sessions = new Map()
  }

  /** Drop every run, as a gateway does that is short of memory. */
  drop(): void {
    for (const { runs, dropped } of this.#sessions.values()) {
      for (const eventId of runs.keys()) dropped.add(eventId)
      runs.clear()
    }
  }

  /** Send to every connection. */
  say(frame: object | string): void {
    const data = typeof frame === 'string' ? frame : JSON.stringify(frame)
    for (const socket of this.#sockets.clients) socket.send(data)
  }

  #open(socket: WebSocket, url: string): void {
    socket.on('error', () => undefined)
    const asked = new URL(url, 'http://fake').searchParams.get('session') ?? ''
    const known = this.#sessions.get(asked)
    known?.socket?.close(4409)
    const fresh = { runs: new Map(), dropped: new Set<string>(), socket, readings: new Map() }
    const session = known ?? { id: `s${this.#count++}`, ...fresh }
    session.socket = socket
    session.readings = new Map()
    this.#sessions.set(session.id, session)
    socket.on('message', (data) => {
      if (socket.readyState !== 1) return
      if (String(data).length > this.behaviour.tooBigBytes) socket.close(1009)
      else this.#receive(session, socket, JSON.parse(String(data)) as Message)
    })
    const { heartbeatSeconds, detachSeconds, inFlight, messageBytes, windowBytes } = this.behaviour
    const runs = [...session.runs].map(([eventId, { events, outcome }]) => ({
      eventId,
      runId: `${session.id}-${eventId}`,
      seq: events.length - 1,
      ...(outcome && { outcome }),
    }))
    const ready = {
      type: 'session.ready',
      session: { id: session.id, resumed: known !== undefined, ...(known && { runs }) },
      limits: { inFlight, queued: 256, messageBytes, windowBytes, runBytes: 8 << 20 },
      detachSeconds,
      heartbeatSeconds,
      version: 'trunkline.v1',
    }
    socket.send(JSON.stringify(ready))
  }

  #receive(session: FakeSession, socket: WebSocket, message: Message): void {
    this.received.push(message)
    if (this.behaviour.isMute || socket !== session.socket) return
    const item = firstOf(message)
    const { eventId = item?.eventId ?? '', seq = -1, from = 0 } = message
    const { cutAtCreate } = this.behaviour
    if (message.type === 'session.ping') socket.send('{"type":"session.pong"}')
    else if (message.type === 'universal.create') {
      const isLate = cutAtCreate.before === 0
      if (isLate) this.#create(session, item!)
      if (isLate && cutAtCreate.after === 0) return
      cutAtCreate[isLate ? 'after' : 'before'] -= 1
      socket.terminate()
    } else if (message.type === 'universal.cancel') this.#end(session, session.runs.get(eventId), 'cancelled')
    else if (message.type === 'universal.resume') this.#read(session, eventId, from, true)
    else if (message.type === 'universal.ack') {
      const reading = session.readings.get(eventId)
      if (reading) {
        reading.acked = Math.max(reading.acked ?? -1, seq)
        reading.run.isWindowed = true
      }
      this.#flush(session)
    }
  }

  #create(session: FakeSession, item: FakeItem): void {
    const known = session.runs.has(item.eventId)
    if (!known && !session.dropped.has(item.eventId)) {
      this.calls.push(item.eventId)
      const run: FakeRun = { item, events: [], isWindowed: item.acks === true }
      session.runs.set(item.eventId, run)
      void this.#produce(session, run)
    }
    this.#read(session, item.eventId, 0, known)
  }

  async #produce(session: FakeSession, run: FakeRun): Promise<void> {
    const answer = this.behaviour.answer(run.item)
    await sleep(answer.delayMs ?? 0)
    run.head = answer
    this.#flush(session)
    for (const event of answer.events ?? []) {
      if (answer.intervalMs) await sleep(answer.intervalMs)
      while (!run.outcome && this.#isFull(session, run)) await sleep(2)
      if (run.outcome) return
      run.events.push(event)
      this.#flush(session)
    }
    if (!answer.hangs)
      this.#end(session, run, answer.outcome ?? ((answer.status ?? 200) < 400 ? 'completed' : 'failed'))
  }

  #end(session: FakeSession, run: FakeRun | undefined, outcome: string): void {
    if (!run) return
    run.outcome ??= outcome
    this.#flush(session)
  }

  /** A provider is read no further than a window ahead of its reader. */
  #isFull(session: FakeSession, run: FakeRun): boolean {
    const reading = session.readings.get(run.item.eventId)
    return (
      reading?.acked !== undefined &&
      sizeOf(run.events.slice(reading.acked + 1)) >= this.behaviour.windowBytes
    )
  }

  #read(session: FakeSession, eventId: string, from: number, attached: boolean): void {
    const run = session.runs.get(eventId)
    if (!run || (attached && this.behaviour.hasGap)) {
      const code = run ? 'gap' : 'expired'
      const error = { code, message: 'No longer held', retryable: false }
      session.socket?.send(JSON.stringify({ type: 'universal.error', metadata: { eventId }, error }))
      return
    }
    const start = {
      position: from,
      acked: run.isWindowed ? from - 1 : undefined,
      hasHead: false,
      isDone: false,
    }
    session.readings.set(eventId, { run, eventId, attached, ...start })
    this.#flush(session)
  }

  #flush({ socket, readings }: FakeSession): void {
    const send = (frame: object) => socket?.readyState === 1 && socket.send(JSON.stringify(frame))
    for (const reading of readings.values()) {
      const { run, eventId, attached } = reading
      const metadata = { eventId, step: '0', status: run.head?.status ?? 200, runId: `r-${eventId}` }
      if (!run.head && !run.outcome) continue
      if (run.head && !reading.hasHead) {
        reading.hasHead = true
        const { headers = {}, response } = run.head
        const body = response === undefined ? { headers: Object.entries(headers) } : { response }
        send({ type: 'universal.created', metadata: { ...metadata, ...(attached && { attached }) }, ...body })
      }
      while (reading.position < run.events.length && this.#hasRoom(reading)) {
        const seq = reading.position++
        send({
          type: 'universal.stream',
          metadata: { eventId, seq },
          ...contentOf(run.events[seq]!, run.item),
        })
      }
      if (run.outcome && !reading.isDone && reading.position >= run.events.length) {
        reading.isDone = true
        const seq = run.events.length - 1
        const error =
          run.outcome === 'incomplete' ? { error: { code: 'provider_failed', message: 'broke off' } } : {}
        send({ type: 'universal.done', metadata: { ...metadata, seq, outcome: run.outcome }, ...error })
      }
    }
  }

  #hasRoom({ run, acked, position }: Reading): boolean {
    return acked === undefined || sizeOf(run.events.slice(acked + 1, position)) < this.behaviour.windowBytes
  }

  async #http(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request
    const body = await text(request)
    if (url.endsWith('/run/-')) {
      this.asked += 1
      response.writeHead(this.behaviour.isTokenDead ? 401 : 404).end()
      return
    }
    this.requests.push({ method, url, headers, body })
    if (url.includes('/redirect') || body.includes('"endpoint":"redirect"'))
      response.writeHead(302, { location: this.behaviour.location }).end()
    else if (url.includes('/stream') || body.includes('"endpoint":"stream"')) {
      response.writeHead(200, { 'content-type': 'text/event-stream', 'cf-aig-step': '0' })
      for (const part of [': hello\n\nda', 'ta: {"a":1}\r\n\r', '\nevent: b\ndata: 2\n\ndata: [DONE]\n\n']) {
        response.write(part)
        await sleep(5)
      }
      response.end()
    } else
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify({ via: 'http', method, url }))
  }
}

/** The only or first item of a create. */
export const firstOf = ({ request }: Message): FakeItem | undefined =>
  Array.isArray(request) ? (request as readonly FakeItem[])[0] : (request as FakeItem | undefined)

const sizeOf = (events: readonly (string | Uint8Array)[]): number =>
  events.reduce((sum, event) => sum + event.length, 0)

function contentOf(event: string | Uint8Array, { raw }: FakeItem): object {
  if (!raw) return { response: JSON.parse(String(event).replace(/^data: /, '')) as unknown }
  return typeof event === 'string'
    ? { data: event }
    : { data: Buffer.from(event).toString('base64'), encoding: 'base64' }
}
