import { createServer, type Socket } from 'node:net'
import process from 'node:process'
import { MessageReader, nowUs } from './wire.ts'

/**
 * A provider that costs almost nothing, as a process of its own. What it answers is asked in the model's name:
 * `whole` (one JSON of some 520 bytes), `burst-N` (N events, one per turn of its loop), `paced-N-MS` (N events, each
 * with the time at which it was sent), `hang` (nothing).
 */
const answerText = JSON.stringify({
  id: 'chatcmpl-Bx2m9Qk4Tn7Ws1Zr8Ya5Ld3Pf',
  object: 'chat.completion',
  created: 1_763_900_000,
  model: 'whole',
  choices: [
    {
      index: 0,
      message: {
        role: 'assistant',
        content:
          'The quick answer is that a gateway should add as little as it can, and say how little that is. The long answer is below, and says the same with figures.',
        refusal: null,
      },
      logprobs: null,
      finish_reason: 'stop',
    },
  ],
  usage: { prompt_tokens: 118, completion_tokens: 31, total_tokens: 149 },
  system_fingerprint: 'fp_5c1f0e',
})
const whole = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${answerText.length}\r\n\r\n${answerText}`,
)
const streamHead =
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n'
const toChunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`
const toEvent = (sentUs: number): string =>
  toChunk(
    `data: {"id":"chatcmpl-Bx2m9Qk4Tn7Ws1Zr8Ya5Ld3Pf","object":"chat.completion.chunk","created":1763900000,"model":"burst","choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}],"t":${sentUs}}\n\n`,
  )
const burstEvent = Buffer.from(toEvent(0))
const streamEnd = `${toChunk('data: [DONE]\n\n')}0\r\n\r\n`
const modelPattern = /"model": ?"([a-z]+)(?:-(\d+))?(?:-(\d+))?"/
const namePattern = /"user": ?"([\w-]+)"/
const headBytes = 8_192

const counts = { requests: 0, events: 0 }
/** When the connections of named requests were seen to close before their answers were over. */
const closedUs = new Map<string, number>()

function serve(socket: Socket): void {
  let path = ''
  let text = ''
  let answering: string | undefined
  const left = (): void => {
    if (answering) closedUs.set(answering, nowUs())
    answering = undefined
    socket.destroy()
  }
  const answer = (): void => {
    if (!path.endsWith('/completions')) return void socket.write(toWhole(tell(path)))
    counts.requests += 1
    const [, model, events = '0', ms = '0'] = modelPattern.exec(text) ?? []
    if (model === 'whole') return void socket.write(whole)
    answering = namePattern.exec(text)?.[1] ?? 'nobody'
    if (model === 'hang') return
    socket.write(streamHead, 'latin1')
    const over = (): void => {
      answering = undefined
      socket.write(streamEnd, 'latin1')
    }
    if (model === 'paced') pace(socket, Number(events), Number(ms), over)
    else burst(socket, Number(events), over)
  }
  const reader = new MessageReader({
    head(head) {
      path = head.slice(head.indexOf(' ') + 1, head.indexOf(' HTTP/'))
      text = ''
    },
    body(bytes) {
      if (text.length < headBytes) text += bytes.toString('latin1', 0, headBytes)
    },
    end: answer,
    fault: () => socket.destroy(),
  })
  socket.setNoDelay(true)
  socket.on('data', (bytes) => reader.push(bytes))
  socket.on('error', left)
  socket.on('end', left)
  socket.on('close', left)
}

function burst(socket: Socket, events: number, over: () => void): void {
  if (socket.destroyed) return
  if (events === 0) {
    over()
    return
  }
  counts.events += 1
  socket.write(burstEvent)
  setImmediate(burst, socket, events - 1, over)
}

function pace(socket: Socket, events: number, ms: number, over: () => void): void {
  if (socket.destroyed) return
  if (events === 0) {
    over()
    return
  }
  counts.events += 1
  socket.write(toEvent(Math.round(nowUs())), 'latin1')
  setTimeout(pace, ms, socket, events - 1, ms, over)
}

const toWhole = (text: string): string =>
  `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`

function tell(path: string): string {
  const { user, system } = process.cpuUsage()
  if (path === '/counts') return JSON.stringify({ ...counts, cpuUs: user + system })
  return JSON.stringify({ closedUs: closedUs.get(path.slice(path.lastIndexOf('/') + 1)) ?? null })
}

const server = createServer(serve)
server.listen({ port: Number(process.argv[2] ?? 0), host: '127.0.0.1', backlog: 4_096 })
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => process.exit(0))
